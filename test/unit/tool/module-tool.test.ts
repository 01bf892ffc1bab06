import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ModuleToolSpec } from "../../../src/api/tool.ts";
import { InvalidTool } from "../../../src/adapters/tool/invalid-tool.ts";
import { createModuleTool } from "../../../src/adapters/tool/module-tool.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import type { Tool, ToolCallContext } from "../../../src/ports/tool.ts";
import { callContext, failureOf, scratchFolder } from "./calls.ts";

function load(
  files: Readonly<Record<string, string>>,
  changes: Partial<ModuleToolSpec> = {},
  name = "score",
): Promise<Tool> {
  const baseDir = scratchFolder({ "package.json": '{"type":"module"}', ...files });
  return createModuleTool({ name, module: { path: "tool.js", ...changes } }, { baseDir });
}

const loadBody = (body: string) => load({ "tool.js": `export async function score(args, ctx) { ${body} }` });

async function run(body: string, args: Json = {}, context: Partial<ToolCallContext> = {}): Promise<Json> {
  return (await loadBody(body)).invoke(args, callContext(context));
}

describe("finding the function", () => {
  const two =
    "export const score = () => 'score'; export function rank() { return 'rank'; } export const weights = [1];";
  it.each<[string, string, Partial<ModuleToolSpec>, Json]>([
    ["the named export", two, { export: "rank" }, "rank"],
    ["the export named like the tool", two, {}, "score"],
    ["the only function", "export const weights = [1]; export const other = () => 'other';", {}, "other"],
    ["the default export, if it is the only function", "export default () => 'default';", {}, "default"],
  ])("takes %s", async (_what, code, changes, expected) => {
    expect(await (await load({ "tool.js": code }, changes)).invoke({}, callContext())).toBe(expected);
  });

  it("takes an export whose name is no identifier", async () => {
    const tool = await load(
      { "tool.js": "const f = () => 1; export { f as 'my-tool' }; export const g = () => 2;" },
      {},
      "my-tool",
    );
    expect(await tool.invoke({}, callContext())).toBe(1);
  });

  it("loads JavaScript and TypeScript with nothing but Node", () => {
    // In a process of its own: the test runner would transform the files itself.
    const baseDir = scratchFolder({
      "typed.ts": "export function score(args: { a: number }): number { return args.a + 1; }",
      "plain.mjs": "export const score = (args) => args.a + 2, weights = [];",
    });
    const code = `import { createModuleTool } from "./src/adapters/tool/module-tool.ts";
      const make = (path, more) => createModuleTool({ name: "score", module: { path, ...more } }, { baseDir: ${JSON.stringify(baseDir)} });
      const context = { signal: new AbortController().signal, timeoutMs: 10_000, idempotencyKey: "k", bodyBytesMax: 10, values: {} };
      const said = [];
      for (const path of ["typed.ts", "plain.mjs"]) said.push(await (await make(path)).invoke({ a: 1 }, context));
      await make("plain.mjs", { export: "rank" }).catch((error) => said.push(error.message));
      process.stdout.write(JSON.stringify(said));`;
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
    expect(JSON.parse(said)).toEqual([
      2,
      3,
      "Tool score: module.export: plain.mjs exports score (function), weights (object), and no function rank; name one that it exports",
    ]);
  });

  it.each<[string, string, Partial<ModuleToolSpec>, string]>([
    [
      "two functions and none named like it",
      "export const a = () => 1, b = () => 2;",
      {},
      "Tool score: module.path: tool.js exports a (function), b (function); export a function score, or name one with module.export",
    ],
    [
      "no exports",
      "const a = 1;",
      {},
      "Tool score: module.path: tool.js exports nothing; export a function score, or name one with module.export",
    ],
    [
      "a missing export",
      two,
      { export: "sort" },
      "Tool score: module.export: tool.js exports rank (function), score (function), weights (object), and no function sort; name one that it exports",
    ],
    [
      "an export that is no function",
      two,
      { export: "weights" },
      "Tool score: module.export: tool.js exports rank (function), score (function), weights (object), and no function weights; name one that it exports",
    ],
    [
      "a name that every object inherits",
      two,
      { export: "toString" },
      "Tool score: module.export: tool.js exports rank (function), score (function), weights (object), and no function toString; name one that it exports",
    ],
  ])("refuses %s and says what is there", async (_what, code, changes, message) => {
    await expect(load({ "tool.js": code }, changes)).rejects.toThrow(InvalidTool);
    await expect(load({ "tool.js": code }, changes)).rejects.toThrow(message);
  });

  it.each<[string, string, RegExp]>([
    [
      "throws at its top level",
      "throw new Error('no licence');",
      /^Tool score: module\.path: tool\.js cannot be loaded: no licence$/,
    ],
    ["has a syntax error", "export const score = (;", /tool\.js cannot be loaded: /],
    [
      "imports a package that is not there",
      "import 'oao-no-such-package'; export const score = () => 1;",
      /cannot be loaded: .*oao-no-such-package/,
    ],
  ])("refuses a module that %s", async (_what, code, problem) => {
    await expect(load({ "tool.js": code })).rejects.toThrow(problem);
  });

  it("does not wait for ever for a module's top-level code", async () => {
    const baseDir = scratchFolder({ "tool.mjs": "await new Promise(() => {}); export const score = () => 1;" });
    const made = createModuleTool({ name: "score", module: { path: "tool.mjs" } }, { baseDir, loadTimeoutMs: 100 });
    await expect(made).rejects.toThrow(/its top-level code did not end within 100 ms/);
  });
});

