import { shownSpec } from "../../../src/core/replay/spec.ts";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse as parseYaml, stringify } from "yaml";
import { isFields } from "../../../src/api/fields.ts";
import { type JsonSchema, jsonSchemaOf } from "../../../src/api/json-schema.ts";
import type { ExecutionSpec, PolicySpec } from "../../../src/api/types.ts";
import { canonicalJson } from "../../../src/core/digest/digest.ts";
import { hashedContent, hashedRules, hashParts } from "../../../src/core/hash/content.ts";
import { driftOf, driftText, executionHash } from "../../../src/core/hash/execution-hash.ts";
import { lintManifest } from "../../../src/core/manifest/lint.ts";
import { anyRules, anySpec, full, rules } from "./specs.ts";

type Path = readonly (string | number)[];

/** Every value that stands alone: text, numbers, true, false, null. */
function* leaves(value: unknown, path: Path = []): Generator<Path> {
  if (Array.isArray(value)) for (const [index, entry] of value.entries()) yield* leaves(entry, [...path, index]);
  else if (isFields(value)) for (const [name, member] of Object.entries(value)) yield* leaves(member, [...path, name]);
  else yield path;
}

/** Another value of the same type at `path`. */
function changed<T>(root: T, path: Path): T {
  const copy = structuredClone(root);
  let parent = copy as Record<string | number, unknown>;
  for (const step of path.slice(0, -1)) parent = parent[step] as Record<string | number, unknown>;
  const last = path.at(-1) ?? "";
  const value = parent[last];
  parent[last] = typeof value === "number" ? value + 1 : typeof value === "boolean" ? !value : `${String(value)}x`;
  return copy;
}

const text = (path: Path) => path.map((step) => (typeof step === "number" ? "*" : step)).join(".");
const base = executionHash(full, rules);
const partsChangedBy = (spec: ExecutionSpec, by: readonly PolicySpec[] = rules) => {
  const now = executionHash(spec, by);
  const parts = hashParts.filter((part) => now.hashParts[part] !== base.hashParts[part]);
  expect(now.executionHash !== base.executionHash).toBe(parts.length > 0);
  return parts.join();
};

/** Beginnings of paths, with the part they change. The first that fits counts. */
const partOf: readonly (readonly [RegExp, string])[] = [
  [/^(policyRef|parallelism|activeDeadlineSeconds|desiredState|expectedHash|replay|journalRetention|ttlSeconds)/, ""],
  [/^(nodes|finally)\.\*\.(retry|timeoutSeconds|budget|resources|nodeSelector|tolerations)\b/, ""],
  [/^nodes\.\*\.(forEach\.maxParallel|approval\.timeoutSeconds)$/, ""],
  [/^tools\.\*\.timeoutSeconds$/, ""],
  [/^nodes\.\*\.image$/, "runtime"],
  [/^nodes\.\*\.name$/, "task"],
  [/^(task|input|nodes|finally)\b/, "task"],
  [/^(agents|models)\b/, "agents"],
  [/^tools\b/, "tools"],
];

describe("a change of a value of the spec", () => {
  const paths = [...leaves(full)];

  test("changes exactly the part it belongs to, or none", () => {
    for (const path of paths) {
      const name = text(path);
      const wanted = partOf.find(([pattern]) => pattern.test(name))?.[1];
      // The runtime names its images by node.
      const parts = path[0] === "nodes" && path[1] === 0 && path[2] === "name" ? "task,runtime" : wanted;
      expect([name, partsChangedBy(changed(full, path))]).toEqual([name, parts]);
    }
  });

  test("is tried for every field that the schema has", () => {
    const known = new Set(paths.map(text));
    const fields = (schema: JsonSchema, path: string): string[] => {
      if (schema.items !== undefined) return fields(schema.items, `${path}.*`);
      if (schema.properties === undefined) return [path];
      return Object.entries(schema.properties).flatMap(([name, field]) =>
        fields(field, path === "" ? name : `${path}.${name}`),
      );
    };
    const isTried = (field: string) => [...known].some((path) => path === field || path.startsWith(`${field}.`));
    // Fields that nodes and finally share are tried on nodes.
    const untried = fields(jsonSchemaOf("Execution").properties?.["spec"] ?? {}, "").filter(
      (field) => !isTried(field) && !isTried(field.replace(/^finally\./, "nodes.")),
    );
    expect(untried.filter((field) => !/^(expectedHash|replay)\./.test(field))).toEqual([]);
  });

  test("of a policy changes the policy, which policy says a rule does not", () => {
    for (const path of leaves(rules)) {
      expect([text(path), partsChangedBy(full, changed(rules, path))]).toEqual([text(path), "policy"]);
    }
    expect(partsChangedBy(full, [])).toBe("policy");
    expect(partsChangedBy(full, [...rules].reverse())).toBe("");
    expect(partsChangedBy(full, [...rules, ...structuredClone(rules)])).toBe("");
  });
});

