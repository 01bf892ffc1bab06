import { readdirSync, readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { expect, test } from "vitest";
import { crdOf, renderCrds, structuralSchemaOf } from "../../../src/api/crds.ts";
import { immutableFields } from "../../../src/api/execution-update-rules.ts";
import { type Kind, kinds } from "../../../src/api/json-schema.ts";
import { ruleFields } from "../../../src/api/policy-rules.ts";
import { checkRules, rules, updateRules } from "../../../src/api/rules.ts";

type Schema = ReturnType<typeof structuralSchemaOf>;

const folder = new URL("../../../crds/", import.meta.url);

/** Every schema with its path; list items as `*`, map values as `{}`. */
function* walk(schema: Schema, path: readonly string[] = []): Generator<{ path: readonly string[]; schema: Schema }> {
  yield { path, schema };
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* walk(property, [...path, name]);
  if (schema.items !== undefined) yield* walk(schema.items, [...path, "*"]);
  if (schema.additionalProperties !== undefined) yield* walk(schema.additionalProperties, [...path, "{}"]);
}

function at(schema: Schema, path: readonly string[]): Schema | undefined {
  return [...walk(schema)].find((place) => place.path.join(".") === path.join("."))?.schema;
}

test("crds/ holds exactly what the schemas render to", () => {
  const files = renderCrds();
  expect(readdirSync(folder).sort()).toEqual(Object.keys(files).sort());
  for (const [name, text] of Object.entries(files)) expect(readFileSync(new URL(name, folder), "utf8")).toBe(text);
});

test("the rendered YAML reads back as the same object", () => {
  for (const kind of kinds) {
    const text = renderCrds()[`oao.dev_${crdOf(kind).spec.names.plural}.yaml`] ?? "";
    expect(parseYaml(text)).toEqual(JSON.parse(JSON.stringify(crdOf(kind))));
  }
});

/** What `check` finds wrong, with the path, in all schemas of a kind. */
function faultsOf(
  kind: Kind,
  check: (schema: Schema, path: readonly string[]) => readonly (string | false)[],
): string[] {
  return [...walk(structuralSchemaOf(kind))].flatMap(({ schema, path }) =>
    check(schema, path)
      .filter((fault) => fault !== false)
      .map((fault) => `${path.join(".")}: ${fault}`),
  );
}

const keys = new Set(
  (
    "type description properties required items additionalProperties enum pattern minLength maxLength minItems " +
    "maxItems maxProperties minimum maximum x-kubernetes-preserve-unknown-fields x-kubernetes-list-type " +
    "x-kubernetes-list-map-keys x-kubernetes-validations"
  ).split(" "),
);
const types = new Set(["object", "array", "string", "integer", "boolean"]);

test.each(kinds)("%s has only keys that a structural schema may have, a type everywhere and no defaults", (kind) => {
  const faults = faultsOf(kind, (schema) => {
    const { properties, additionalProperties, items, required = [] } = schema;
    const isOpen = schema["x-kubernetes-preserve-unknown-fields"] === true;
    return [
      ...Object.keys(schema).map((key) => !keys.has(key) && `forbidden ${key}`),
      !types.has(schema.type ?? "") && "no type",
      schema.type === "array" && items === undefined && "a list without items",
      properties !== undefined && additionalProperties !== undefined && "properties beside additionalProperties",
      schema.type === "object" && !properties && !additionalProperties && !isOpen && "an object that would be emptied",
      ...required.map((name) => !Object.hasOwn(properties ?? {}, name) && `requires ${name}, which is no property`),
    ];
  });
  expect(faults).toEqual([]);
});

test.each(kinds)("every list, map and text of %s is bounded, so that the API server can price the rules", (kind) => {
  const faults = faultsOf(kind, (schema, path) => [
    schema.type === "array" && schema.maxItems === undefined && "no maxItems",
    schema.additionalProperties !== undefined && schema.maxProperties === undefined && "no maxProperties",
    schema.type === "string" && !schema.enum && path.length > 1 && schema.maxLength === undefined && "no maxLength",
  ]);
  expect(faults).toEqual([]);
});

test.each(kinds)("patterns of %s mean the same in RE2, which the API server uses", (kind) => {
  expect(faultsOf(kind, ({ pattern = "" }) => [/\(\?[=!<]|\\[1-9]/.test(pattern) && pattern])).toEqual([]);
});

test.each(kinds)("every field of %s is described", (kind) => {
  const faults = faultsOf(kind, ({ description = "" }, path) => {
    const isField = path.length > 0 && path[0] !== "metadata" && !["*", "{}"].includes(path.at(-1) ?? "");
    return [isField && !/^[A-Za-z$].{9}/.test(description) && "no description"];
  });
  expect(faults).toEqual([]);
});

test.each(kinds)("named lists of %s are maps by a required key", (kind) => {
  const faults = faultsOf(kind, (schema) => {
    const mapKeys = schema["x-kubernetes-list-map-keys"];
    const required = schema.items?.required ?? [];
    return [
      required.includes("name") && mapKeys?.join() !== "name" && "not keyed by name",
      mapKeys !== undefined && schema["x-kubernetes-list-type"] !== "map" && "keys without list type",
      ...(mapKeys ?? []).map((key) => !required.includes(key) && `key ${key} is not required`),
    ];
  });
  expect(faults).toEqual([]);
});

test.each(kinds)("every rule of %s with CEL is in the schema at its place, with its message", (kind) => {
  const root = structuralSchemaOf(kind);
  for (const rule of [...rules[kind], ...updateRules[kind]].filter(({ cel }) => cel !== undefined)) {
    const validations = at(root, rule.at)?.["x-kubernetes-validations"] ?? [];
    expect(validations.find((one) => one.rule === rule.cel)?.message).toBe(rule.message);
  }
});

test.each(kinds)("a rule of %s names a field that exists, or is about its whole entry", (kind) => {
  const root = structuralSchemaOf(kind);
  const wrong = [...rules[kind], ...updateRules[kind]].filter(({ cel, at: place, fieldPath }) => {
    const properties = at(root, place)?.properties ?? {};
    return cel !== undefined && fieldPath !== undefined && !Object.hasOwn(properties, fieldPath.slice(1));
  });
  expect(wrong).toEqual([]);
  const whole = rules[kind].filter(({ cel, fieldPath }) => cel !== undefined && fieldPath === undefined);
  const known = ["ToolKind", "ModuleSource", "NodeKind", "HeaderValue", "EmptyPolicy"];
  expect(whole.filter(({ code }) => !known.includes(code))).toEqual([]);
});

test.each(kinds)("a rule of %s without CEL is one that list-map-keys or sets enforce", (kind) => {
  const keyed = [...walk(structuralSchemaOf(kind))]
    .filter(({ schema }) => schema["x-kubernetes-list-type"] !== undefined)
    .map(({ path }) => path.join("."));
  // Two entries with every key in common, in whatever list the rule reads.
  const twins = [
    { name: "x", unit: "y" },
    { name: "x", unit: "y" },
  ];
  const loose = rules[kind].filter(({ cel, at: place, check }) => {
    const lists = keyed.filter((list) => list.startsWith(`${place.join(".")}.`));
    const isEnforced = (list: string) =>
      [twins, ["x", "x"]].some((same) => check({ [list.split(".").at(-1) ?? ""]: same }).length === 1);
    return cel === undefined && !lists.some(isEnforced);
  });
  expect(loose).toEqual([]);
});

test("exactly desiredState and the two retention fields of an Execution may be changed", () => {
  const fields = Object.keys(at(structuralSchemaOf("Execution"), ["spec"])?.properties ?? {});
  const free = fields.filter((field) => !(immutableFields as readonly string[]).includes(field));
  expect(free).toEqual(["desiredState", "journalRetentionSeconds", "ttlSecondsAfterFinished"]);
  expect(immutableFields.filter((field) => !fields.includes(field))).toEqual([]);
});

test("everything of a policy but enforcement counts as a rule", () => {
  const properties = at(structuralSchemaOf("GovernancePolicy"), ["spec"])?.properties ?? {};
  expect(Object.keys(properties).filter((field) => !(field in ruleFields))).toEqual(["enforcement"]);
  for (const [field, members] of Object.entries(ruleFields)) {
    expect(Object.keys(properties[field]?.properties ?? {})).toEqual(members);
  }
});

test("both kinds have status subresource, category and short name", () => {
  const [execution, policy] = kinds.map((kind) => crdOf(kind).spec);
  expect(execution?.names).toMatchObject({ shortNames: ["oaox"], categories: ["oao"] });
  expect(policy?.names).toMatchObject({ plural: "governancepolicies", shortNames: ["gpol"], categories: ["oao"] });
  for (const spec of [execution, policy]) expect(spec?.versions[0]?.subresources).toEqual({ status: {} });
  const columns = execution?.versions[0]?.additionalPrinterColumns ?? [];
  expect(columns.filter((column) => column.priority === undefined).map((column) => column.name.toUpperCase())).toEqual([
    "PHASE",
    "NODES",
    "STEPS",
    "TOKENS",
    "AGE",
  ]);
});

test("rules pass over fields of a wrong type", () => {
  const oddities: unknown[] = [
    null,
    3,
    "x",
    [],
    [null],
    {},
    { nodes: 3, finally: [null, { dependsOn: 7, agent: [] }] },
  ];
  for (const odd of oddities) {
    expect(() => checkRules("Execution", { spec: odd })).not.toThrow();
    expect(() => checkRules("GovernancePolicy", { spec: odd })).not.toThrow();
  }
});