describe("staying in the folder", () => {
  it.each([
    ["../tool.js", /must not hold '\.\.'/],
    ["a/../../tool.js", /must not hold '\.\.'/],
    ["/etc/tool.js", /must be relative/],
    ["file:///etc/tool.js", /must be relative/],
    ["data:text/javascript,export default 1//.js", /must be relative/],
    ["tool.json", /must be an ESM file/],
    ["tool.cjs", /must be an ESM file/],
    ["gone.js", /does not exist in .*paths are relative to the manifest's folder/],
    ["folder.js", /is no file/],
    ["linked.js", /leads out of .* by a link/],
    ["linked/tool.js", /leads out of .* by a link/],
  ])("refuses %s", async (path, problem) => {
    const outside = scratchFolder({ "tool.js": "export const score = () => 1;" });
    const baseDir = scratchFolder();
    mkdirSync(join(baseDir, "folder.js"));
    symlinkSync(join(outside, "tool.js"), join(baseDir, "linked.js"));
    symlinkSync(outside, join(baseDir, "linked"));
    const made = createModuleTool({ name: "score", module: { path } }, { baseDir });
    await expect(made).rejects.toThrow(InvalidTool);
    await expect(made).rejects.toThrow(problem);
  });

  it("follows links that stay inside, and a base folder that is a link", async () => {
    const real = scratchFolder({ "real.mjs": "export const score = () => 'linked';" });
    symlinkSync(join(real, "real.mjs"), join(real, "tool.mjs"));
    const base = join(scratchFolder(), "base");
    symlinkSync(real, base);
    const tool = await createModuleTool({ name: "score", module: { path: "tool.mjs" } }, { baseDir: base });
    expect(await tool.invoke({}, callContext())).toBe("linked");
  });
});

describe("the digest", () => {
  const files = {
    "tool.js": 'import { a } from "./lib/a.js"; export const score = async () => [a, (await import("./b.js")).b];',
    "b.js": "export const b = 1;",
  };
  const digest = async (changes: Readonly<Record<string, string>>, lib = 'export { c as a } from "../c.js";') => {
    const baseDir = scratchFolder({
      "package.json": '{"type":"module"}',
      ...files,
      "c.js": "export const c = 1;",
      ...changes,
    });
    mkdirSync(join(baseDir, "lib"));
    writeFileSync(join(baseDir, "lib", "a.js"), lib);
    return (await createModuleTool({ name: "score", module: { path: "tool.js" } }, { baseDir })).digest;
  };

  it("is the same wherever the folder is, and covers relative imports of imports", async () => {
    const original = await digest({});
    expect(original).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await digest({})).toBe(original);
    expect(await digest({ "unrelated.js": "x" })).toBe(original);
    expect(await digest({ "tool.js": `${files["tool.js"]} ` })).not.toBe(original);
    expect(await digest({ "b.js": "export const b = 2;" })).not.toBe(original);
    expect(await digest({ "c.js": "export const c = 2;" })).not.toBe(original);
    expect(await digest({}, 'export * from "../c.js"; export const a = 2;')).not.toBe(original);
  });

  it("ends for modules that import each other", async () => {
    expect(await digest({ "c.js": 'import "./tool.js"; export const c = 1;' })).toMatch(/^sha256:/);
  });
});

