import fc from "fast-check";
import { expect, test } from "vitest";
import { fileLengthMax, parseManifests } from "../../../src/core/manifest/parse.ts";

function read(text: string) {
  const { documents, problems } = parseManifests(text, "f.yaml");
  return {
    values: documents.map((document) => document.value),
    problems: problems.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`),
    documents,
  };
}

test("several documents are read, empty ones passed over", () => {
  expect(read("---\na: 1\n---\n# nothing\n---\n- x\n")).toMatchObject({ values: [{ a: 1 }, ["x"]], problems: [] });
});

test.each(["", "# only a comment\n", "---\n---\n"])("a file without an object says so: %j", (text) => {
  expect(read(text)).toMatchObject({ values: [], problems: ["1:1  the file holds no object"] });
});

test("any JSON reads as itself, indented with tabs or not", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue({ maxDepth: 3 })), (value) => {
      const plain: unknown = JSON.parse(
        JSON.stringify(value, (_, member: unknown) => (typeof member === "number" ? 1 : member)),
      );
      for (const indent of [undefined, 2, "\t"]) {
        const found = read(JSON.stringify({ value: plain }, null, indent));
        if (JSON.stringify(plain).includes('"<<"')) continue;
        expect(found.problems).toEqual([]);
        expect(JSON.stringify(found.values[0])).toBe(JSON.stringify({ value: plain }));
      }
    }),
    { numRuns: 200, seed: 13 },
  );
});

test.each([
  ["a tab", "a:\n\t- b\n", "2:1  not valid YAML: tabs are not allowed as indentation"],
  ["a key that is there twice", "a: 1\nb:\n  c: 1\n  c: 2\n", '4:3 b.c "c" is written twice'],
  ["an alias that holds itself", "a: &a [1, *a]", "1:11 a[1] the alias *a stands inside of what it repeats"],
  ["an alias of nothing", "a: *x", "1:4 a the alias *x has no anchor before it"],
  ["a tag", "a: !!python/object x", "1:4  not valid YAML: unresolved tag: tag:yaml.org,2002:python/object"],
  [
    "an integer that loses digits",
    "a: 9007199254740993",
    "1:4 a 9007199254740993 is beyond 2^53, where numbers lose digits",
  ],
  ["what is no JSON number", "a: .inf", "1:4 a .inf is no JSON number"],
  ["a merge key", "a: &a {x: 1}\nb: {<<: *a}", "2:5 b merge keys (<<) are not YAML 1.2"],
  ["a list as a key", "? [a]\n: 1", "1:3  a key must be a name"],
  ["half a character", 'a: "\\ud800"', "1:4 a the text holds half a character (a lone surrogate)"],
  ["too deep nesting", `a: ${"[".repeat(5_000)}`, "the document is nested too deeply"],
  ["deep but balanced nesting", `${"{a: ".repeat(300)}1${"}".repeat(300)}`, "the document is nested too deeply"],
  ["a word that kubectl reads otherwise", "a: yes", "1:4 a kubectl reads yes as true or false"],
])("%s is a problem with its place", (_, text, wanted) => {
  const { problems } = read(text);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(wanted);
});

test("a few lines of aliases cannot fill the memory", () => {
  const lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"];
  for (let n = 1; n < 12; n++)
    lines.push(`a${n}: &a${n} [${Array.from({ length: 10 }, () => `*a${n - 1}`).join(",")}]`);
  const { values, problems } = read(lines.join("\n"));
  expect(values).toEqual([]);
  expect(problems[0]).toContain("more than 200000 values");
});

test("a file that is too large is refused unread", () => {
  expect(read(" ".repeat(fileLengthMax + 1)).problems[0]).toContain("are read");
});

test("__proto__ is a key like any other", () => {
  const { values } = read("__proto__: {polluted: 1}\nconstructor: {prototype: {polluted: 2}}\n");
  expect(JSON.stringify(values[0])).toBe('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}}}');
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

test("YAML 1.2 holds whatever the document claims, so words are text", () => {
  expect(read("%YAML 1.1\n---\na: off\nb: 2024-01-01\nc: 0x1f\nd: 1:20\n").values).toEqual([
    { a: "off", b: "2024-01-01", c: 31, d: "1:20" },
  ]);
});

test("a field's value and key have places, an absent field that of its parent", () => {
  const [document] = read("spec:\n  nodes:\n    - name: a\n      when: >\n        x\n").documents;
  expect(document?.position(["spec", "nodes", 0, "name"])).toEqual({ line: 3, column: 13 });
  expect(document?.position(["spec", "nodes", 0, "when"], "Key")).toEqual({ line: 4, column: 7 });
  expect(document?.position(["spec", "nodes", 0, "agent", "ref"])).toEqual({ line: 3, column: 7 });
  expect(document?.position(["spec", "tools"])).toEqual({ line: 1, column: 1 });
});

test("values that an alias repeats stand where the alias does", () => {
  const [document] = read("a: &x {n: 1}\nb: *x\n").documents;
  expect(document?.value).toEqual({ a: { n: 1 }, b: { n: 1 } });
  expect(document?.position(["b"])).toEqual({ line: 2, column: 4 });
});

test("no text whatever makes the reader throw", () => {
  const piece = fc.constantFrom(
    "a",
    ":",
    " ",
    "\n",
    "-",
    "[",
    "]",
    "{",
    "}",
    "&a",
    "*a",
    "!",
    "|",
    ">",
    '"',
    "'",
    "\t",
    "#",
    "?",
    ",",
    "---\n",
    "%",
    "<<",
  );
  fc.assert(
    fc.property(fc.string({ unit: piece, maxLength: 40 }), (text) => {
      const { documents, problems } = parseManifests(text, "f");
      expect(documents.length + problems.length).toBeGreaterThan(0);
      for (const problem of problems) expect(problem.line).toBeGreaterThan(0);
    }),
    { numRuns: 2_000, seed: 17 },
  );
});
