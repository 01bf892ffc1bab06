/**
 * What one JSON value changes of another, as a JSON Patch (RFC 6902) of `add`, `remove` and `replace`, and back. Lists are compared place
 * by place, in linear time: what libraries offer looks for the fewest operations, in time that grows with the square of a list's length.
 */
import { type Json, type JsonObject, setOwn, toPlainJson } from "./json.ts";

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: Json }
  | { readonly op: "remove"; readonly path: string };

/** In order: an element is removed after those behind it. Equal values give none, others never more than their own size. */
export function patchOf(before: Json, after: Json): PatchOperation[] {
  return compare("", before, after);
}

function compare(path: string, before: Json, after: Json): PatchOperation[] {
  if (before === after) return [];
  const whole: PatchOperation = { op: "replace", path, value: after };
  const parts =
    isList(before) && isList(after) ? compareLists(path, before, after) : compareObjects(path, before, after);
  if (parts === undefined) return [whole];
  // One part is never longer than the whole that it is in.
  return parts.length > 1 && sizeOf(parts) >= sizeOf(whole) ? [whole] : parts;
}

function compareLists(path: string, before: readonly Json[], after: readonly Json[]): PatchOperation[] {
  const found: PatchOperation[] = [];
  for (const [place, value] of after.entries()) {
    const old = before[place];
    if (old === undefined) found.push({ op: "add", path: `${path}/${place}`, value });
    else for (const part of compare(`${path}/${place}`, old, value)) found.push(part);
  }
  for (let place = before.length - 1; place >= after.length; place -= 1)
    found.push({ op: "remove", path: `${path}/${place}` });
  return found;
}

/** Undefined = they are not both objects. */
function compareObjects(path: string, before: Json, after: Json): PatchOperation[] | undefined {
  if (!isObject(before) || !isObject(after)) return undefined;
  const found: PatchOperation[] = [];
  for (const name of Object.keys(before))
    if (!Object.hasOwn(after, name)) found.push({ op: "remove", path: `${path}/${escaped(name)}` });
  for (const [name, value] of Object.entries(after)) {
    const at = `${path}/${escaped(name)}`;
    if (!Object.hasOwn(before, name)) found.push({ op: "add", path: at, value });
    else for (const part of compare(at, before[name] as Json, value)) found.push(part);
  }
  return found;
}

function sizeOf(value: object): number {
  return JSON.stringify(value).length;
}

/**
 * `value`, as plain JSON, with a patch that `patchOf` made for it; it stays as it is itself. Throws RangeError for a place that is not
 * there. Takes time in proportion to both.
 */
export function patched(value: unknown, patch: readonly PatchOperation[]): Json {
  const root = { "": toPlainJson(value) } as Record<string, Json>;
  for (const operation of patch) {
    // The root is a member too, named by the empty text before the first slash.
    const steps = operation.path.split("/").map(unescaped);
    const last = steps.pop() ?? "";
    let at: Json = root;
    for (const step of steps) at = memberOf(at, step, operation);
    if (isList(at)) changeList(at as Json[], Number(last), operation);
    else if (isObject(at)) changeObject(at, last, operation);
    else throw nowhere(operation);
  }
  if (!Object.hasOwn(root, "")) throw new RangeError("a patch removes the whole value");
  return root[""] as Json;
}

function memberOf(at: Json, step: string, operation: PatchOperation): Json {
  const inside = isList(at) ? at[Number(step)] : isObject(at) && Object.hasOwn(at, step) ? at[step] : undefined;
  if (inside === undefined) throw nowhere(operation);
  return inside;
}

/** Only at its end a list grows and shrinks: places before it are compared, never moved. */
function changeList(list: Json[], place: number, operation: PatchOperation): void {
  const isLast = place === list.length - (operation.op === "add" ? 0 : 1);
  if (operation.op === "replace" ? list[place] === undefined : !isLast) throw nowhere(operation);
  if (operation.op === "remove") list.pop();
  else list[place] = operation.value;
}

function changeObject(object: Record<string, Json>, name: string, operation: PatchOperation): void {
  if (Object.hasOwn(object, name) === (operation.op === "add")) throw nowhere(operation);
  if (operation.op === "remove") delete object[name];
  else setOwn(object, name, operation.value);
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
