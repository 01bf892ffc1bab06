/** Which step of one run is which step of another. Linear in the steps of both. */
import { itemName } from "../protocol/names.ts";
import type { RequestRef, StepEntry } from "../steps/format.ts";
import { pathText, stepKey } from "../steps/identity.ts";
import { canonicalStep } from "./canonical.ts";
import type { TracedCall } from "./journal.ts";
import { comparePaths } from "./order.ts";
import { isRequestRef, rebuildRequest } from "./request.ts";

/** The calls of a run that have numbers, in canonical order. */
export type Steps = readonly TracedCall<StepEntry>[];

export interface PlacedStep {
  readonly number: number;
  readonly call: TracedCall<StepEntry>;
}

/** Where two model requests differ, by digests of their parts. */
export interface RequestDifference {
  readonly header: readonly [a: string, b: string] | undefined;
  /** By position; undefined = the request has no such message. */
  readonly messages: readonly (readonly [position: number, a: string | undefined, b: string | undefined])[];
  /** Number in the first run of the step whose request brought in that what is kept of earlier ones differs too. */
  readonly since: number | undefined;
}

export interface StepPair {
  readonly node: string;
  readonly a: PlacedStep | undefined;
  readonly b: PlacedStep | undefined;
  /** Same = the same canonical line but for its number: runs of which all pairs are the same have the same traceHash. */
  readonly verdict: "Same" | "Changed" | "OnlyA" | "OnlyB";
  /** By content (J5), else by where they stand; undefined = it stands alone. */
  readonly matchedBy: "key" | "position" | undefined;
  /** Of two model steps with different requests. */
  readonly request: RequestDifference | undefined;
}

/**
 * Steps of one node item by key, those that are left by position, the rest alone: in the order of the first run, what only the
 * second has put in where it stands there.
 */
export function alignSteps(a: Steps, b: Steps): StepPair[] {
  const [itemsA, itemsB] = [byItem(a), byItem(b)];
  const names = mergedNames([...itemsA.keys()], [...itemsB.keys()]);
  return names.flatMap((name) => alignItem(name, itemsA.get(name) ?? [], itemsB.get(name) ?? []));
}

function byItem(steps: Steps): Map<string, PlacedStep[]> {
  const items = new Map<string, PlacedStep[]>();
  for (const [index, call] of steps.entries()) {
    const name = itemName(call.journal);
    const held = items.get(name);
    const placed = { number: index + 1, call };
    if (held === undefined) items.set(name, [placed]);
    else held.push(placed);
  }
  return items;
}

/** The first run's order; what only the second has comes after what is before it there. */
function mergedNames(a: readonly string[], b: readonly string[]): string[] {
  const inA = new Set(a);
  const after = new Map<string | undefined, string[]>();
  let last: string | undefined;
  for (const name of b) {
    if (inA.has(name)) last = name;
    else after.set(last, [...(after.get(last) ?? []), name]);
  }
  return [...(after.get(undefined) ?? []), ...a.flatMap((name) => [name, ...(after.get(name) ?? [])])];
}

type Match = Pick<StepPair, "a" | "b" | "matchedBy">;

function alignItem(node: string, a: readonly PlacedStep[], b: readonly PlacedStep[]): StepPair[] {
  const left = new Set(b);
  const matched: Match[] = [];
  const take = (steps: readonly PlacedStep[], name: (step: PlacedStep) => string, matchedBy: "key" | "position") => {
    const found = new Map([...left].map((step) => [name(step), step]));
    return steps.filter((step) => {
      const other = found.get(name(step));
      if (other === undefined || !left.delete(other)) return true;
      matched.push({ a: step, b: other, matchedBy });
      return false;
    });
  };
  const alone = take(take(a, keyOf, "key"), positionOf, "position");
  for (const step of alone) matched.push({ a: step, b: undefined, matchedBy: undefined });
  for (const step of left) matched.push({ a: undefined, b: step, matchedBy: undefined });
  const requests = compareRequests(matched);
  return matched
    .sort((x, y) => comparePaths(pathOf(x), pathOf(y)))
    .map((match) => ({ node, ...match, verdict: verdictOf(match), request: requests.get(match) }));
}

