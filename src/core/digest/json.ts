/**
 * The JSON values that prompts, tool arguments and outputs are made of, and the check that turns
 * foreign data (worker output, parsed YAML, a tool's answer) into them.
 */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** A value that JSON cannot carry. `path` names the place, as in `$.facts[3].score`. */
export class NotJsonError extends TypeError {
  readonly path: string;
  constructor(path: string, reason: string) {
    super(`${path} ${reason}`);
    this.name = "NotJsonError";
    this.path = path;
  }
}

/** Deeper nesting is refused: every recursive reader behind this check relies on the bound. */
export const jsonDepthMax = 200;

/**
 * Copies an unknown value into plain JSON: own enumerable members only, members whose value is
 * undefined dropped, `-0` written as `0`, no shared references.
 * Throws NotJsonError, naming the path, for functions, symbols, bigints, NaN, Infinity, undefined
 * (as the root or inside a list), text with a lone surrogate, class instances (Date, Map, …),
 * circular references and nesting deeper than {@link jsonDepthMax}.
 */
export function toPlainJson(value: unknown): Json {
  return copyValue(value, new Trail());
}

/** Where the walk stands: the text of the path is only put together for an error. */
class Trail {
  readonly #steps: (string | number)[] = [];
  readonly #open = new Set<object>();

  enter(container: object): void {
    if (this.#open.has(container)) throw this.error("refers back to a value that contains it");
    if (this.#open.size >= jsonDepthMax) throw this.error(`is nested deeper than ${jsonDepthMax} levels`);
    this.#open.add(container);
  }
  leave(container: object): void {
    this.#open.delete(container);
  }
  push(step: string | number): void {
    this.#steps.push(step);
  }
  pop(): void {
    this.#steps.pop();
  }
  error(reason: string): NotJsonError {
    return new NotJsonError(`$${this.#steps.map(pathStep).join("")}`, reason);
  }
}

/** One step of a path: `.name`, `["a name"]` or `[3]`. */
export function pathStep(step: string | number): string {
  if (typeof step === "number") return `[${step}]`;
  return /^[A-Za-z_$][\w$]*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
}

function copyValue(value: unknown, trail: Trail): Json {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "object") return copyContainer(value, trail);
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw trail.error("holds a lone surrogate, which UTF-8 cannot carry");
    return value;
  }
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw trail.error(`is ${value}, which JSON cannot carry`);
    return value === 0 ? 0 : value;
  }
  throw trail.error(`is ${value === undefined ? "undefined" : `a ${typeof value}`}, which JSON cannot carry`);
}

function copyContainer(value: object, trail: Trail): Json {
  trail.enter(value);
  const copy = Array.isArray(value) ? copyList(value, trail) : copyObject(value, trail);
  trail.leave(value);
  return copy;
}

function copyList(list: readonly unknown[], trail: Trail): Json[] {
  const copy: Json[] = [];
  for (let index = 0; index < list.length; index++) {
    trail.push(index);
    copy.push(copyValue(list[index], trail));
    trail.pop();
  }
  return copy;
}

function copyObject(source: object, trail: Trail): JsonObject {
  const prototype = Object.getPrototypeOf(source) as object | null;
  // A prototype that has none itself is Object.prototype, also of another realm (a vm, a worker).
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw trail.error(`is a ${className(prototype)}, not a plain object`);
  }
  const copy: Record<string, Json> = {};
  for (const [key, member] of Object.entries(source)) {
    if (member === undefined) continue;
    trail.push(key);
    if (!key.isWellFormed()) throw trail.error("has a name with a lone surrogate");
    setOwn(copy, key, copyValue(member, trail));
    trail.pop();
  }
  return copy;
}

function className(prototype: object): string {
  const constructor: unknown = prototype.constructor;
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "class instance";
}

/** Plain assignment would change the prototype for the key `__proto__`, which workers can send. */
export function setOwn(target: Record<string, Json>, key: string, value: Json): void {
  if (key !== "__proto__") target[key] = value;
  else Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
}
