/** Where two JSON values differ, as paths with both values: what `oao diff` shows and a divergence names. */
import { type Json, type JsonObject, pathStep } from "./json.ts";

/** Undefined = there is nothing at this path on that side. */
export interface Difference {
  /** `$.messages[3].content`; `$` alone where the values themselves differ. */
  readonly path: string;
  readonly a: Json | undefined;
  readonly b: Json | undefined;
}

/**
 * The first `max` differences: members by name in the order of code units, lists by index. A member or an element that only one
 * side has is one difference, whatever it holds; so is a pair of different types. Equal values give none.
 * Without recursion: what is read back from a file may be nested more deeply than what OAO records.
 */
export function differences(a: Json | undefined, b: Json | undefined, max: number): Difference[] {
  const found: Difference[] = [];
  const open: Difference[] = [{ path: "$", a, b }];
  while (found.length < max) {
    const pair = open.pop();
    if (pair === undefined) break;
    if (pair.a === pair.b) continue;
    const inner = membersOf(pair);
    if (inner === undefined) found.push(pair);
    else open.push(...inner.reverse());
  }
  return found;
}

export function firstDifference(a: Json | undefined, b: Json | undefined): Difference | undefined {
  return differences(a, b, 1)[0];
}

/** Pairs that are not the same at first sight; undefined = the values are no two objects and no two lists. */
function membersOf({ path, a, b }: Difference): Difference[] | undefined {
  if (!isContainer(a) || !isContainer(b)) return undefined;
  if (Array.isArray(a) !== Array.isArray(b)) return undefined;
  const steps = isList(a) && isList(b) ? [...Array(Math.max(a.length, b.length)).keys()] : namesOf(a, b);
  const pairs: Difference[] = [];
  for (const step of steps) {
    const [left, right] = [memberOf(a, step), memberOf(b, step)];
    if (left !== right) pairs.push({ path: path + pathStep(step), a: left, b: right });
  }
  return pairs;
}

function namesOf(a: Container, b: Container): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
}

type Container = readonly Json[] | JsonObject;

function isContainer(value: Json | undefined): value is Container {
  return value !== null && typeof value === "object";
}

function isList(value: Container): value is readonly Json[] {
  return Array.isArray(value);
}

/** Own members only: data may use the names of inherited ones. */
function memberOf(value: Container, step: string | number): Json | undefined {
  return Object.hasOwn(value, step) ? (value as Readonly<Record<string | number, Json>>)[step] : undefined;
}

/** What stands for a value that is not there. */
export const absent = "(absent)";

/** How much of what two long texts have in common is shown before the first character that differs. */
const commonShown = 20;

/**
 * Both values as short texts, of at most `width` UTF-16 units each: JSON, cut at the end; of two texts that begin alike, what
 * comes shortly before the first character that differs, so that a change at the end of a long prompt is seen.
 */
export function shortened({ a, b }: Difference, width: number): { readonly a: string; readonly b: string } {
  const [left, right] = [textOf(a), textOf(b)];
  const from = left.length > width || right.length > width ? Math.max(0, commonLength(left, right) - commonShown) : 0;
  return { a: cut(left, from, width), b: cut(right, from, width) };
}

function textOf(value: Json | undefined): string {
  return value === undefined ? absent : JSON.stringify(value);
}

function commonLength(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a.charCodeAt(length) === b.charCodeAt(length)) length += 1;
  return length;
}

/** Never half a character. */
function cut(text: string, from: number, width: number): string {
  const before = from === 0 ? "" : "…";
  const room = width - before.length;
  const rest = text.slice(from);
  const shown = rest.length <= room ? rest : `${rest.slice(0, room - 1)}…`;
  return `${before}${shown}`.replaceAll(/\p{Surrogate}/gu, "");
}
