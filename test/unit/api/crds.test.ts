import { readdirSync, readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { expect, test } from "vitest";
import { crdOf, renderCrds, structuralSchemaOf } from "../../../src/api/crds.ts";
import { immutableFields } from "../../../src/api/execution-rules.ts";
import { kinds } from "../../../src/api/json-schema.ts";
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

const allowedKeys = new Set([
  ...["type", "description", "properties", "required", "items", "additionalProperties", "enum", "pattern", "minLength"],
  ...["maxLength", "minItems", "maxItems", "maxProperties", "minimum", "maximum"],
  ...["x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"],
  "x-kubernetes-validations",
]);

test.each(kinds)("%s has only keys that a structural schema may have, a type everywhere and no defaults", (kind) => {
  for (const { path, schema } of walk(structuralSchemaOf(kind))) {
    const where = path.join(".");
    for (const key of Object.keys(schema)) expect(allowedKeys, where).toContain(key);
    expect(["object", "array", "string", "integer", "boolean"], where).toContain(schema.type);
    if (schema.type === "array") expect(schema.items, where).toBeDefined();
    if (schema.additionalProperties !== undefined) expect(schema.properties, where).toBeUndefined();
    for (const name of schema.required ?? []) expect(Object.keys(schema.properties ?? {}), where).toContain(name);
    if (schema.type === "object" && schema.properties === undefined && schema.additionalProperties === undefined) {
      expect(schema["x-kubernetes-preserve-unknown-fields"], where).toBe(true);
    }
  }
});

test.each(kinds)("every list, map and text of %s is bounded, so that the API server can price the rules", (kind) => {
  for (const { path, schema } of walk(structuralSchemaOf(kind))) {
    const where = path.join(".");
    if (schema.type === "array") expect(schema.maxItems, where).toBeGreaterThan(0);
    if (schema.additionalProperties !== undefined) expect(schema.maxProperties, where).toBeGreaterThan(0);
    if (schema.type === "string" && schema.enum === undefined && path.length > 1) {
      expect(schema.maxLength, where).toBeGreaterThan(0);
    }
  }
});

test.each(kinds)("patterns of %s mean the same in RE2, which the API server uses", (kind) => {
  for (const { path, schema } of walk(structuralSchemaOf(kind))) {
    expect(schema.pattern ?? "", path.join(".")).not.toMatch(/\(\?[=!<]|\\[1-9]/);
  }
});

test.each(kinds)("every field of %s is described", (kind) => {
  for (const { path, schema } of walk(structuralSchemaOf(kind))) {
    const last = path.at(-1);
    if (last === undefined || last === "*" || last === "{}" || path[0] === "metadata") continue;
    expect(schema.description ?? "", path.join(".")).toMatch(/^[A-Za-z$].*[^ ]$/);
  }
});

test.each(kinds)("named lists of %s are maps by a required key", (kind) => {
  for (const { path, schema } of walk(structuralSchemaOf(kind))) {
    const keys = schema["x-kubernetes-list-map-keys"];
    if (schema.items?.required?.includes("name") === true) expect(keys, path.join(".")).toEqual(["name"]);
    for (const key of keys ?? []) {
      expect(schema["x-kubernetes-list-type"]).toBe("map");
      expect(schema.items?.required, path.join(".")).toContain(key);
    }
  }
});

test.each(kinds)(
  "every rule of %s with CEL is in the schema at its place, with message and a fieldPath that exists",
  (kind) => {
    const root = structuralSchemaOf(kind);
    for (const rule of [...rules[kind], ...updateRules[kind]]) {
      if (rule.cel === undefined) continue;
      const place = at(root, rule.at);
      const validation = place?.["x-kubernetes-validations"]?.find((one) => one.rule === rule.cel);
      expect(validation?.message).toBe(rule.message);
      expect(rule.message.length).toBeGreaterThan(10);
      if (rule.fieldPath === undefined)
        expect(rule.at.at(-1), "only rules of a whole entry have no field").not.toBeUndefined();
      else expect(Object.keys(place?.properties ?? {})).toContain(rule.fieldPath.slice(1));
    }
  },
);

test.each(kinds)("a rule of %s without CEL is one that list-map-keys enforce", (kind) => {
  const keyed = new Set(
    [...walk(structuralSchemaOf(kind))]
      .filter(({ schema }) => schema["x-kubernetes-list-map-keys"])
      .map(({ path }) => path.join(".")),
  );
  const bare = rules[kind].filter((rule) => rule.cel === undefined);
  for (const rule of bare) {
    // Two entries with every key in common, in whatever list the rule reads.
    const lists = [...keyed].filter((list) => list.startsWith(`${rule.at.join(".")}.`));
    const twins = [
      { name: "x", unit: "y" },
      { name: "x", unit: "y" },
    ];
    const broken = lists.filter((list) => rule.check({ [list.split(".").at(-1) ?? ""]: twins }).length === 1);
    expect(broken, rule.message).not.toEqual([]);
  }
});

test("exactly desiredState and journalRetentionSeconds of an Execution may be changed", () => {
  const fields = Object.keys(at(structuralSchemaOf("Execution"), ["spec"])?.properties ?? {});
  const free = fields.filter((field) => !(immutableFields as readonly string[]).includes(field));
  expect(free).toEqual(["desiredState", "journalRetentionSeconds"]);
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
    ...["PHASE", "NODES", "STEPS", "TOKENS", "AGE"],
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