/** The same content in another order: members of every object, entries of every list with names. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) {
    const list = value.map(shuffled);
    return list.every((entry) => isFields(entry) && typeof entry["name"] === "string") ? list.reverse() : list;
  }
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, shuffled(member)]),
  );
}

/** Null in every field of the schema that a value lacks; free-form JSON is left alone. */
function withNulls(spec: ExecutionSpec): ExecutionSpec {
  const absent = { input: null, agents: null, finally: null, models: null, tools: null, policyRef: null };
  const nodes = spec.nodes.map((node) => ({
    when: null,
    forEach: null,
    tool: null,
    agent: null,
    image: null,
    approval: null,
    dependsOn: null,
    ...node,
  }));
  return { ...absent, ...spec, nodes } as unknown as ExecutionSpec;
}

describe("the hash of any spec", () => {
  test("does not depend on the order of keys and of named lists, nor on nulls that stand for absence", () => {
    fc.assert(
      fc.property(anySpec, anyRules, (spec, by) => {
        const wanted = executionHash(spec, by);
        expect(executionHash(withNulls(spec), by)).toEqual(wanted);
        expect(executionHash({ ...spec, nodes: [...spec.nodes].reverse() }, [...by].reverse())).toEqual(wanted);
        expect(executionHash(JSON.parse(JSON.stringify(spec)) as ExecutionSpec, by)).toEqual(wanted);
      }),
      { numRuns: 300 },
    );
    expect(executionHash(shuffled(full) as ExecutionSpec, rules)).toEqual(base);
  });

  test("is the same over rules that were hashed before, as a snapshot keeps them", () => {
    fc.assert(
      fc.property(anySpec, anyRules, (spec, by) => {
        expect(executionHash(spec, hashedRules(by))).toEqual(executionHash(spec, by));
      }),
    );
  });

  test("is equal only where what is hashed is equal", () => {
    fc.assert(
      fc.property(anySpec, anySpec, (one, other) => {
        const same = canonicalJson(hashedContent(one, [])) === canonicalJson(hashedContent(other, []));
        expect(executionHash(one, []).executionHash === executionHash(other, []).executionHash).toBe(same);
      }),
    );
  });

  test("tells apart what only looks the same", () => {
    const task = (value: string) => executionHash({ ...full, task: value }, []).hashParts.task;
    expect(task("caf\u00e9")).not.toBe(task("cafe\u0301"));
    const input = (value: Record<string, unknown>) => executionHash({ ...full, input: value }, []).hashParts.task;
    expect(input({ a: null })).not.toBe(input({}));
    expect(input({ a: [1, 2] })).not.toBe(input({ a: [2, 1] }));
    expect(input({ a: 1 })).not.toBe(input({ a: "1" }));
    expect(input({ a: 1e2, b: -0 })).toBe(input({ b: 0, a: 100 }));
    // A free-form list of objects that happen to have names is in an order of its own.
    expect(input({ a: [{ name: "x" }, { name: "b" }] })).not.toBe(input({ a: [{ name: "b" }, { name: "x" }] }));
    expect(partsChangedBy({ ...full, agents: [{ ...full.agents![0]!, tools: ["score", "search"] }] })).toBe("agents");
    expect(partsChangedBy({ ...full, agents: [] })).toBe("agents");
    const { finally: _, ...without } = full;
    expect(executionHash({ ...full, finally: [] }, rules)).toEqual(executionHash(without, rules));
  });
});

test("whitespace, comments, quotes, anchors, names, labels and annotations of a manifest are not part of it", () => {
  const metadata = { name: "one", namespace: "team-a", labels: { a: "b" }, annotations: { c: "d" }, generation: 4 };
  const { expectedHash: _expected, replay: _replay, ...spec } = full;
  const head = { apiVersion: "oao.dev/v1alpha1", kind: "Execution" };
  const forms = [
    stringify({ ...head, metadata: { name: "two" }, spec }),
    stringify(
      { ...head, metadata, spec: shuffled(spec) },
      { indent: 5, lineWidth: 0, defaultStringType: "QUOTE_DOUBLE" },
    ),
    `# a comment\n${JSON.stringify({ spec, ...head, metadata }, undefined, 3)}`,
  ];
  for (const form of forms) {
    const { executions, problems } = lintManifest(form, "f.yaml");
    expect(problems.filter(({ severity }) => severity === "Error")).toEqual([]);
    expect(executionHash(shownSpec(executions[0]!.object, undefined), rules)).toEqual(base);
  }
});

