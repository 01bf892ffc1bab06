/** From a request line to the operation that it means. */
import type { IncomingMessage } from "node:http";
import { matchPath, parseTarget, type Target, targetLengthMax } from "./paths.ts";
import { notFound, Problem } from "./problems.ts";
import { type Operation, type OperationId, operations } from "./routes.ts";

interface Allowed {
  /** For the Allow header. */
  readonly methods: string;
  of(method: string): readonly [OperationId, Operation, Readonly<Record<string, string>>] | undefined;
}

/** Throws Problem where nothing is. */
export function addressOf({ url = "" }: IncomingMessage): { target: Target; allowed: Allowed } {
  if (url.length > targetLengthMax) throw new Problem("uri-too-long", `${targetLengthMax} characters at most`);
  const target = parseTarget(url);
  if (target === undefined) throw notFound();
  const here = (Object.entries(operations) as [OperationId, Operation][]).flatMap(([id, operation]) => {
    const params = matchPath(operation.path, target.path);
    return params === undefined ? [] : [[id, operation, params] as const];
  });
  if (here.length === 0) throw notFound();
  const methods = new Set(here.flatMap(([, { method }]) => (method === "GET" ? ["GET", "HEAD"] : [method])));
  return {
    target,
    allowed: {
      methods: [...methods, "OPTIONS"].join(", "),
      of: (method) => here.find(([, operation]) => operation.method === (method === "HEAD" ? "GET" : method)),
    },
  };
}

/** The first of the operation's types that the caller takes. Throws Problem. */
export function acceptedType({ headers: { accept = "*/*" } }: IncomingMessage, { success }: Operation): string {
  const types = Object.keys(success.content);
  const wanted = accept.split(",").map((part) => (part.split(";")[0] ?? "").trim().toLowerCase());
  for (const each of wanted) {
    const found = types.find((type) => each === "*/*" || each === type || each === `${type.split("/")[0]}/*`);
    if (found !== undefined) return found;
  }
  throw new Problem("not-acceptable", `here is ${types.join(", ")}`);
}
