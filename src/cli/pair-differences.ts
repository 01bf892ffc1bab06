/** In what aligned steps of two records differ. */
import type { Difference } from "../core/digest/json-diff.ts";
import type { StepPair } from "../core/trace/align.ts";
import { bodiesToCompare, stepDifferences } from "../core/trace/diff.ts";
import { readBodies, type RunRecord } from "../host/journals.ts";

/** Pairs whose bodies are held at a time. */
export const pairsAtOnce = 64;

/** Of each pair at most `max`. The bodies of all of them are held at once: no more than `pairsAtOnce`. */
export async function pairDifferences(
  a: RunRecord,
  b: RunRecord,
  pairs: readonly StepPair[],
  max: number,
): Promise<Difference[][]> {
  const wanted = pairs.map(bodiesToCompare);
  const digestsA = wanted.flatMap((each) => each.a);
  const digestsB = wanted.flatMap((each) => each.b);
  const [bodiesA, bodiesB] = await Promise.all([readBodies(a, digestsA), readBodies(b, digestsB)]);
  const bodyOf = { a: (digest: string) => bodiesA.get(digest), b: (digest: string) => bodiesB.get(digest) };
  return pairs.map((pair) => stepDifferences(pair, bodyOf, max));
}
