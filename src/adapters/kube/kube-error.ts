/** Why the API server did not do what it was asked for. */

/** Of a refused object: which field, and why. */
export interface Cause {
  readonly field: string;
  readonly message: string;
}

/** What the server says besides its reason. */
export interface Refusal {
  /** Its message, without the request. */
  readonly said: string;
  /** Of the object that it is about; absent when it is about none, such as a path that it does not serve. */
  readonly name?: string | undefined;
  /** Its plural, such as namespaces. */
  readonly kind?: string | undefined;
  readonly causes: readonly Cause[];
}

/**
 * `status` 0 = no answer: `reason` is then Unreachable, Timeout, Credentials (none could be had) or Aborted; else the server's own
 * word (NotFound, Conflict, …).
 */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly status: number;
  readonly reason: string;
  /** What the server asked to wait, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Undefined = no answer. */
  readonly refusal: Refusal | undefined;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: {
      readonly retryAfterMs?: number | undefined;
      readonly refusal?: Refusal | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
    this.refusal = options.refusal;
  }
}

export function isKubeError(error: unknown, status: number, reason?: string): error is KubeError {
  return error instanceof KubeError && error.status === status && (reason === undefined || error.reason === reason);
}

/** For `catch`: undefined where the server answered with one of these statuses. Throws every other error. */
export function unless(...statuses: readonly number[]): (error: unknown) => undefined {
  return (error) => {
    if (!statuses.some((status) => isKubeError(error, status))) throw error;
    return undefined;
  };
}

/** An error answer, or an ERROR event of a watch. `body` is a Status object as text, or whatever a proxy said. */
export function errorOf(status: number, body: string, what: string, retryAfterMs?: number): KubeError {
  const said = parseStatus(body);
  const message = said?.message ?? body.slice(0, 500).trim();
  const refusal = { said: message, name: said?.name, kind: said?.kind, causes: said?.causes ?? [] };
  return new KubeError(
    said?.code ?? status,
    said?.reason ?? `HTTP${status}`,
    `${what}: ${message === "" ? `HTTP ${status}` : message}`,
    { retryAfterMs, refusal },
  );
}

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly name?: string | undefined;
  readonly kind?: string | undefined;
  readonly causes?: readonly Cause[];
}

function parseStatus(body: string): Status | undefined {
  try {
    const parsed = JSON.parse(body) as Partial<Record<"code" | "reason" | "message" | "details", unknown>> | null;
    if (typeof parsed !== "object" || parsed === null) return undefined;
    return {
      ...(typeof parsed.code === "number" ? { code: parsed.code } : {}),
      ...(typeof parsed.reason === "string" ? { reason: parsed.reason } : {}),
      ...(typeof parsed.message === "string" ? { message: parsed.message } : {}),
      ...detailsOf(parsed.details),
    };
  } catch {
    return undefined;
  }
}

function detailsOf(details: unknown): Pick<Status, "name" | "kind" | "causes"> {
  if (typeof details !== "object" || details === null) return {};
  const { name, kind, causes } = details as Readonly<Record<"name" | "kind" | "causes", unknown>>;
  return {
    name: textOf(name),
    kind: textOf(kind),
    causes: (Array.isArray(causes) ? (causes as readonly Partial<Record<keyof Cause, unknown>>[]) : []).map((each) => ({
      field: textOf(each.field) ?? "",
      message: textOf(each.message) ?? "",
    })),
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