describe("a call", () => {
  it("hands over a copy of the arguments", async () => {
    const args = { facts: [1] };
    expect(await run("args.facts.push(2); return args.facts;", args)).toEqual([1, 2]);
    expect(args).toEqual({ facts: [1] });
  });

  it("gives recorded values, the idempotency key and a signal", async () => {
    const answer = await run(
      "const { now, random, uuid } = ctx; return [await now(), await random(), await uuid(), ctx.idempotencyKey, ctx.signal.aborted];",
    );
    expect(answer).toEqual([1_700_000_000_000, 0.25, "00000000-0000-4000-8000-000000000001", "key-1", false]);
  });

  it("asks for a recorded value at the call's entry, before anything is awaited", async () => {
    const order: string[] = [];
    const base = callContext().values;
    const values = {
      ...base,
      now: () => {
        order.push("now");
        return base.now();
      },
      uuid: () => {
        order.push("uuid");
        return base.uuid();
      },
    };
    Object.assign(globalThis, { oaoTestOrder: order });
    await run(
      "const both = [ctx.uuid(), ctx.now()]; globalThis.oaoTestOrder.push('after'); await Promise.all(both);",
      {},
      { values },
    );
    expect(order).toEqual(["uuid", "now", "after"]);
  });

  it("turns undefined into null and leaves out undefined members", async () => {
    expect(await run("")).toBeNull();
    expect(await run("return { a: undefined, b: 1 };")).toEqual({ b: 1 });
  });

  it("checks the arguments before the function runs", async () => {
    const tool = await load(
      { "tool.js": "export const score = () => { throw new Error('ran'); };" },
      { inputSchema: { required: ["facts"] } },
    );
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "InvalidRequest", sent: false });
    expect((await failureOf(tool.invoke({ facts: 1 }, callContext()))).message).toBe("Tool score failed: ran");
  });

  it.each<[string, string, RegExp]>([
    ["a BigInt", "return { a: [1n] };", /returned what cannot be recorded: \$\.a\[0\] is a bigint/],
    ["a function", "return () => 1;", /\$ is a function/],
    ["a cycle", "const a = {}; a.b = { a }; return a;", /\$\.b\.a refers back/],
    ["a Map", "return new Map();", /is a Map, not a plain object/],
    ["NaN", "return [NaN];", /\$\[0\] is NaN/],
    ["a getter that throws", "return { get a() { throw new Error('no'); } };", /cannot be recorded: no/],
    ["a huge text", "return 'x'.repeat(2_000_000);", /returned 2000002 bytes; the cap is 1000000 bytes/],
  ])("refuses %s", async (_what, body, problem) => {
    const failure = await failureOf(run(body));
    expect(failure).toMatchObject({ failureClass: "ToolFailure", sent: true });
    expect(failure.message).toMatch(problem);
  });

  it("measures the cap on the canonical bytes", async () => {
    expect(await run("return 'ü';", {}, { bodyBytesMax: 4 })).toBe("ü");
    expect((await failureOf(run("return 'ü';", {}, { bodyBytesMax: 3 }))).message).toMatch(
      /4 bytes; the cap is 3 bytes/,
    );
  });

  it.each<[string, string, string]>([
    ["an error", "throw new TypeError('no facts');", "no facts"],
    ["an error without a message", "throw new RangeError();", "RangeError"],
    ["a text", "throw 'plain';", "plain"],
    ["undefined", "throw undefined;", "undefined"],
    ["something that cannot be shown", "throw { toString() { throw 1; } };", "a value that cannot be shown was thrown"],
  ])("fails with the message alone for %s", async (_what, body, message) => {
    const failure = await failureOf(run(body));
    expect(failure).toMatchObject({
      failureClass: "ToolFailure",
      sent: true,
      message: `Tool score failed: ${message}`,
    });
  });

  it("takes a synchronous throw like a rejected promise", async () => {
    const tool = await load({ "tool.js": "export function score() { throw new Error('at once'); }" });
    expect((await failureOf(tool.invoke({}, callContext()))).message).toBe("Tool score failed: at once");
  });

  it("cuts a message that is a book", async () => {
    expect((await failureOf(run("throw new Error('x'.repeat(100_000));"))).message).toHaveLength(
      "Tool score failed: ".length + 4_096,
    );
  });
});

