/** From whatever a provider's client threw to one class that the retry policy knows. Nobody downstream reads messages. */
import { CallFailure, type ReportedUsage } from "../../ports/step.ts";

/** The agent itself failed: a function of its recorded calls, so a replay fails the same way. */
export class AgentFailure extends Error {
  override readonly name = "AgentFailure";
  readonly failureClass: "MaxIterations" | "NoAnswer" | "InvalidSpec";
  constructor(failureClass: AgentFailure["failureClass"], message: string) {
    super(message);
    this.failureClass = failureClass;
  }
}

export interface ClassifyOptions {
  /** For Retry-After dates; milliseconds since the epoch. */
  readonly nowMs?: number | undefined;
  /** Values that must not appear in messages. */
  readonly secrets?: readonly string[] | undefined;
  readonly usage?: ReportedUsage | undefined;
}

type FailureClass = CallFailure["failureClass"];
type Fields = Readonly<Record<string, unknown>>;

const messageCharsMax = 600;

/** Codes of connections that were never made: the request surely did not leave. */
const notSentCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "ERR_INVALID_URL",
]);
const timeoutCodes = new Set([
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
]);

/** Types and codes of errors that providers send inside a stream, where no status tells. */
const streamErrors: Readonly<Record<string, FailureClass>> = {
  rate_limit_error: "RateLimit",
  rate_limit_exceeded: "RateLimit",
  insufficient_quota: "QuotaExhausted",
  billing_error: "QuotaExhausted",
  timeout_error: "Timeout",
  invalid_request_error: "InvalidRequest",
  authentication_error: "InvalidRequest",
  permission_error: "InvalidRequest",
  not_found_error: "InvalidRequest",
  request_too_large: "InvalidRequest",
  context_length_exceeded: "InvalidRequest",
};

/** The error under LangChain's wrapping. */
export function unwrap(error: unknown): unknown {
  let inner = error;
  while (
    inner instanceof Error &&
    (inner as unknown as Fields)["~brand"] === "MiddlewareError" &&
    inner.cause !== undefined
  ) {
    inner = inner.cause;
  }
  return inner;
}

/**
 * RateLimit (with Retry-After), QuotaExhausted, Timeout, InvalidRequest, and NetworkFailure for everything else: 5xx,
 * lost connections, broken streams. `sent` is false only where no connection was made. The cause is not kept: it holds
 * headers.
 */
export function classify(error: unknown, options: ClassifyOptions = {}): CallFailure {
  const inner = unwrap(error);
  const own = ownFailure(inner);
  if (own !== undefined) return withUsage(own, options.usage);
  const fields = (typeof inner === "object" && inner !== null ? inner : {}) as Fields;
  const codes = codesOf(inner);
  const failureClass = classOf(fields, codes);
  return new CallFailure(failureClass, safeMessage(inner, codes, options.secrets ?? []), {
    retryAfterMs: retryAfterMs(fields["headers"], options.nowMs ?? Date.now()),
    sent: typeof fields["status"] === "number" || !codes.some((code) => notSentCodes.has(code)),
    usage: options.usage,
  });
}

/** What OAO itself found wrong with an answer: clients wrap what their fetch throws. */
function ownFailure(error: unknown, depth = 0): CallFailure | undefined {
  if (error instanceof CallFailure) return error;
  return error instanceof Error && depth < 8 ? ownFailure(error.cause, depth + 1) : undefined;
}

function withUsage(failure: CallFailure, usage: ReportedUsage | undefined): CallFailure {
  if (failure.usage !== undefined || usage === undefined) return failure;
  const { failureClass, message, retryAfterMs: after, sent } = failure;
  return new CallFailure(failureClass, message, { retryAfterMs: after, sent, usage });
}

function classOf(fields: Fields, codes: readonly string[]): FailureClass {
  const status = fields["status"];
  if (typeof status === "number") return classOfStatus(status, fields);
  if (codes.some((code) => timeoutCodes.has(code)) || fields["name"] === "TimeoutError") return "Timeout";
  if (fields["lc_error_code"] === "CONTEXT_OVERFLOW" || fields["name"] === "ContextOverflowError")
    return "InvalidRequest";
  for (const name of namesIn(fields)) {
    const known = Object.hasOwn(streamErrors, name) ? streamErrors[name] : undefined;
    if (known !== undefined) return known;
  }
  return "NetworkFailure";
}

