/** The JSON routes below /api: what is asked, checked once, and who answers. */
import { productVersion } from "../../api/version.ts";
import { type RunKey, runsMax, type SessionInfo, stepsPageMax } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import type { RunSource, StepSource } from "./run-source.ts";

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
    return stepsOf(source).page(key, {
      from: wholeNumber(query, "from", 0, Number.MAX_SAFE_INTEGER),
      limit: wholeNumber(query, "limit", 200, stepsPageMax),
      node: query.get("node") ?? undefined,
      text: query.get("text")?.slice(0, 200) ?? undefined,
    });
  },
  "GET step": (key, { url }, { source }) => {
    const id = url.searchParams.get("id");
    if (id === null || id === "") throw new BadRequest("id is missing: the step's, as in gather:12");
    return stepsOf(source).step(key, id, url.searchParams.get("whole") === "true");
  },
};

/** Throws BadRequest, NotFound, CliError. */
export async function answer(asked: Asked, context: RouteContext): Promise<unknown> {
  const { method, url } = asked;
  const parts = url.pathname.slice("/api/".length).split("/").map(decoded);
  const [first, namespace, name, last = "", ...more] = parts;
  if (parts.length === 1 && first === "session" && method === "GET") return session(context);
  if (parts.length === 1 && first === "runs" && method === "GET")
    return context.source.list(wholeNumber(url.searchParams, "limit", 500, runsMax));
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
  const run = url.searchParams.get("run");
  if (run === null) return undefined;
  const [namespace, name, ...more] = run.split("/");
  if (namespace === undefined || name === undefined || name === "" || more.length > 0)
    throw new BadRequest("run must be NAMESPACE/NAME");
  return { namespace, name };
}

function session({ source }: RouteContext): SessionInfo {
  return { version: productVersion, place: source.place, noSteps: source.noSteps, canReplay: false };
}

function stepsOf(source: RunSource): StepSource {
  if (source.steps !== undefined) return source.steps;
  throw new CliError(source.noSteps ?? "steps cannot be read here", [], 1);
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
