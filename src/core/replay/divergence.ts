/** Where a replay and its record part: the place, and what was on each side. */
import { absent, firstDifference, shortened } from "../digest/json-diff.ts";
import type { Json } from "../digest/json.ts";
import type { Divergence } from "./types.ts";

/** UTF-16 units of each value that is shown. */
const shownUnits = 160;

export interface Place {
  readonly node: string;
  readonly step?: number | undefined;
}

/** The first difference of two values below `field`; both given as JSON, secrets already out. */
export function divergenceAt(
  { node, step }: Place,
  field: string,
  recorded: Json | undefined,
  replayed: Json | undefined,
): Divergence {
  const found = firstDifference(recorded, replayed);
  const { a, b } = shortened(found ?? { path: "$", a: recorded, b: replayed }, shownUnits);
  return {
    node,
    ...(step === undefined ? {} : { step }),
    field: `$.${field}${(found?.path ?? "$").slice(1)}`,
    ...(a === absent ? {} : { recorded: a }),
    ...(b === absent ? {} : { replayed: b }),
  };
}

/** For people. */
export function divergenceText({ node, step, field, recorded, replayed }: Divergence): string {
  // Of the run as a whole no node is named.
  const run = node === "" ? "the run" : `node ${node}`;
  const place = step === undefined ? run : `step ${step} (node ${node})`;
  if (replayed === undefined) return `${place}: ${field} is not there, recorded: ${recorded ?? absent}`;
  if (recorded === undefined) return `${place}: ${field} is ${replayed}, nothing was recorded there`;
  return `${place}: ${field} is ${replayed}, recorded: ${recorded}`;
}
