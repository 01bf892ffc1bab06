/** Where two JSON values differ, as paths: for people who compare two runs. */
import { canonicalJson } from "../digest/digest.ts";
import type { Json, JsonObject } from "../digest/json.ts";

export interface Difference {
  /** `nodes[gather].agent.prompt`: entries of named lists by name, others by index. */
  readonly path: string;
  /** Undefined = it is not there. */
  readonly one: Json | undefined;
  readonly other: Json | undefined;
}

/** The smallest differing values, in the order of paths; `max` of them. */
export function differences(one: Json, other: Json, max: number): readonly Difference[] {
  const found: Difference[] = [];
  compare(one, other, "", found, max);
  return found;
}

function compare(one: Json | undefined, other: Json | undefined, path: string, found: Difference[], max: number): void {
  if (found.length >= max) return;
  const [left, right] = [members(one), members(other)];
  if (left === undefined || right === undefined || left.isList !== right.isList) {
    if (textOf(one) !== textOf(other)) found.push({ path, one, other });
    return;
  }
  const names = [...new Set([...left.values.keys(), ...right.values.keys()])].sort();
  for (const name of names) {
    const step = left.isList ? `${path}[${name}]` : path === "" ? name : `${path}.${name}`;
    compare(left.values.get(name), right.values.get(name), step, found, max);
  }
}

interface Members {
  readonly isList: boolean;
  readonly values: ReadonlyMap<string, Json>;
}

function members(value: Json | undefined): Members | undefined {
  if (value === undefined || value === null || typeof value !== "object") return undefined;
  if (!Array.isArray(value)) return { isList: false, values: new Map(Object.entries(value as JsonObject)) };
  const list = value as readonly Json[];
  const names = list.map(nameOf);
  const areNamed = names.every((name) => name !== undefined) && new Set(names).size === names.length;
  return {
    isList: true,
    values: new Map(list.map((entry, index) => [(areNamed && names[index]) || String(index), entry])),
  };
}

function nameOf(entry: Json): string | undefined {
  if (entry === null || typeof entry !== "object" || Array.isArray(entry)) return undefined;
  const { name } = entry as JsonObject;
  return typeof name === "string" && name !== "" ? name : undefined;
}

function textOf(value: Json | undefined): string | undefined {
  return value === undefined ? undefined : canonicalJson(value);
}
