/**
 * How far a stream of events has come, as its ids say it: entries told of each node item, and whether the end was. Whoever shows the id
 * again goes on from there, at any replica. Nodes are named by their place among the run's, sorted by name: that list never changes once there is one.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";

/** By itemName. */
export type Positions = Map<string, number>;

const endPart = "end";
const plainMax = 256;
const unpackedMax = 65_536;

/** `0:12,3.0:4,end`, packed where it is long; `-` before the first entry. `isEnd`: the status that a run ended with was told. */
export function cursorText(
  nodes: readonly string[],
  keys: readonly NodeKey[],
  told: ReadonlyMap<string, number>,
  isEnd = false,
): string {
  const places = placesOf(nodes);
  const parts = keys.flatMap((key) => {
    const count = told.get(itemName(key)) ?? 0;
    if (count === 0) return [];
    return [`${places.get(key.node) ?? 0}${key.item === undefined ? "" : `.${key.item}`}:${count}`];
  });
  if (isEnd) parts.push(endPart);
  const text = parts.length === 0 ? "-" : parts.join(",");
  return text.length <= plainMax ? text : `z${deflateRawSync(text).toString("base64url")}`;
}

/** What cannot be read is no cursor: the stream begins at the start. */
export function readCursor(nodes: readonly string[], cursor: string | undefined): Positions {
  const told: Positions = new Map();
  const sorted = [...nodes].sort();
  for (const part of unpacked(cursor ?? "").split(",")) {
    const [, place = "", item, count = ""] = /^(\d{1,4})(?:\.(\d{1,7}))?:(\d{1,9})$/.exec(part) ?? [];
    const node = sorted[Number(place)];
    if (place === "" || node === undefined) continue;
    told.set(itemName(item === undefined ? { node } : { node, item: Number(item) }), Number(count));
  }
  return told;
}

export function saysEnd(cursor: string | undefined): boolean {
  return unpacked(cursor ?? "")
    .split(",")
    .includes(endPart);
}

function placesOf(nodes: readonly string[]): ReadonlyMap<string, number> {
  return new Map([...nodes].sort().map((name, place) => [name, place]));
}

function unpacked(cursor: string): string {
  if (!cursor.startsWith("z")) return cursor;
  try {
    return inflateRawSync(Buffer.from(cursor.slice(1), "base64url"), { maxOutputLength: unpackedMax }).toString();
  } catch {
    return "";
  }
}