describe("time limit and cut", () => {
  it("ends a promise that never resolves in Timeout, and tells the function", async () => {
    const told: unknown[] = [];
    Object.assign(globalThis, { oaoTestTold: told });
    const failure = await failureOf(
      run(
        "ctx.signal.addEventListener('abort', () => globalThis.oaoTestTold.push('told')); await new Promise(() => {});",
        {},
        { timeoutMs: 50 },
      ),
    );
    expect(failure).toMatchObject({
      failureClass: "Timeout",
      sent: true,
      message: "Tool score did not end within 50 ms",
    });
    expect(told).toEqual(["told"]);
  });

  it("holds the process until the limit, though nothing else keeps it alive", () => {
    const baseDir = scratchFolder({ "tool.mjs": "export const score = () => new Promise(() => {});" });
    const code = `import { createModuleTool } from "./src/adapters/tool/module-tool.ts";
      const tool = await createModuleTool({ name: "score", module: { path: "tool.mjs" } }, { baseDir: ${JSON.stringify(baseDir)} });
      const context = { signal: new AbortController().signal, timeoutMs: 50, idempotencyKey: "k", bodyBytesMax: 10, values: {} };
      await tool.invoke({}, context).catch((error) => process.stdout.write(error.failureClass));`;
    expect(execFileSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" })).toBe("Timeout");
  });

  it("ends when the run cuts the call", async () => {
    const controller = new AbortController();
    Object.assign(globalThis, { oaoTestCut: () => controller.abort() });
    const failure = await failureOf(
      run("globalThis.oaoTestCut(); await new Promise(() => {});", {}, { signal: controller.signal }),
    );
    expect(failure).toMatchObject({ sent: true, message: "The call of tool score was stopped" });
  });

  it("records no value for a function that runs on after its end", async () => {
    const asked: string[] = [];
    const { promise: late, resolve } = Promise.withResolvers<unknown>();
    Object.assign(globalThis, { oaoTestLate: resolve });
    const values = {
      ...callContext().values,
      now: () => {
        asked.push("now");
        return Promise.resolve(1);
      },
    };
    const body =
      "ctx.signal.addEventListener('abort', () => { ctx.now().catch((error) => globalThis.oaoTestLate(error.message)); }); await new Promise(() => {});";
    await failureOf(run(body, {}, { values, timeoutMs: 50 }));
    expect(await late).toBe("The call of this tool has ended");
    expect(asked).toEqual([]);
    // The same after a normal end.
    Object.assign(globalThis, {
      oaoTestKeep: (context: unknown) => Object.assign(globalThis, { oaoTestContext: context }),
    });
    await run("globalThis.oaoTestKeep(ctx);", {}, { values });
    const kept = (globalThis as unknown as { oaoTestContext: { now(): Promise<number> } }).oaoTestContext;
    await expect(kept.now()).rejects.toThrow("The call of this tool has ended");
    expect(asked).toEqual([]);
  });

  it.each([
    "await ctx.now();",
    "try { await ctx.now(); } catch {} return 1;",
    "try { await ctx.now(); } catch { throw new Error('mine'); }",
  ])("lets a failure of the recording itself through as it is: %s", async (body) => {
    const lost = new Error("fenced");
    const values = { ...callContext().values, now: () => Promise.reject(lost) };
    await expect(run(body, {}, { values })).rejects.toBe(lost);
  });
});
