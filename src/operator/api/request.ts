/** From a request to what an operation takes: path, query, headers and body, each checked against its schema. */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { type Finding, notFound, Problem } from "./problems.ts";
import type { Operation } from "./routes.ts";

export interface Input {
  readonly params: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
  /** `{}` where there was none. */
  readonly body: Readonly<Record<string, unknown>>;
}

export const bodyBytesMax = 1_048_576;
const drainedBytesMax = 8 * bodyBytesMax;

/** Throws Problem. */
export async function readInput(
  request: IncomingMessage,
  operation: Operation,
  path: Readonly<Record<string, string>>,
  query: ReadonlyMap<string, string>,
): Promise<Input> {
  const params = operation.params.safeParse(path);
  // A name that nothing can have is the name of nothing.
  if (!params.success) throw notFound();
  const findings: Finding[] = [];
  const taken = (place: string, schema: z.ZodObject | undefined, value: unknown): Readonly<Record<string, unknown>> => {
    const parsed = schema?.safeParse(value);
    if (parsed?.success === false) findings.push(...findingsOf(place, parsed.error));
    return parsed?.data ?? {};
  };
  const body = operation.body === undefined ? {} : parse(await readBody(request), request.headers["content-type"]);
  const input = {
    params: params.data,
    query: taken("query", operation.query, Object.fromEntries(query)),
    headers: taken("header", operation.headers, request.headers),
    body: taken("body", operation.body, body),
  };
  if (findings.length > 0) throw new Problem("invalid", "", { errors: findings });
  return input;
}

function findingsOf(place: string, error: z.ZodError): Finding[] {
  return error.issues.map(({ path, message, ...issue }) => {
    // Those are told of the object that holds them.
    const unknown = issue.code === "unrecognized_keys" ? (issue as { keys: string[] }).keys.slice(0, 1) : [];
    return { field: [place, ...path, ...unknown].join("."), message };
  });
}

/** What is too large is read to its end all the same, where that is near: who is still sending does not hear why not. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const tooLarge = () => new Problem("body-too-large", `${bodyBytesMax} bytes at most`);
  if (Number(request.headers["content-length"] ?? 0) > drainedBytesMax) throw tooLarge();
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > drainedBytesMax) throw tooLarge();
    if (bytes > bodyBytesMax) parts.length = 0;
    else parts.push(part);
  }
  if (bytes > bodyBytesMax) throw tooLarge();
  return Buffer.concat(parts);
}

function parse(bytes: Buffer, contentType = ""): unknown {
  if (bytes.length === 0) return {};
  const type = (contentType.split(";")[0] ?? "").trim().toLowerCase();
  if (type !== "application/json") throw new Problem("unsupported-media-type", "Content-Type: application/json");
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch {
    throw new Problem("bad-request", "the body is not JSON");
  }
}
