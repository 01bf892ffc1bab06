/** The few shapes of DER (X.690) that a certificate is made of. Node.js reads certificates and makes none. */

const classConstructed = 0x20;
const contextSpecific = 0x80;

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = bytesOf(length);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

/** Big-endian, without leading zeros. */
function bytesOf(value: number): number[] {
  const rest = Math.floor(value / 256);
  return [...(rest === 0 ? [] : bytesOf(rest)), value % 256];
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => tagged(0x10 | classConstructed, ...parts);
export const set = (...parts: readonly Uint8Array[]): Buffer => tagged(0x11 | classConstructed, ...parts);
export const utf8 = (text: string): Buffer => tagged(0x0c, Buffer.from(text, "utf8"));
export const octets = (bytes: Uint8Array): Buffer => tagged(0x04, bytes);
export const yes: Buffer = tagged(0x01, Buffer.from([0xff]));
/** `[number] EXPLICIT`. */
export const explicit = (number: number, part: Uint8Array): Buffer =>
  tagged(contextSpecific | classConstructed | number, part);
/** `[number] IMPLICIT` of a simple type. */
export const implicit = (number: number, bytes: Uint8Array): Buffer => tagged(contextSpecific | number, bytes);

/** Of bytes that are a number without a sign. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.from([0]) : Buffer.from(bytes.subarray(first));
  const isNegative = ((digits[0] ?? 0) & 0x80) !== 0;
  return tagged(0x02, isNegative ? Buffer.from([0]) : Buffer.alloc(0), digits);
}

/** `unused`: how many of the last byte's bits say nothing. */
export function bits(bytes: Uint8Array, unused = 0): Buffer {
  return tagged(0x03, Buffer.from([unused]), bytes);
}

/** Of a dotted name such as 2.5.4.3. */
export function oid(name: string): Buffer {
  const [first = 0, second = 0, ...others] = name.split(".").map(Number);
  return tagged(0x06, Buffer.from([first * 40 + second, ...others.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) digits.unshift(0x80 | (rest % 128));
  return digits;
}

/** Whole seconds; the year 2050 is where the short form ends (RFC 5280, 4.1.2.5). */
export function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
  return text < "2050" ? tagged(0x17, Buffer.from(text.slice(2))) : tagged(0x18, Buffer.from(text));
}
