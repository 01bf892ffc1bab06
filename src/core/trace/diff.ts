/** What is different about two steps that were aligned: fields under the names that `oao trace` gives them. */
import type { Json } from "../digest/json.ts";
import { type Difference, differences } from "../digest/json-diff.ts";
import { unpackBody } from "../steps/bodies.ts";
import type { StepEntry } from "../steps/format.ts";
import { pathText } from "../steps/identity.ts";
import type { StepPair } from "./align.ts";
import { isRequestRef } from "./request.ts";

/** Bodies of one run by digest; undefined = not there any more. */
export type BodyOf = (digest: string) => string | undefined;

interface ValuePair {
  readonly path: string;
  readonly a: string | undefined;
  readonly b: string | undefined;
}

/** Digests of the bodies of both runs that have to be read to tell what differs: none of what is the same. */
export function bodiesToCompare(pair: StepPair): { readonly a: readonly string[]; readonly b: readonly string[] } {
  const pairs = pair.verdict === "Changed" ? valuePairs(pair) : [];
  return { a: pairs.flatMap(({ a }) => a ?? []), b: pairs.flatMap(({ b }) => b ?? []) };
}

/** Up to `max` of the fields in which a pair differs; `bodyOf` needs what `bodiesToCompare` named, and the texts of that. */
export function stepDifferences(
  pair: StepPair,
  bodyOf: { readonly a: BodyOf; readonly b: BodyOf },
  max: number,
): Difference[] {
  if (pair.verdict !== "Changed" || pair.a === undefined || pair.b === undefined) return [];
  const [a, b] = [pair.a.call.entry, pair.b.call.entry];
  const found = differences(plainFields(a), plainFields(b), max);
  for (const value of valuePairs(pair)) {
    const [left, right] = [read(value.a, bodyOf.a), read(value.b, bodyOf.b)];
    for (const inner of differences(left, right, max - found.length))
      found.push({ ...inner, path: value.path + inner.path.slice(1) });
  }
  // The request is another, and nothing that is kept of it says in what.
  if (a.requestDigest !== b.requestDigest && pair.request?.since === undefined && !found.some(isOfInput))
    found.push({ path: "$.request_digest", a: a.requestDigest, b: b.requestDigest });
  return found.slice(0, max);
}

/** What a provider makes anew for every answer: two runs of the same always differ in it, and nobody looks for it. */
const drawnAnew = /^\$\.output\.(id$|response_metadata|(tool_calls|content)\[\d+\]\.id$)/;

export function isDrawnAnew({ path }: Difference): boolean {
  return drawnAnew.test(path);
}

function isOfInput({ path }: Difference): boolean {
  return path.startsWith("$.input");
}

function plainFields(entry: StepEntry): Json {
  const { usage } = entry;
  return {
    kind: entry.kind,
    name: entry.name,
    path: pathText(entry.path),
    occurrence: entry.occurrence,
    state: entry.outcome,
    error: entry.error,
    tool_calls: entry.toolCalls.map(({ name, arguments: args }) => ({ name, arguments: args })),
    token_usage: usage === null ? null : { input: usage.input, output: usage.output, total: usage.total },
  };
}

/** Bodies that differ, by their digests. */
function valuePairs({ a, b, request }: StepPair): ValuePair[] {
  if (a === undefined || b === undefined) return [];
  const [left, right] = [a.call.entry, b.call.entry];
  const pairs: ValuePair[] = [];
  const add = (path: string, x: string | undefined, y: string | undefined) => {
    if (x !== y) pairs.push({ path, a: x, b: y });
  };
  if (request !== undefined) {
    if (request.header !== undefined) add("$.input", request.header[0], request.header[1]);
    for (const [position, x, y] of request.messages) add(`$.input.messages[${position}]`, x, y);
  } else if (left.requestDigest !== right.requestDigest) {
    add("$.input", plainInput(left), plainInput(right));
  }
  add("$.output", left.output?.body, right.output?.body);
  return pairs;
}

/** Of a model step that stands beside a step of another kind: what its request begins with. */
function plainInput({ input }: StepEntry): string {
  return isRequestRef(input) ? input.header : input.body;
}

function read(digest: string | undefined, bodyOf: BodyOf): Json | undefined {
  if (digest === undefined) return undefined;
  const bytes = bodyOf(digest);
  if (bytes === undefined) return { digest: `sha256:${digest}` };
  return unpackBody(bytes, (text) => bodyOf(text) ?? `sha256:${text}`);
}