function keyOf({ call: { entry } }: PlacedStep): string {
  return stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence);
}

function positionOf({ call }: PlacedStep): string {
  return pathText(call.entry.path);
}

function pathOf({ a, b }: Match): readonly number[] {
  return (a ?? b)?.call.entry.path ?? [];
}

function verdictOf({ a, b }: Match): StepPair["verdict"] {
  if (b === undefined) return "OnlyA";
  if (a === undefined) return "OnlyB";
  // Both were read from canonical JSON, so members stand in the same order.
  const said = ({ call }: PlacedStep) => JSON.stringify(canonicalStep(call.journal, call.entry));
  return said(a) === said(b) ? "Same" : "Changed";
}

interface Compared {
  /** Place of the other run's step. */
  readonly placeB: string;
  /** Position of the first message that differs, and the number of the step that brought it in; none = they are equal. */
  readonly first: { readonly position: number; readonly step: number } | undefined;
}

/**
 * A request is stored as what it adds to an earlier one, so it is compared as that too: a conversation of n steps that differs
 * in its first message costs n comparisons, and says once what is different.
 */
function compareRequests(matched: readonly Match[]): Map<Match, RequestDifference> {
  const compared = new Map<string, Compared>();
  const differing = new Map<Match, RequestDifference>();
  const both = matched.filter((match): match is Match & { a: PlacedStep; b: PlacedStep } => !!match.a && !!match.b);
  // What is referred to comes first: in the journal of a run that is replayed, then by its index.
  both.sort((x, y) => depthOf(x.a) - depthOf(y.a) || x.a.call.entry.index - y.a.call.entry.index);
  for (const match of both) {
    const [a, b] = [match.a.call, match.b.call];
    if (!isRequestRef(a.entry.input) || !isRequestRef(b.entry.input)) continue;
    const { difference, first } = compareRequest(match.a, a.entry.input, match.b, b.entry.input, compared);
    compared.set(placeOf(a), { placeB: placeOf(b), first });
    if (a.entry.requestDigest !== b.entry.requestDigest) differing.set(match, difference);
  }
  return differing;
}

function compareRequest(
  a: PlacedStep,
  refA: RequestRef,
  b: PlacedStep,
  refB: RequestRef,
  compared: ReadonlyMap<string, Compared>,
): { difference: RequestDifference; first: Compared["first"] } {
  const base = compared.get(baseOf(a, refA));
  const isAlike = base !== undefined && base.placeB === baseOf(b, refB) && refA.keep === refB.keep;
  const kept = isAlike ? refA.keep : 0;
  const inherited = isAlike && base.first !== undefined && base.first.position < kept ? base.first : undefined;
  const [ownA, ownB] = isAlike ? [refA.append, refB.append] : [messagesOf(a, refA), messagesOf(b, refB)];
  const messages: [number, string | undefined, string | undefined][] = [];
  for (let at = 0; at < Math.max(ownA.length, ownB.length); at += 1) {
    if (ownA[at] !== ownB[at]) messages.push([kept + at, ownA[at], ownB[at]]);
  }
  const [own] = messages;
  return {
    difference: {
      header: refA.header === refB.header ? undefined : [refA.header, refB.header],
      messages,
      since: inherited?.step,
    },
    first: inherited ?? (own === undefined ? undefined : { position: own[0], step: a.number }),
  };
}

/** Of an entry in the journals of one item: those of several runs, where one reuses steps of another. */
function placeOf({ journal, entry }: PlacedStep["call"]): string {
  return `${journal.uid ?? ""}/${entry.index}`;
}

function baseOf({ call }: PlacedStep, { base, from }: RequestRef): string {
  return base === null ? "" : `${from ?? call.journal.uid ?? ""}/${base}`;
}

/** How many other runs' journals stand behind the step's own. */
function depthOf({ call }: PlacedStep): number {
  let depth = 0;
  for (let held = call.journal.origin; held !== undefined; held = held.origin) depth += 1;
  return depth;
}

function messagesOf({ call }: PlacedStep, ref: RequestRef): readonly string[] {
  return ref.keep === 0 ? ref.append : rebuildRequest(ref, call.journal).messages;
}
