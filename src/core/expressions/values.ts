import { type Json, jsonDepthMax, setOwn, toPlainJson } from "../digest/json.ts";
import { Stop } from "./errors.ts";
import type { Meter } from "./meter.ts";

/**
 * A JSON value as CEL sees it, and back. Objects become Maps, so that a member called
 * `constructor` or `__proto__` (worker output is untrusted) is a key like any other and nothing
 * inherited is ever found. Whole numbers become CEL int (bigint), others double.
 */
export function toCel(value: Json, meter: Meter): unknown {
  return convertIn(value, meter, 0);
}

function convertIn(value: Json, meter: Meter, depth: number): unknown {
  if (depth > jsonDepthMax) {
    throw new Stop("ExpressionTooExpensive", `An input is nested deeper than ${jsonDepthMax} levels`);
  }
  if (value === null || typeof value === "boolean") {
    meter.input(5);
    return value;
  }
  if (typeof value === "string") {
    meter.input(Buffer.byteLength(value, "utf8") + 2);
    return value;
  }
  if (typeof value === "number") {
    meter.input(String(value).length);
    return Number.isSafeInteger(value) ? BigInt(value) : value;
  }
  meter.input(2);
  if (isList(value)) {
    const list: unknown[] = [];
    for (const member of value) list.push(convertIn(member, meter, depth + 1));
    return list;
  }
  const map = new Map<string, unknown>();
  for (const [key, member] of Object.entries(value)) {
    meter.input(Buffer.byteLength(key, "utf8") + 3);
    map.set(key, convertIn(member, meter, depth + 1));
  }
  return map;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** `bytes.json()`: the parsed text as {@link toCel} gives it; charged as an input. */
export function convertParsed(bytes: Uint8Array, meter: Meter): unknown {
  let parsed: Json;
  try {
    parsed = toPlainJson(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    throw new Stop("ExpressionFailed", `json(): ${error instanceof Error ? error.message : String(error)}`);
  }
  return toCel(parsed, meter);
}

/**
 * A CEL result as JSON: int and uint as numbers, bytes as base64, a timestamp as RFC 3339 in UTC,
 * a duration as seconds (`"90s"`, `"1.5s"`), map keys as text.
 * Throws Stop for integers beyond 2^53, NaN and Infinity, types, and text cut inside a character.
 */
export function fromCel(value: unknown, meter: Meter): Json {
  return convertOut(value, meter, 0);
}

function convertOut(value: unknown, meter: Meter, depth: number): Json {
  if (depth > jsonDepthMax) {
    throw new Stop("ExpressionTooExpensive", `The result is nested deeper than ${jsonDepthMax} levels`);
  }
  if (value === null || typeof value === "boolean") {
    meter.result(5);
    return value;
  }
  if (typeof value === "string") return textOut(value, meter);
  if (typeof value === "number" || typeof value === "bigint") return numberOut(value, meter);
  meter.result(2);
  if (Array.isArray(value)) return value.map((member: unknown) => convertOut(member, meter, depth + 1));
  if (value instanceof Map) return mapOut(value, meter, depth);
  if (value instanceof Uint8Array) return textOut(Buffer.from(value).toString("base64"), meter);
  if (isTimestamp(value)) return textOut(value.toISOString(), meter);
  return taggedOut(value, meter);
}

/** The part of a CEL timestamp (a Date made from text or seconds, never from the clock) that is read here. */
export interface CelTimestamp {
  getUTCFullYear(): number;
  getUTCMonth(): number;
  getUTCDate(): number;
  toISOString(): string;
}

export function isTimestamp(value: unknown): value is CelTimestamp {
  return Object.prototype.toString.call(value) === "[object Date]";
}

/** The library's own classes are not exported; they carry the name of their CEL type. */
function taggedOut(value: unknown, meter: Meter): Json {
  const tag = Object.prototype.toString.call(value);
  if (tag === "[object google.protobuf.Duration]") return textOut(durationText(value as CelDuration), meter);
  if (tag.startsWith("[object value = ")) return numberOut(BigInt(String(value)), meter);
  throw new Stop("ExpressionFailed", "The result is a type, not a value; JSON cannot carry it");
}

interface CelDuration {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Not the library's own text: it writes -0.5 s as `00.5s`. */
function durationText({ seconds, nanos }: CelDuration): string {
  const total = seconds * 1_000_000_000n + BigInt(nanos);
  const size = total < 0n ? -total : total;
  const fraction = String(size % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${total < 0n ? "-" : ""}${size / 1_000_000_000n}${fraction === "" ? "" : `.${fraction}`}s`;
}

function textOut(text: string, meter: Meter): string {
  if (!text.isWellFormed()) {
    throw new Stop("ExpressionFailed", "The result is text that was cut inside a character");
  }
  meter.result(Buffer.byteLength(text, "utf8") + 2);
  return text;
}

function numberOut(value: number | bigint, meter: Meter): number {
  const number = Number(value);
  if (typeof value === "bigint" && !Number.isSafeInteger(number)) {
    throw new Stop(
      "ExpressionFailed",
      `The result ${value} is beyond 2^53, where JSON numbers lose digits; use string()`,
    );
  }
  if (!Number.isFinite(number)) throw new Stop("ExpressionFailed", `The result is ${number}, which JSON cannot carry`);
  meter.result(String(number).length);
  return number === 0 ? 0 : number;
}

function mapOut(map: ReadonlyMap<unknown, unknown>, meter: Meter, depth: number): Json {
  const object: Record<string, Json> = {};
  for (const [key, member] of map) {
    const name = textOut(String(key), meter);
    if (Object.hasOwn(object, name)) throw new Stop("ExpressionFailed", `Two keys of the result are written "${name}"`);
    setOwn(object, name, convertOut(member, meter, depth + 1));
  }
  return object;
}
