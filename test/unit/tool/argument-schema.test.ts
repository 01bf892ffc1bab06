import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { compileArguments } from "../../../src/adapters/tool/argument-schema.ts";
import { InvalidTool } from "../../../src/adapters/tool/invalid-tool.ts";
import { CallFailure } from "../../../src/ports/step.ts";

const compile = (schema: object | undefined) => compileArguments("t", "http.inputSchema", schema);

describe("argument schemas", () => {
  it("lets any object through without a schema, and nothing else", async () => {
    const check = await compile(undefined);
    expect(check({ a: 1 })).toEqual({ a: 1 });
    for (const args of [null, [], "x", 1, true]) expect(() => check(args)).toThrow(/arguments must be an object/);
  });

  it.each([
    [{ topic: 1 }, "arguments/topic must be string"],
    [{}, "arguments must have required property 'topic'"],
    [{ topic: "x", extra: 1 }, 'arguments must NOT have additional properties ("extra")'],
    [{ topic: "x", level: "top" }, 'arguments/level must be equal to one of the allowed values (["low","high"])'],
  ])("says where %j does not fit", async (args, problem) => {
    const check = await compile({
      type: "object",
      required: ["topic"],
      properties: { topic: { type: "string" }, level: { enum: ["low", "high"] } },
      additionalProperties: false,
    });
    expect(check({ topic: "x", level: "low" })).toEqual({ topic: "x", level: "low" });
    expect(() => check(args)).toThrow(`Invalid arguments of tool t: ${problem}`);
  });

  it("fails as an invalid request of which nothing was sent", async () => {
    const check = await compile({ required: ["a"] });
    let failure: unknown;
    try {
      check({});
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(CallFailure);
    expect(failure).toMatchObject({ failureClass: "InvalidRequest", sent: false });
  });

  it("neither fills in defaults nor converts types", async () => {
    const check = await compile({ properties: { a: { type: "number", default: 1 }, b: { type: "number" } } });
    expect(check({})).toEqual({});
    expect(() => check({ b: "1" })).toThrow(/must be number/);
  });

  it("knows the two dialects, and ignores unknown keywords and formats", async () => {
    const zod = "https://json-schema.org/draft/2020-12/schema";
    const tuple = await compile({ $schema: zod, properties: { a: { prefixItems: [{ type: "string" }] } } });
    expect(() => tuple({ a: [1] })).toThrow(/arguments\/a\/0 must be string/);
    const old = await compile({
      $schema: "http://json-schema.org/draft-07/schema#",
      properties: { a: { items: [{ type: "string" }] } },
    });
    expect(() => old({ a: [1] })).toThrow(/arguments\/a\/0 must be string/);
    const loose = await compile({
      "x-note": 1,
      properties: { at: { type: "string", format: "date-time" }, u: { format: "made-up" } },
    });
    expect(loose({ at: "yesterday", u: 1 })).toEqual({ at: "yesterday", u: 1 });
  });

  it("keeps two patterns apart, and two tools with the same $id", async () => {
    const schema = { $id: "same", properties: { a: { pattern: "^a+$" }, b: { pattern: "^b+$" } } };
    for (const check of [await compile(schema), await compile(schema)]) {
      expect(check({ a: "aa", b: "bb" })).toEqual({ a: "aa", b: "bb" });
      expect(() => check({ a: "bb" })).toThrow(/arguments\/a must match pattern/);
      expect(() => check({ b: "aa" })).toThrow(/arguments\/b must match pattern/);
    }
  });

  it.each([
    [{ type: "objekt" }, /http\.inputSchema: is no usable JSON Schema: .*type/],
    [{ properties: { a: { pattern: "(?=x)" } } }, /pattern "\(\?=x\)" is not supported \(RE2 syntax\)/],
    [{ patternProperties: { "(a)\\1": {} } }, /RE2 syntax/],
    [{ $ref: "https://example.com/schema.json" }, /can't resolve reference https:\/\/example.com\/schema.json/],
    [
      { $schema: "http://json-schema.org/draft-04/schema#" },
      /draft-04\/schema is not supported; use 2020-12 or draft-07/,
    ],
    [{ $async: true }, /\$async/],
  ])("refuses %j when the tool is made, naming the field", async (schema, problem) => {
    const made = compile(schema);
    await expect(made).rejects.toThrow(InvalidTool);
    await expect(made).rejects.toThrow(problem);
  });

  it("ends a schema that refers to itself for ever", async () => {
    const check = await compile({ $ref: "#" });
    expect(() => check({})).toThrow(/could not be checked/);
  });

  it("is not held by a hostile pattern", () => {
    // In a process of its own: the built-in engine would not come back from this within its limit.
    const code = `import { compileArguments } from "./src/adapters/tool/argument-schema.ts";
      const check = await compileArguments("t", "f", { properties: { a: { pattern: "^(a+)+$" } }, patternProperties: { "^(b|b)*$": false } });
      try { check({ a: "a".repeat(40) + "!" }); } catch (error) { process.stdout.write(error.message); }
      check({ ["b".repeat(40) + "!"]: 1 });`;
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", code], {
      encoding: "utf8",
      timeout: 15_000,
    });
    expect(said).toContain("arguments/a must match pattern");
  });
});
