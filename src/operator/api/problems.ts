/** What the API says when it does not do what was asked: problem details (RFC 9457), one title and status per kind. */

const catalogue = {
  "bad-request": { status: 400, title: "The request cannot be read" },
  unauthenticated: { status: 401, title: "Who are you?" },
  // One text for what is not there and for what the caller may not see: it names neither.
  "not-found": { status: 404, title: "There is no such thing, or you may not see it" },
  "method-not-allowed": { status: 405, title: "The method is not served here" },
  "not-acceptable": { status: 406, title: "There is no such form of it" },
  conflict: { status: 409, title: "It cannot be done now" },
  "body-too-large": { status: 413, title: "The body is too large" },
  "uri-too-long": { status: 414, title: "The address is too long" },
  "unsupported-media-type": { status: 415, title: "The body must be JSON" },
  invalid: { status: 422, title: "The request is understood and wrong" },
  "too-many-requests": { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "The operator failed" },
  tampered: { status: 500, title: "The record was changed after it was made" },
  unavailable: { status: 503, title: "Something that the operator needs does not answer" },
} as const;

export type ProblemKind = keyof typeof catalogue;

export const problemKinds = Object.keys(catalogue) as ProblemKind[];

export function statusOf(kind: ProblemKind): number {
  return catalogue[kind].status;
}

export function titleOf(kind: ProblemKind): string {
  return catalogue[kind].title;
}

/** One wrong place of a request. */
export interface Finding {
  /** Such as query.from_step or body.patch.nodes. */
  readonly field: string;
  readonly message: string;
}

export interface ProblemOptions {
  readonly errors?: readonly Finding[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown by whatever answers a request. `detail` is told to the caller. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly kind: ProblemKind;
  readonly errors: readonly Finding[];
  readonly headers: Readonly<Record<string, string>>;
  constructor(kind: ProblemKind, detail: string, { errors = [], headers = {}, cause }: ProblemOptions = {}) {
    super(detail, cause === undefined ? {} : { cause });
    this.kind = kind;
    this.errors = errors;
    this.headers = headers;
  }
}

/** As it is sent. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly errors?: readonly Finding[];
}

export function problemDetails({ kind, message, errors }: Problem): ProblemDetails {
  const { status, title } = catalogue[kind];
  return {
    type: `urn:oao:problem:${kind}`,
    title,
    status,
    ...(message === "" ? {} : { detail: message }),
    ...(errors.length === 0 ? {} : { errors }),
  };
}

/** The same bytes whatever it was that is not there. */
export function notFound(): Problem {
  return new Problem("not-found", "");
}
