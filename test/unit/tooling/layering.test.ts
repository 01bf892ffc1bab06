import { describe, expect, it } from "vitest";
import { checkLayering } from "../../../hack/layering.ts";
import { tree } from "./tree.ts";

/** The violations of a tree of sources, as `file:line message`. */
function violations(files: Readonly<Record<string, string>>): string[] {
  return checkLayering(tree(files)).map(({ file, line, message }) => `${file}:${line} ${message}`);
}

const EMPTY = "export const nothing = 0;\n";

describe("imports between layers", () => {
  it("allows every layer what is to its left, and the programs everything", () => {
    expect(
      violations({
        "src/api/a.ts": 'import { z } from "zod";\nexport const a = z;\n',
        "src/core/a.ts": 'import { a } from "../api/a.ts";\nimport { b } from "./b.ts";\nexport { a, b };\n',
        "src/core/b.ts": EMPTY,
        "src/ports/a.ts": 'export * from "../core/a.ts";\n',
        "src/host/a.ts": 'export * from "../ports/a.ts";\n',
        "src/adapters/store/redis/a.ts":
          'import { Redis } from "ioredis";\nexport * from "../../../ports/a.ts";\nnew Redis();\n',
        "src/adapters/langchain/a.ts": 'import "@langchain/core/messages";\nimport "langchain";\n',
        "src/worker/a.ts": 'import "../adapters/langchain/a.ts";\nimport "../host/a.ts";\n',
        "src/cli/a.ts":
          'import "../adapters/store/redis/a.ts";\nimport "../host/a.ts";\nimport "../../package.json";\nimport "../ui/wire.ts";\n',
        "src/ui/wire.ts": 'import "../core/b.ts";\n',
        "src/ui/page/a.tsx": 'import "preact";\nimport "../wire.ts";\nimport "../../core/b.ts";\n',
      }),
    ).toEqual([]);
  });

  it.each([
    ["api", "core", "../core/x.ts"],
    ["core", "ports", "../ports/x.ts"],
    ["core", "adapters/tool", "../adapters/tool/x.ts"],
    ["ports", "host", "../host/x.ts"],
    ["host", "adapters/local", "../adapters/local/x.ts"],
    ["adapters/tool", "host", "../../host/x.ts"],
    ["adapters/store/redis", "adapters/store/memory", "../memory/x.ts"],
    ["adapters/store/redis", "adapters/store", "../x.ts"],
    ["adapters/langgraph", "adapters/langchain", "../langchain/x.ts"],
    ["worker", "cli", "../cli/x.ts"],
    ["cli", "worker", "../worker/x.ts"],
    ["cli", "ui/page", "../ui/page/x.ts"],
    ["ui/page", "adapters/local", "../../adapters/local/x.ts"],
    ["ui/page", "cli", "../../cli/x.ts"],
  ])("refuses that %s imports %s", (from, to, specifier) => {
    const found = violations({ [`src/${from}/a.ts`]: `\nimport "${specifier}";\n`, [`src/${to}/x.ts`]: EMPTY });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(`src/${from}/a.ts:2 ${from} must not import ${to}/x.ts (it may import `);
  });

  it.each([
    ["a type import", 'import type { X } from "../ports/x.ts";\n'],
    ["a named re-export", 'export { x } from "../ports/x.ts";\n'],
    ["a star re-export", 'export * from "../ports/x.ts";\n'],
    ["an import in a type", 'export type X = import("../ports/x.ts").X;\n'],
  ])("sees %s", (_what, text) => {
    expect(violations({ "src/core/a.ts": text, "src/ports/x.ts": EMPTY })).toHaveLength(1);
  });

  it("sees a dynamic import", () => {
    expect(violations({ "src/host/a.ts": 'await import("../cli/x.ts");\n', "src/cli/x.ts": EMPTY })).toHaveLength(1);
  });

  it("does not take an import in a string or a comment for one", () => {
    expect(
      violations({ "src/core/a.ts": '// import "../ports/x.ts"\nexport const a = \'import "ioredis"\';\n' }),
    ).toEqual([]);
  });

  it("refuses a folder of no layer, and an import from outside src", () => {
    expect(violations({ "src/misc/a.ts": EMPTY })[0]).toMatch("src/misc/a.ts:1 is in no layer");
    expect(violations({ "src/cli/a.ts": 'import "../../test/x.ts";\n' })[0]).toMatch("outside src/");
  });
});

