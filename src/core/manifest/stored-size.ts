/**
 * How much an API server stores of a manifest, beside its own bytes: `kubectl apply --server-side` (and create) has it note who set
 * each field, so a manifest of many small fields more than doubles. Bytes, measured within 5 %; pure.
 */
import { isFields } from "../../api/fields.ts";

/** etcd takes 1.5 MiB a request; the rest is for the status, with 1,000 nodes of the longest names. */
export const storedBytesMax = 1_572_864 - 250_000;

/** What managedFields of one applier hold of `value`. */
export function ownershipBytes(value: unknown): number {
  if (Array.isArray(value)) return value.every(isNamed) ? listBytes(value) : atomicBytes;
  if (!isFields(value)) return atomicBytes;
  const fields = Object.entries(value).map(([name, each]) => textBytes(name) + fieldBytes + ownershipBytes(each));
  return fields.reduce((sum, bytes) => sum + bytes, braces);
}

const braces = 2;
/** `{}` */
const atomicBytes = 2;
/** `"f:":` and a comma. */
const fieldBytes = 6;
/** `"k:{\"name\":\"\"}":`, `".":{},` and a comma. */
const elementBytes = 28;

/** Lists whose elements have names are maps of their names to the server. */
function listBytes(list: readonly { readonly name: string }[]): number {
  const elements = list.map((each) => textBytes(each.name) + elementBytes + ownershipBytes(each));
  return elements.reduce((sum, bytes) => sum + bytes, braces);
}

function isNamed(value: unknown): value is { readonly name: string } {
  return isFields(value) && typeof value.name === "string";
}

function textBytes(text: string): number {
  return Buffer.byteLength(text, "utf8");
}
