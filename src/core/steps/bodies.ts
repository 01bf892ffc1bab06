/**
 * Bodies: JSON stored by digest, long strings apart from the object that holds them.
 *
 * A tool's answer is part of the next model request, and an answer of the model part of the request after that. Stored
 * apart, each long text is kept once per run however many requests repeat it, so a journal grows with what is new.
 */
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import { type Json, type JsonObject, setOwn } from "../digest/json.ts";
import type { StoredBody } from "../protocol/types.ts";

/** Strings of at least this many UTF-16 units are stored apart; below, the reference would cost more than it saves. */
const textUnitsMin = 200;
const textMark = "$oao:text";
const objectMark = "$oao:object";

export interface PackedBody {
  /** Hex digest of the root body. */
  readonly digest: string;
  /** The root and its texts, each stored once per run. */
  readonly bodies: readonly StoredBody[];
}

/** JSON to bodies. The root is canonical JSON; a text body is the bare text. */
export function packBody(value: Json): PackedBody {
  const bodies: StoredBody[] = [];
  const root = stored(canonicalJson(hollow(value, bodies)));
  bodies.push(root);
  return { digest: root.digest, bodies };
}

/** Digests of the texts that a root body refers to. */
export function textsOf(rootBytes: string): string[] {
  const found: string[] = [];
  if (rootBytes.includes(textMark)) collect(JSON.parse(rootBytes) as Json, found);
  return found;
}

/** Bodies back to JSON. `text` gives a text body by digest; throws when it does not know it. */
export function unpackBody(rootBytes: string, text: (digest: string) => string): Json {
  const root = JSON.parse(rootBytes) as Json;
  return rootBytes.includes("$oao:") ? fill(root, text) : root;
}

function stored(bytes: string): StoredBody {
  return { digest: sha256Hex(bytes), bytes };
}

function hollow(value: Json, bodies: StoredBody[]): Json {
  if (typeof value === "string") {
    if (value.length < textUnitsMin) return value;
    const body = stored(value);
    bodies.push(body);
    return { [textMark]: body.digest };
  }
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((member: Json) => hollow(member, bodies));
  const members = Object.entries(value as JsonObject).map(([key, member]) => [key, hollow(member, bodies)] as const);
  // User data may hold our marks: such an object is written as a list of pairs, so that it can never be taken for a reference.
  if (members.some(([key]) => key.startsWith("$oao:")))
    return { [objectMark]: members.map(([key, member]) => [key, member]) };
  return fromMembers(members);
}

function fill(value: Json, text: (digest: string) => string): Json {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((member: Json) => fill(member, text));
  const object = value as JsonObject;
  const reference = object[textMark];
  if (typeof reference === "string") return text(reference);
  const pairs = object[objectMark];
  if (Array.isArray(pairs))
    return fromMembers(
      pairs.map(
        (pair: Json) =>
          [(pair as readonly [string, Json])[0], fill((pair as readonly [string, Json])[1], text)] as const,
      ),
    );
  return fromMembers(Object.entries(object).map(([key, member]) => [key, fill(member, text)] as const));
}

function collect(value: Json, found: string[]): void {
  if (value === null || typeof value !== "object") return;
  if (Array.isArray(value)) {
    for (const member of value as readonly Json[]) collect(member, found);
    return;
  }
  const object = value as JsonObject;
  const reference = object[textMark];
  if (typeof reference === "string") found.push(reference);
  else for (const member of Object.values(object)) collect(member, found);
}

function fromMembers(members: readonly (readonly [string, Json])[]): JsonObject {
  const object: Record<string, Json> = {};
  for (const [key, member] of members) setOwn(object, key, member);
  return object;
}
