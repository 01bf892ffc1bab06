import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, digestJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import { type Json, toPlainJson } from "../../../src/core/digest/json.ts";

/** JSON values whose text UTF-8 can carry. */
const json = fc.jsonValue({ stringUnit: "binary", maxDepth: 4 }).map((value) => toPlainJson(value));

/** The same value with the members of every object in reverse order. */
function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

/** A double from its IEEE 754 bits. */
function double(bits: string): number {
  return new DataView(BigUint64Array.of(BigInt(`0x${bits}`)).buffer).getFloat64(0, true);
}

describe("canonicalJson against RFC 8785", () => {
  test("writes the values of section 3.2.2 and 3.2.3", () => {
    const value: unknown = JSON.parse(
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
    );
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test("sorts members by UTF-16 code unit, not by code point", () => {
    const value = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "\u0080": 6, "\u00f6": 7 };
    expect(canonicalJson(value)).toBe('{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}');
  });

  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("writes the double %s of appendix B as %s", (bits, text) => {
    expect(canonicalJson(double(bits))).toBe(text);
  });

  test("escapes exactly the control characters, quote and backslash", () => {
    const text = Array.from({ length: 0x22 }, (_, code) => String.fromCharCode(code)).join("");
    expect(canonicalJson(`${text}\\/\u007f\u2028`)).toBe(
      '"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f !\\\\/\u007f\u2028"',
    );
  });
});

describe("canonicalJson", () => {
  test("refuses what JSON cannot carry and names the place", () => {
    expect(() => canonicalJson(undefined)).toThrow("$ is undefined");
    expect(() => canonicalJson({ a: [1, Number.NaN] })).toThrow("$.a[1] is NaN");
    expect(() => canonicalJson([Number.POSITIVE_INFINITY])).toThrow("$[0] is Infinity");
    expect(() => canonicalJson({ a: { "b-c": "\ud800" } })).toThrow('$.a["b-c"] holds a lone surrogate');
    expect(() => canonicalJson({ "\udc00": 1 })).toThrow("lone surrogate");
    expect(() => canonicalJson({ a: () => 1 })).toThrow("$.a is a function");
    expect(() => canonicalJson([undefined])).toThrow("$[0] is undefined");
  });

  test("does not follow toJSON", () => {
    expect(() => canonicalJson({ at: new Date(0) })).toThrow("$.at is a Date");
    expect(() => canonicalJson({ toJSON: () => 1 })).toThrow("$.toJSON is a function");
  });

  test("gives the same text whatever the order of members", () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(reversed(value))).toBe(canonicalJson(value));
      }),
    );
  });

  test("reads back as the same value", () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(value);
      }),
    );
  });
});

describe("digestJson", () => {
  test("matches the published digests of SHA-256", () => {
    expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(sha256Hex(new Uint8Array())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(digestJson("abc")).toBe(`sha256:${sha256Hex('"abc"')}`);
  });

  test("tells composed from decomposed text", () => {
    expect("é".normalize("NFD")).not.toBe("é".normalize("NFC"));
    expect(digestJson("é".normalize("NFC"))).not.toBe(digestJson("é".normalize("NFD")));
  });

  test("hashes a string as its UTF-8 bytes", () => {
    expect(sha256Hex("€😀")).toBe(sha256Hex(new TextEncoder().encode("€😀")));
  });
});