function classOfStatus(status: number, fields: Fields): FailureClass {
  if (status === 429) return isQuota(fields) ? "QuotaExhausted" : "RateLimit";
  if (status === 402) return "QuotaExhausted";
  if (status === 408) return "Timeout";
  // 409 and 425 are the server's passing state, not the request's fault.
  if (status >= 500 || status === 409 || status === 425) return "NetworkFailure";
  return "InvalidRequest";
}

/** No waiting helps: the account is empty. `rateLimitType` is LangChain's own finding. */
function isQuota(fields: Fields): boolean {
  return fields["rateLimitType"] === "stop" || namesIn(fields).some((name) => streamErrors[name] === "QuotaExhausted");
}

/** Type and code of an API error, from the client's fields and from the body it kept. */
function namesIn(fields: Fields): string[] {
  const body = asFields(fields["error"]);
  const nested = asFields(body["error"]);
  return [fields, body, nested]
    .flatMap((place) => [place["type"], place["code"]])
    .filter((name) => typeof name === "string");
}

function asFields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** System error codes of an error and its causes; a connection tried over several addresses holds several. */
function codesOf(error: unknown, depth = 0): string[] {
  if (typeof error !== "object" || error === null || depth > 8) return [];
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  const inner = [cause, ...(Array.isArray(errors) ? (errors as unknown[]) : [])];
  return [...(typeof code === "string" ? [code] : []), ...inner.flatMap((next) => codesOf(next, depth + 1))];
}

/** Retry-After in milliseconds: seconds, an HTTP date, or OpenAI's retry-after-ms. */
export function retryAfterMs(headers: unknown, nowMs: number): number | undefined {
  const read = (name: string): string | undefined => {
    if (headers instanceof Headers) return headers.get(name) ?? undefined;
    const value = asFields(headers)[name];
    return typeof value === "string" ? value : undefined;
  };
  const precise = Number(read("retry-after-ms") ?? Number.NaN);
  if (Number.isFinite(precise) && precise >= 0) return precise;
  const text = read("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return seconds >= 0 ? Math.ceil(seconds * 1000) : undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

const wordless: ReadonlySet<string> = new Set(["Connection error.", "fetch failed"]);

function deepestMessage(error: unknown, depth = 0): string {
  if (!(error instanceof Error) || depth > 8) return "";
  const inner = [error.cause, ...(error instanceof AggregateError ? (error.errors as unknown[]) : [])];
  const found = inner.map((next) => deepestMessage(next, depth + 1)).find((text) => text !== "");
  return found ?? (wordless.has(error.message) ? "" : error.message);
}

function safeMessage(error: unknown, codes: readonly string[], secrets: readonly string[]): string {
  const text = error instanceof Error ? error.message : String(error);
  const [said = ""] = text.split("\n\nTroubleshooting URL:");
  // Clients hide what they could not reach, and why, at the bottom of their causes.
  const bottom = wordless.has(said) ? deepestMessage(error) : "";
  const first = bottom === "" ? said : `${said.replace(/\.$/, "")}: ${bottom}`;
  const code = codes.find((name) => !first.includes(name) && /^[A-Z][A-Z0-9_]+$/.test(name));
  const clean = redact(code === undefined ? first : `${first} (${code})`, secrets).trim();
  const shown = clean.length > messageCharsMax ? `${clean.slice(0, messageCharsMax)}…` : clean;
  return shown === "" ? "the model server failed without a message" : shown.toWellFormed();
}

/** Known secrets, and whatever looks like a key: providers repeat the key in their messages. */
export function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, "[redacted]");
  return clean
    .replaceAll(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, "$1 [redacted]")
    .replaceAll(/\b(?:sk|pk|rk|xai|gsk|AIza)[-_]?[\w*-]{8,}/g, "[redacted]");
}