describe("an expectation", () => {
  const actual = { hash: base.executionHash, ...base.hashParts };
  const other = `sha256:${"0".repeat(64)}`;

  test("holds where every digest it has is the run's, and says which are not", () => {
    expect(driftOf(undefined, actual)).toEqual([]);
    expect(driftOf({ ...base.hashParts, hash: base.executionHash }, actual)).toEqual([]);
    const drift = driftOf({ hash: other, tools: other, task: base.hashParts.task, policy: other }, actual);
    expect(drift.map(({ part }) => part)).toEqual(["policy", "tools", "hash"]);
    const short = (digest: string) => `${digest.slice(0, 19)}…`;
    expect(driftText(drift)).toBe(
      `policy is ${short(base.hashParts.policy)}, expected sha256:000000000000…; tools is ${short(base.hashParts.tools)}, expected sha256:000000000000…`,
    );
    expect(driftText(driftOf({ hash: other }, actual))).toContain("the execution hash is sha256:");
  });

  test("of what is not known is not compared, and null expects nothing", () => {
    expect(driftOf({ policy: other, hash: other }, { task: base.hashParts.task })).toEqual([]);
    expect(driftOf({ task: null } as never, actual)).toEqual([]);
  });
});

const page = readFileSync(new URL("../../../docs/execution-hash.md", import.meta.url), "utf8");
const documented = JSON.parse(/```json\n(.*?)```/s.exec(page)?.[1] ?? "") as ExecutionSpec;

const python = spawnSync("python3", ["--version"]).status === 0;

/** What test/unit/hash/execution_hash.py makes of many at once. */
function byPython(given: readonly { spec: unknown; rules: unknown }[]): unknown[] {
  const program = fileURLToPath(new URL("execution_hash.py", import.meta.url));
  const input = given.map((each) => `${JSON.stringify(each)}\n`).join("");
  const { status, stdout, stderr } = spawnSync("python3", ["-B", program], { input, encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown);
}

describe.skipIf(!python)("a second implementation, in Python, gives the same digests", () => {
  const samples = fileURLToPath(new URL("../../../config/samples/", import.meta.url));
  const files = readdirSync(samples).filter((file) => /^(?!.*\.model\.|policies).*\.yaml$/.test(file));

  test("of a spec with every field, and of every sample", () => {
    const specs = files.map(
      (file) =>
        (parseYaml(readFileSync(`${samples}${file}`, "utf8").split("\n---\n")[0]!) as { spec: ExecutionSpec }).spec,
    );
    const given = [full, withNulls(full), documented, ...specs].map((spec) => ({ spec, rules }));
    expect(byPython(given)).toEqual(given.map(({ spec }) => executionHash(spec, rules)));
  });

  test("of random specs with unusual keys, texts and numbers", { timeout: 60_000 }, () => {
    const given = fc.sample(fc.record({ spec: anySpec, rules: anyRules }), 500);
    expect(byPython(given)).toEqual(given.map(({ spec, rules: by }) => executionHash(spec, by)));
  });
});

test("docs/execution-hash.md shows what its example really gives", () => {
  const spec = documented;
  const content = hashedContent(spec, []);
  const hash = executionHash(spec, []);
  for (const part of hashParts)
    expect(page).toContain(`\n${part} ${hash.hashParts[part]}\n${canonicalJson(content[part])}\n`);
  expect(page).toContain(`\nhash ${hash.executionHash}\n${canonicalJson(hash.hashParts)}\n`);
});

test("the hash of the full example is what it was: hashes that people keep do not change", () => {
  expect(base).toMatchInlineSnapshot(`
    {
      "executionHash": "sha256:46484af4398b7742fe6cf44a63974343716f3aa274d26c42b6b21d405b187865",
      "hashParts": {
        "agents": "sha256:d12577ae5e0919353806d76024d0f96976a555e75e43b0517b64f5c3603642bb",
        "policy": "sha256:32d72c6752506d908a99545acdb589e40e191fda8ee81d3197d5b06f793cf1de",
        "runtime": "sha256:214e6354bbd1e0bab599645295e13a396937f8a4753888d899fbc633e8260df7",
        "task": "sha256:a71b8f9b426b62c72dbbac6ea7e86f2d28d7a376fabf768d4967efd73cfe3538",
        "tools": "sha256:daf305edb3af075b9e523f232ead7142bee8a5044e6281c05aa18de8ef320f0e",
      },
    }
  `);
});
