import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpToolSpec, ModuleToolSpec } from "../../../src/api/tool.ts";
import { toolProblems } from "../../../src/cli/tool-problems.ts";

let baseDir: string;
beforeAll(() => {
  baseDir = mkdtempSync(join(tmpdir(), "oao-tools-"));
  writeFileSync(join(baseDir, "rate.mjs"), "export function rate() {}\nexport async function other() {}\n");
  writeFileSync(join(baseDir, "one.ts"), "export const anything = () => 1;\n");
  writeFileSync(join(baseDir, "empty.mjs"), "const rate = 1;\n");
  writeFileSync(join(baseDir, "all.mjs"), "export * from './rate.mjs';\n");
  writeFileSync(join(baseDir, "list.mjs"), "function a() {}\nconst b = a;\nexport {\n  a,\n  b as rate,\n};\n");
  writeFileSync(join(baseDir, "common.js"), "module.exports = { rate: () => 1 };\n");
});
afterAll(() => rmSync(baseDir, { recursive: true }));

async function problemsOf(tool: object, missing: "Error" | "Warning" = "Error"): Promise<string[]> {
  const findings = await toolProblems({ spec: { tools: [{ name: "rate", ...tool }] } }, { baseDir, missing });
  return findings.map(
    ({ path, message, severity }) => `${severity === undefined ? "" : `${severity} `}${path.join(".")} ${message}`,
  );
}
const http = (changes: Partial<HttpToolSpec>) =>
  problemsOf({ http: { method: "GET", url: "https://catalog.example/items", ...changes } });
const module = (definition: ModuleToolSpec, missing?: "Error" | "Warning") =>
  problemsOf({ module: definition }, missing);

it("one mistake that the schema finds hides no other of the same tool", async () => {
  const headers = [{ name: "not a name", value: "x" }];
  expect(await problemsOf({ http: { method: "FETCH", url: "not a url", headers } })).toEqual([
    expect.stringContaining("spec.tools.0.http.url must not hold spaces") as string,
  ]);
});

describe("an http tool", () => {
  it("that can run has no problems", async () => {
    const headers = [
      { name: "authorization", secretKeyRef: { name: "s", key: "k" } },
      { name: "accept", value: "text/plain" },
    ];
    expect(
      await http({
        url: "https://x.example/{id}",
        query: ["q"],
        headers,
        inputSchema: { type: "object", properties: { id: { type: "string" } } },
      }),
    ).toEqual([]);
  });

  it.each([
    ["ftp://x.example/a", "must start with http:// or https://"],
    ["/items/{id}", "must be an absolute URL"],
    ["https://x.example/{id", "has a brace without its partner"],
    ["https://{host}/a", "may hold {name} in its path only"],
    ["https://me:pass@x.example/", "must not hold credentials"],
  ])("with the URL %s is refused", async (url, problem) => {
    expect(await http({ url })).toEqual([expect.stringContaining(`spec.tools.0.http.url ${problem}`) as string]);
  });

  it("names each header that it may not set, with its place", async () => {
    const headers = [
      { name: "accept", value: "x" },
      { name: "Idempotency-Key", value: "x" },
      { name: "Host", secretKeyRef: { name: "s", key: "k" } },
      { name: "Accept", value: "y" },
    ];
    expect(await http({ headers })).toEqual([
      "spec.tools.0.http.headers.1 Idempotency-Key is set by OAO and cannot be set here",
      "spec.tools.0.http.headers.2 Host is set by OAO and cannot be set here",
    ]);
    expect(await http({ headers: headers.filter(({ name }) => /accept/i.test(name)) })).toEqual([
      "spec.tools.0.http.headers.1 Accept is given twice",
    ]);
  });

  it("with a schema that does not compile is refused", async () => {
    expect(await http({ inputSchema: { type: "strnig" } })).toEqual([
      expect.stringContaining("spec.tools.0.http.inputSchema is no usable JSON Schema") as string,
    ]);
    expect(await http({ inputSchema: { properties: { a: { pattern: "(?=a)" } } } })).toEqual([
      expect.stringContaining("is not supported (RE2 syntax)") as string,
    ]);
  });

  it("with an expression in its URL is left to the problem that says so", async () => {
    expect(await http({ url: "$(input.url)" })).toEqual([]);
  });
});

describe("a module tool", () => {
  it.each([
    ["rate.mjs", undefined],
    ["rate.mjs", "other"],
    ["one.ts", undefined],
    ["one.ts", "anything"],
    ["list.mjs", undefined],
    ["all.mjs", "rate"],
    ["common.js", undefined],
  ])("%s with export %s may be there", async (path, name) => {
    expect(await module({ path, ...(name === undefined ? {} : { export: name }) })).toEqual([]);
  });

  it.each([
    ["../rate.mjs", "must not hold '..'"],
    ["/etc/rate.mjs", "must be relative to"],
    ["rate.json", "must be an ESM file"],
  ])("at %s is an error wherever it is linted", async (path, problem) => {
    const found = [expect.stringContaining(`spec.tools.0.module.path ${path} ${problem}`) as string];
    expect(await module({ path })).toEqual(found);
    expect(await module({ path }, "Warning")).toEqual(found);
  });

  it("that is not there, or lacks the function, is an error for a run and a warning for lint", async () => {
    const absent = "spec.tools.0.module.path absent.mjs does not exist";
    expect(await module({ path: "absent.mjs" })).toEqual([expect.stringMatching(`^${absent}`) as string]);
    expect(await module({ path: "absent.mjs" }, "Warning")).toEqual([
      expect.stringMatching(`^Warning ${absent}`) as string,
    ]);
    expect(await module({ path: "rate.mjs", export: "rote" })).toEqual([
      "spec.tools.0.module.export rate.mjs exports other, rate, and no rote; name one that it exports",
    ]);
    expect(await module({ path: "empty.mjs" })).toEqual([
      "spec.tools.0.module.path empty.mjs exports nothing; export a function rate, or name one with module.export",
    ]);
  });

  it("with two functions of other names does not know which is meant", async () => {
    writeFileSync(join(baseDir, "two.mjs"), "export function a() {}\nexport function b() {}\n");
    expect(await module({ path: "two.mjs" })).toEqual([expect.stringContaining("two.mjs exports a, b;") as string]);
  });

  it("is not looked at where its definition is no tool at all", async () => {
    expect(
      await toolProblems({ spec: { tools: [{ name: 1 }, "x", { module: 3 }] } }, { baseDir, missing: "Error" }),
    ).toEqual([]);
    expect(await toolProblems(undefined, { baseDir, missing: "Error" })).toEqual([]);
  });
});
