/** Why the API server did not do what it was asked for. */

/** `status` 0 = no answer: `reason` is then Unreachable, Timeout or Aborted; else the server's own word (NotFound, Conflict, …). */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly status: number;
  readonly reason: string;
  /** What the server asked to wait, milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    status: number,
    reason: string,
    message: string,
    options: { readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function isKubeError(error: unknown, status: number, reason?: string): error is KubeError {
  return error instanceof KubeError && error.status === status && (reason === undefined || error.reason === reason);
}

/** An error answer, or an ERROR event of a watch. `body` is a Status object as text, or whatever a proxy said. */
export function errorOf(status: number, body: string, what: string, retryAfterMs?: number): KubeError {
  const said = parseStatus(body);
  const message = said?.message ?? body.slice(0, 500).trim();
  return new KubeError(
    said?.code ?? status,
    said?.reason ?? `HTTP${status}`,
    `${what}: ${message === "" ? `HTTP ${status}` : message}`,
    { retryAfterMs },
  );
}

interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

function parseStatus(body: string): Status | undefined {
  try {
    const parsed = JSON.parse(body) as Partial<Record<keyof Status, unknown>> | null;
    if (typeof parsed !== "object" || parsed === null) return undefined;
    return {
      ...(typeof parsed.code === "number" ? { code: parsed.code } : {}),
      ...(typeof parsed.reason === "string" ? { reason: parsed.reason } : {}),
      ...(typeof parsed.message === "string" ? { message: parsed.message } : {}),
    };
  } catch {
    return undefined;
  }
}