describe("packages", () => {
  it("lets the page see nothing but what a browser runs", () => {
    const found = violations({ "src/ui/page/a.tsx": 'import "node:fs";\n' });
    expect(found).toEqual([
      "src/ui/page/a.tsx:1 ui/page must not import node:fs (packages it may import: preact, @preact/signals)",
    ]);
  });

  it.each([
    ["ioredis", "src/adapters/store/file/a.ts"],
    ["ioredis/built/Redis.js", "src/worker/a.ts"],
    ["@kubernetes/client-node", "src/adapters/local/a.ts"],
    ["langchain", "src/worker/a.ts"],
    ["@langchain/core/messages", "src/host/a.ts"],
    ["node:sqlite", "src/adapters/store/redis/a.ts"],
  ])("refuses %s in %s", (specifier, file) => {
    const found = violations({ [file]: `import "${specifier}";\n` });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^src\S+:1 only adapters\/.* may import /);
  });

  it("refuses in core every package that is not listed, and every built-in but hashing in core/digest", () => {
    const hashing = 'import { createHash } from "node:crypto";\nexport const hash = createHash("sha256");\n';
    expect(violations({ "src/core/a.ts": 'import "ajv";\n' })[0]).toMatch("core must not import ajv");
    expect(violations({ "src/core/a.ts": 'import "node:fs";\n' })[0]).toMatch("core must not import node:fs");
    expect(violations({ "src/core/a.ts": hashing })[0]).toMatch("core must not import node:crypto");
    expect(violations({ "src/core/digest/a.ts": hashing })).toEqual([]);
    expect(violations({ "src/core/digest/a.ts": hashing.replaceAll("createHash", "randomUUID") })).toHaveLength(1);
  });
});

describe("circles", () => {
  it("names the shortest way round, starting at the first file", () => {
    expect(
      violations({
        "src/core/a.ts": 'import "./b.ts";\nimport "./c.ts";\n',
        "src/core/b.ts": 'import "./c.ts";\n',
        "src/core/c.ts": 'import "./a.ts";\n',
        "src/core/outside.ts": 'import "./a.ts";\n',
      }),
    ).toEqual(["src/core/a.ts:1 imports itself in a circle: src/core/a.ts -> src/core/c.ts -> src/core/a.ts"]);
  });

  it("counts type imports, and a file that imports itself", () => {
    expect(
      violations({
        "src/ports/a.ts": 'import type { B } from "./b.ts";\nexport type A = B;\n',
        "src/ports/b.ts": 'import type { A } from "./a.ts";\nexport type B = A;\n',
        "src/ports/self.ts": 'import "./self.ts";\n',
      }),
    ).toHaveLength(2);
  });
});

describe("purity of core", () => {
  it.each([
    ["Date", "export const now = () => Date.now();"],
    ["Date", "export const at = new Date(0);"],
    ["Date", "export const it = { Date };"],
    ["Math.random", "export const dice = Math.random();"],
    ["Math but for its named functions", "export const { random } = Math;"],
    ["Math but for its named functions", 'export const dice = Math["random"]();'],
    ["process", "export const home = process.env.HOME;"],
    ["performance", "export const at = performance.now();"],
    ["setTimeout", "setTimeout(() => {}, 1);"],
    ["globalThis", "export const all = globalThis;"],
    ["async", "export async function a() {}"],
    ["async", "export const a = { async go() {} };"],
    ["await", "export const a = await 1;"],
    ["for await", "export {}; for await (const a of []) void a;"],
    ["import()", 'export const a = () => import("./a.ts").then(String);'],
  ])("refuses %s in: %s", (what, text) => {
    const found = violations({ "src/core/b.ts": `\n\n${text}\n`, "src/core/a.ts": EMPTY });
    expect(found).toContain(`src/core/b.ts:3 core is pure: no ${what}`);
  });

  it("does not take names of properties for the globals of that name", () => {
    expect(
      violations({
        "src/core/a.ts":
          "export type Date_ = { process: string; Date: number };\nexport const read = (x: Date_) => x.process + x.Date + Math.max(1);\n",
      }),
    ).toEqual([]);
  });

  it("allows Date where it reads no clock", () => {
    expect(
      violations({
        "src/core/a.ts":
          "export const year = (x: Date | string) => (x instanceof Date ? x.getTime() : Date.UTC(Number(x)));\n",
      }),
    ).toEqual([]);
  });

  it("leaves the other layers alone", () => {
    expect(violations({ "src/host/a.ts": "export const now = async () => Date.now() + Math.random();\n" })).toEqual([]);
  });
});
