/** Tools that are one HTTP request. */
import { request as sendHttp, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { productVersion } from "../../api/version.ts";
import type { HttpToolSpec, ToolSpec } from "../../api/tool.ts";
import { digestJson } from "../../core/digest/digest.ts";
import type { Json } from "../../core/digest/json.ts";
import { CallFailure } from "../../ports/step.ts";
import type { AddressRules, SecretReader, Tool, ToolCallContext } from "../../ports/tool.ts";
import { compileArguments } from "./argument-schema.ts";
import { type LimitedCall, withDeadline } from "./deadline.ts";
import { readAnswer } from "./http-answer.ts";
import { connectPinned, type Lookup, networkFailure, resolveChecked, systemLookup } from "./http-connect.ts";
import {
  buildRequest,
  checkQuery,
  httpEndpoint,
  parseUrlTemplate,
  resolveHeaders,
  type UrlTemplate,
  type WireRequest,
} from "./http-request.ts";
import { InvalidTool } from "./invalid-tool.ts";
import { plainAnswer } from "./plain-answer.ts";
import { maskSecrets } from "./secrets.ts";

const REDIRECTS_MAX = 5;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);

export interface HttpToolOptions {
  readonly rules: AddressRules;
  /** Called once per secret header, when the tool is created. */
  readonly readSecret: SecretReader;
  /** Resolver; the system's when absent. Asked once per call. */
  readonly lookup?: Lookup;
}

/**
 * Makes the tool of a `spec.tools` entry with `http`. Its digest is that of the definition (secret names, never values).
 * Nothing is sent. Throws InvalidTool naming the field, MissingSecret.
 *
 * A call: arguments checked and distributed (`buildRequest`), host checked, resolved once and connected to the checked addresses, one
 * request with `Idempotency-Key`, the answer as `readAnswer` says. `timeoutMs` covers all of it. A redirect is followed for GET and HEAD
 * on the same scheme, host and port only, five times at most, so the headers never reach another place (G3). No proxy is used.
 * `sent` of a failure is false exactly if the connection (for https the handshake) was not made.
 */
export async function createHttpTool(spec: ToolSpec, options: HttpToolOptions): Promise<Tool> {
  const { http } = spec;
  if (http === undefined) throw new InvalidTool(spec.name, "http", "is missing");
  const url = parseUrlTemplate(spec.name, http.url);
  checkQuery(spec.name, http, url);
  const { headers, secrets } = resolveHeaders(spec.name, http, options.readSecret);
  const checkArguments = await compileArguments(spec.name, "http.inputSchema", http.inputSchema);
  const exchange: Exchange = {
    tool: spec.name,
    http,
    url,
    headers,
    mask: maskSecrets(secrets),
    rules: options.rules,
    lookup: options.lookup ?? systemLookup,
  };
  return {
    spec,
    digest: digestJson(http),
    endpoint: httpEndpoint(spec.name, http),
    invoke: async (args, context) => {
      const wire = buildRequest(spec.name, http, url, checkArguments(args));
      return withDeadline(spec.name, context, (call) => perform(exchange, wire, call, context));
    },
  };
}

interface Exchange {
  readonly tool: string;
  readonly http: HttpToolSpec;
  readonly url: UrlTemplate;
  readonly headers: ReadonlyMap<string, string>;
  readonly mask: (text: string) => string;
  readonly rules: AddressRules;
  readonly lookup: Lookup;
}

async function perform(
  exchange: Exchange,
  wire: WireRequest,
  call: LimitedCall,
  context: ToolCallContext,
): Promise<Json> {
  const { tool, url, http } = exchange;
  const addresses = await resolveChecked(tool, url, exchange.rules, exchange.lookup);
  let path = wire.path;
  for (let redirects = 0; ; redirects++) {
    // A resolver cannot be aborted: it may answer after the limit.
    call.signal.throwIfAborted();
    const socket = await connectPinned(tool, url, addresses, call.signal);
    try {
      const response = await send(exchange, { path, body: wire.body }, socket, call, context);
      const next = redirectTarget(exchange, response, path, redirects);
      if (next === undefined) {
        const label = `${http.method} ${originOf(url)}${path.replace(/\?.*/s, "")}`;
        const { bodyBytesMax } = context;
        const answer = await readAnswer(response, http.method, {
          tool,
          label,
          bodyBytesMax,
          mask: exchange.mask,
          nowMs: Date.now,
        });
        return plainAnswer(tool, answer, bodyBytesMax);
      }
      path = next;
    } finally {
      socket.destroy();
    }
  }
}

async function send(
  { tool, http, url, headers }: Exchange,
  wire: WireRequest,
  socket: Socket,
  call: LimitedCall,
  context: ToolCallContext,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  call.sent = true;
  const outgoing = sendHttp({
    method: http.method,
    path: wire.path,
    setHost: false,
    signal: call.signal,
    createConnection: () => socket,
    headers: {
      host: url.authority,
      "user-agent": `oao/${productVersion}`,
      accept: "application/json, text/*;q=0.9, */*;q=0.1",
      ...(wire.body === undefined ? {} : { "content-type": "application/json" }),
      ...Object.fromEntries(headers),
      ...(wire.body === undefined ? {} : { "content-length": Buffer.byteLength(wire.body) }),
      "accept-encoding": "identity",
      "idempotency-key": context.idempotencyKey,
      connection: "close",
    },
  });
  outgoing.once("response", resolve);
  outgoing.on("error", (error) => reject(networkFailure(tool, `${http.method} ${originOf(url)} failed`, error, true)));
  // An answer that is none, such as an upgrade, ends the request without an error.
  outgoing.once("close", () =>
    reject(networkFailure(tool, `${http.method} ${originOf(url)} failed`, "no HTTP answer came", true)),
  );
  outgoing.end(wire.body);
  return promise;
}

/** Path and query to ask next, or undefined when the response is no redirect. Throws CallFailure ToolFailure for one that is not followed. */
function redirectTarget(
  exchange: Exchange,
  response: IncomingMessage,
  path: string,
  redirects: number,
): string | undefined {
  const { tool, http, url, mask } = exchange;
  const { location } = response.headers;
  if (!REDIRECT_STATUS.has(response.statusCode ?? 0) || location === undefined) return undefined;
  const origin = originOf(url);
  const shown = mask(location).slice(0, 200);
  const refuse = (reason: string) =>
    new CallFailure("ToolFailure", `Tool ${tool}: ${origin} answered ${response.statusCode} to ${shown}: ${reason}`);
  if (http.method !== "GET" && http.method !== "HEAD") {
    throw refuse(`redirects are followed for GET and HEAD only; use the final URL in http.url`);
  }
  const next = URL.parse(location, `${origin}${path}`);
  if (next === null || next.origin !== new URL(origin).origin || next.username !== "" || next.password !== "") {
    throw refuse("redirects to another scheme, host or port are refused; use the final URL in http.url");
  }
  if (redirects === REDIRECTS_MAX) throw refuse(`more than ${REDIRECTS_MAX} redirects`);
  return next.pathname + next.search;
}

function originOf(url: UrlTemplate): string {
  return `${url.tls ? "https" : "http"}://${url.authority}`;
}
