/** The operator's HTTP API for commands: what a run's record says, and every failure as words with the command that helps next. */
import type { IncomingMessage } from "node:http";
import { ApiUnreachable, type ApiCall, type OperatorApi } from "../../adapters/kube/operator-api.ts";
import { cliExitCodes } from "../../api/exit-codes.ts";
import type { ObjectKey } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { oneLine } from "../render/style.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";
import type { PlaceFlags } from "./place.ts";

/** Of one run. */
export interface RunApi {
  /** Lines of a read such as `trace?canonical=true`, as they come; with `body` it is asked by POST. Throws CliError. */
  lines(what: string, body?: object): AsyncGenerator<string, void>;
  /** Bytes of a read, as they come. Throws CliError. */
  bytes(what: string): AsyncGenerator<Buffer, void>;
}

const operatorNamespace = "oao-system";
const json = { "Content-Type": "application/json" };

/** Talks to nobody yet. Throws CliError. */
export function runApi(cluster: ClusterConnection, key: ObjectKey, flags: PlaceFlags, { env }: Terminal): RunApi {
  const server = flags.server ?? (env["OAO_SERVER"] || undefined);
  if (server !== undefined && URL.parse(server)?.protocol !== "https:")
    throw new CliError(`--server ${server} is no https:// address`, ["as in --server https://oao.example.com"]);
  const namespace = flags.operatorNamespace ?? (env["OAO_OPERATOR_NAMESPACE"] || operatorNamespace);
  const where: Where = { api: cluster.api({ namespace, server }), cluster, key, namespace, server };
  const path = (what: string) => `/executions/${key.namespace}/${key.name}/${what}`;
  return {
    lines: (what, body) => linesOf(bytesOf(where, path(what), body)),
    bytes: (what) => bytesOf(where, path(what)),
  };
}

async function* bytesOf(where: Where, path: string, body?: object): AsyncGenerator<Buffer, void> {
  const headers = { Accept: "application/jsonl" };
  const sent = { method: "POST", body: JSON.stringify(body) } as const;
  const call = body === undefined ? { path, headers } : { path, headers: { ...headers, ...json }, ...sent };
  const answer = await ask(where, call);
  try {
    yield* answer as AsyncIterable<Buffer>;
  } catch {
    // Said below.
  }
  if (!answer.complete) throw cutOff(where);
}

/** By line feeds alone: other ends of lines, which readline knows too, may stand inside of JSON. */
async function* linesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of bytes) {
    const lines = `${rest}${decoder.decode(part, { stream: true })}`.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

interface Where {
  readonly api: OperatorApi;
  readonly cluster: ClusterConnection;
  readonly key: ObjectKey;
  readonly namespace: string;
  readonly server: string | undefined;
}

async function ask(where: Where, call: ApiCall): Promise<IncomingMessage> {
  let answer: IncomingMessage;
  try {
    answer = await where.api.send(call);
  } catch (error) {
    throw error instanceof ApiUnreachable ? unreachable(error, where) : error;
  }
  if (answer.statusCode === 200) return answer;
  throw refused(answer.statusCode ?? 0, await textOf(answer), where);
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of answer.setEncoding("utf8")) text += part as string;
  return text;
}

function cutOff({ key }: Where): CliError {
  return new CliError(
    `the operator broke off while it read out ${key.namespace}/${key.name}`,
    ["what was printed is not all: try again, and see the operator's log"],
    cliExitCodes.infrastructure,
  );
}

function unreachable(error: ApiUnreachable, { namespace, server, key, cluster }: Where): CliError {
  const { infrastructure } = cliExitCodes;
  const said = oneLine(error.message);
  switch (error.reason) {
    case "Absent":
      return new CliError(
        said,
        [
          "whoever administers the cluster turns it on: helm upgrade oao charts/oao -n oao-system --reset-then-reuse-values --set api.enabled=true",
          "it is elsewhere: --operator-namespace NAMESPACE",
          `what needs no API: oao tree ${cluster.args(key)}`,
        ],
        infrastructure,
      );
    case "Several":
      return new CliError(
        said,
        [`say which one: --server https://SERVICE.${namespace}.svc, or another address that leads to it`],
        infrastructure,
      );
    case "Untrusted":
      return new CliError(
        `the certificate of ${server ?? `the operator in ${namespace}`} is not to be trusted: ${said}`,
        [
          "its authority is in the ConfigMap of the operator's namespace that is named as the Service (oao-api); names: api.names of the chart",
        ],
        infrastructure,
      );
    case "Unreachable":
      return new CliError(
        `the operator's HTTP API cannot be reached: ${said}`,
        server === undefined
          ? [
              `you need the right to forward ports: kubectl auth can-i create pods --subresource=portforward -n ${namespace}`,
              "or an address that leads to its Service: --server https://…",
            ]
          : ["does the address lead to the operator's Service?"],
        infrastructure,
      );
  }
}

function refused(status: number, text: string, { key, cluster }: Where): CliError {
  const { infrastructure, tampered } = cliExitCodes;
  const { type = "", title = "", detail = title, errors = [] } = problemOf(text);
  const said = oneLine(detail);
  if (type === "urn:oao:problem:tampered") return new CliError(said, [], tampered);
  switch (status) {
    case 401:
      return new CliError(
        "the operator's HTTP API does not know you: it takes tokens and client certificates of the cluster",
        [`who are you to it? kubectl --context ${cluster.context} auth whoami`],
        infrastructure,
      );
    case 404:
      return new CliError(`you may not read the journal of ${key.namespace}/${key.name}, or it is gone`, [
        "whoever administers the namespace can grant it: ClusterRole oao-journal-reader (admin has it too)",
        `check: kubectl auth can-i get executions.oao.dev/${key.name} --subresource=journal -n ${key.namespace}`,
      ]);
    case 429:
      return new CliError(`the operator asks to wait: ${said}`, ["try again"], infrastructure);
    case 409:
    case 422:
      return new CliError(
        said,
        errors.map(({ field, message }) => `${field}: ${oneLine(message)}`),
      );
    default:
      return new CliError(`the operator answered ${status}: ${said}`, ["see its log"], infrastructure);
  }
}

interface Said {
  readonly type?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
}

function problemOf(text: string): Said {
  try {
    return JSON.parse(text) as Said;
  } catch {
    return { title: text.slice(0, 200) };
  }
}
