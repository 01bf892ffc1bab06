/**
 * What one JSON value changes of another, as a JSON Patch (RFC 6902) of `add`, `remove` and `replace`, and back. Lists are compared place
 * by place, in linear time: what libraries offer looks for the fewest operations, and takes seconds for a list of a thousand nodes.
 */
import { type Json, type JsonObject, setOwn } from "./json.ts";

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: Json }
  | { readonly op: "remove"; readonly path: string };

/** In order: an element is removed after those behind it. Equal values give none. */
export function patchOf(before: Json, after: Json): PatchOperation[] {
  const found: PatchOperation[] = [];
  compare("", before, after, found);
  return found;
}

function compare(path: string, before: Json, after: Json, found: PatchOperation[]): void {
  if (before === after) return;
  if (isList(before) && isList(after)) compareLists(path, before, after, found);
  else if (isObject(before) && isObject(after)) compareObjects(path, before, after, found);
  else found.push({ op: "replace", path, value: after });
}

function compareLists(path: string, before: readonly Json[], after: readonly Json[], found: PatchOperation[]): void {
  for (const [place, value] of after.entries()) {
    const old = before[place];
    if (old === undefined) found.push({ op: "add", path: `${path}/${place}`, value });
    else compare(`${path}/${place}`, old, value, found);
  }
  for (let place = before.length - 1; place >= after.length; place -= 1)
    found.push({ op: "remove", path: `${path}/${place}` });
}

function compareObjects(path: string, before: JsonObject, after: JsonObject, found: PatchOperation[]): void {
  for (const name of Object.keys(before))
    if (!Object.hasOwn(after, name)) found.push({ op: "remove", path: `${path}/${escaped(name)}` });
  for (const [name, value] of Object.entries(after)) {
    const at = `${path}/${escaped(name)}`;
    if (Object.hasOwn(before, name)) compare(at, before[name] as Json, value, found);
    else found.push({ op: "add", path: at, value });
  }
}

/** `value` with a patch that `patchOf` made for it; `value` itself stays as it is. Throws RangeError for a place that is not there. */
export function patched(value: Json, patch: readonly PatchOperation[]): Json {
  return patch.reduce((result, operation) => changed(result, operation.path.split("/").slice(1), operation), value);
}

/** Copies the containers on the way and nothing else. */
function changed(at: Json, [step, ...rest]: readonly string[], operation: PatchOperation): Json {
  if (step === undefined) {
    if (operation.op === "remove") throw new RangeError("a patch removes the whole value");
    return operation.value;
  }
  if (isList(at)) return changedList(at, Number(step), rest, operation);
  if (isObject(at)) return changedObject(at, unescaped(step), rest, operation);
  throw nowhere(operation);
}

function changedList(at: readonly Json[], place: number, rest: readonly string[], operation: PatchOperation): Json {
  const inside = at[place];
  if (rest.length > 0 || operation.op === "replace") {
    if (inside === undefined) throw nowhere(operation);
    return at.with(place, changed(inside, rest, operation));
  }
  // Only at the end: places before it are compared, never moved.
  if (place !== (operation.op === "add" ? at.length : at.length - 1)) throw nowhere(operation);
  return operation.op === "add" ? [...at, operation.value] : at.slice(0, -1);
}

function changedObject(at: JsonObject, name: string, rest: readonly string[], operation: PatchOperation): Json {
  const isThere = Object.hasOwn(at, name);
  const isAdded = rest.length === 0 && operation.op === "add";
  if (isThere === isAdded) throw nowhere(operation);
  const copy: Record<string, Json> = {};
  for (const [key, value] of Object.entries(at)) if (key !== name) setOwn(copy, key, value);
  if (rest.length === 0 && operation.op === "remove") return copy;
  setOwn(copy, name, isAdded ? operation.value : changed(at[name] as Json, rest, operation));
  return copy;
}

function nowhere({ op, path }: PatchOperation): RangeError {
  return new RangeError(`a patch has to ${op} ${path}, where that cannot be done`);
}

function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function unescaped(step: string): string {
  return step.replaceAll("~1", "/").replaceAll("~0", "~");
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
