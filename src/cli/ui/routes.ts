/** The JSON routes below /api: what is asked, checked once, and who answers. */
import { productVersion } from "../../api/version.ts";
import { type RunKey, runsMax, type SessionInfo, stepsPageMax } from "../../ui/wire.ts";
import type { RunSource } from "./run-source.ts";

export interface RouteContext {
  readonly source: RunSource;
}

export interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly body: unknown;
}

export class BadRequest extends Error {
  override readonly name = "BadRequest";
  readonly status: number;
  constructor(message: string, status = 400) {
    super(message);
    this.status = status;
  }
}

export class NotFound extends Error {
  override readonly name = "NotFound";
}

/** Addresses that the page itself understands. */
export const pageRoutes = /^\/(runs\/[^/]+\/[^/]+|diff\/[^/]+\/[^/]+\/[^/]+\/[^/]+)?$/;

type Handler = (key: RunKey, asked: Asked, context: RouteContext) => Promise<unknown>;

/** Below /api/runs/{namespace}/{name}. */
const runRoutes: Readonly<Record<string, Handler>> = {
  "GET ": (key, _asked, { source }) => source.run(key),
  "GET graph": async (key, _asked, { source }) => ({ nodes: await source.graph(key) }),
  "GET steps": (key, { url }, { source }) => {
    const query = url.searchParams;
    return source.steps.page(key, {
      from: wholeNumber(query, "from", 0, Number.MAX_SAFE_INTEGER),
      limit: wholeNumber(query, "limit", 200, stepsPageMax),
      at: query.get("at") ?? undefined,
      node: query.get("node") ?? undefined,
      text: query.get("text")?.slice(0, 200) ?? undefined,
    });
  },
  "POST replay": startReplay,
  "GET step": (key, { url }, { source }) => {
    const id = url.searchParams.get("id");
    if (id === null || id === "") throw new BadRequest("id is missing: the step's, as in gather:12");
    return source.steps.step(key, id, url.searchParams.get("whole") === "true");
  },
};

/** `POST {"fromStep": 7}`: answered with the key of the new run. */
async function startReplay(key: RunKey, { body }: Asked, { source }: RouteContext): Promise<RunKey> {
  const fromStep = (body as { fromStep?: unknown } | null)?.fromStep;
  if (typeof fromStep !== "number" || !Number.isSafeInteger(fromStep) || fromStep < 1)
    throw new BadRequest("fromStep must be a step number");
  if (source.startReplay === undefined) throw new NotFound("replays are not started from here");
  return source.startReplay(key, fromStep);
}

/** `/api/diff?left=NAMESPACE/NAME&right=NAMESPACE/NAME`, and with `index` what differs in one pair. */
function diff({ url }: Asked, { source }: RouteContext): Promise<unknown> {
  const query = url.searchParams;
  const [left, right] = [keyOf(query, "left"), keyOf(query, "right")];
  if (query.has("index"))
    return source.steps.diffDetail(left, right, wholeNumber(query, "index", 0, Number.MAX_SAFE_INTEGER));
  const from = wholeNumber(query, "from", 0, Number.MAX_SAFE_INTEGER);
  return source.steps.diff(left, right, from, wholeNumber(query, "limit", 200, stepsPageMax));
}

/** Throws BadRequest, NotFound, CliError. */
export async function answer(asked: Asked, context: RouteContext): Promise<unknown> {
  const { method, url } = asked;
  const parts = url.pathname.slice("/api/".length).split("/").map(decoded);
  const [first, namespace, name, last = "", ...more] = parts;
  if (parts.length === 1 && first === "session" && method === "GET") return session(context);
  if (parts.length === 1 && first === "runs" && method === "GET")
    return context.source.list(wholeNumber(url.searchParams, "limit", 500, runsMax));
  if (parts.length === 1 && first === "diff" && method === "GET") return diff(asked, context);
  const handler =
    first === "runs" && more.length === 0 && Object.hasOwn(runRoutes, `${method} ${last}`)
      ? runRoutes[`${method} ${last}`]
      : undefined;
  if (handler === undefined || namespace === undefined || name === undefined || name === "")
    throw new NotFound(`there is no ${method} ${url.pathname}`);
  return handler({ namespace, name }, asked, context);
}

/** `?run=namespace/name` of the events: whose steps are told of as well. */
export function focusOf(url: URL): RunKey | undefined {
  return url.searchParams.has("run") ? keyOf(url.searchParams, "run") : undefined;
}

function keyOf(query: URLSearchParams, parameter: string): RunKey {
  const [namespace, name, ...more] = (query.get(parameter) ?? "").split("/");
  if (namespace === undefined || name === undefined || name === "" || more.length > 0)
    throw new BadRequest(`${parameter} must be NAMESPACE/NAME`);
  return { namespace, name };
}

function session({ source }: RouteContext): SessionInfo {
  return {
    version: productVersion,
    place: source.place,
    canReplay: source.startReplay !== undefined,
  };
}

function wholeNumber(query: URLSearchParams, name: string, otherwise: number, max: number): number {
  const text = query.get(name);
  if (text === null) return otherwise;
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || value > max) throw new BadRequest(`${name} must be a whole number up to ${max}`);
  return value;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new BadRequest("the path is not properly encoded");
  }
}
