import { apiVersion } from "../../api/common.ts";
import { isFreeForm, type JsonSchema, jsonSchemaOf, type Kind, kinds } from "../../api/json-schema.ts";
import { rules, updateRules } from "../../api/rules.ts";

/** One field of a kind, for people. Everything comes from the schemas. */
export interface FieldDoc {
  /** As it is asked for: `execution.spec.nodes.when`. */
  readonly path: string;
  readonly kind: Kind;
  /** The field's own name; the kind for the root. */
  readonly name: string;
  /** `text`, `whole number`, `true or false`, `object`, `any JSON object`, `list of …`, `map of …`. */
  readonly type: string;
  readonly description: string;
  readonly required: boolean;
  /** The values there are; empty = free. */
  readonly enum: readonly string[];
  /** Such as `1 to 100`, `at most 63 characters`, `matches …`. */
  readonly limits: readonly string[];
  /** Rules between fields that hold for this one, in words. */
  readonly rules: readonly string[];
  /** Names of the fields below, required ones first. */
  readonly children: readonly string[];
}

const roots: Readonly<Record<string, Kind>> = {
  execution: "Execution",
  executions: "Execution",
  oaox: "Execution",
  governancepolicy: "GovernancePolicy",
  governancepolicies: "GovernancePolicy",
  gpol: "GovernancePolicy",
};

interface Field {
  readonly steps: readonly string[];
  readonly schema: JsonSchema;
  readonly required: boolean;
}

/**
 * The documentation of a field, as in `execution.spec.nodes.when`, `gpol.spec.tools.hosts` or
 * `execution.spec.nodes[2].when`. Undefined if there is no such field.
 */
export function explain(path: string): FieldDoc | undefined {
  const [root = "", ...steps] = path
    .replaceAll(/\[[^\]]*\]/g, "")
    .split(".")
    .filter((step) => step !== "");
  const kind = Object.hasOwn(roots, root.toLowerCase()) ? roots[root.toLowerCase()] : undefined;
  if (kind === undefined) return undefined;
  let field: Field = { steps: [], schema: jsonSchemaOf(kind), required: true };
  for (const step of steps) {
    const child = childrenOf(field).find((one) => one.steps.at(-1) === step);
    if (child === undefined) return undefined;
    field = child;
  }
  return docOf(kind, field);
}

/** Every field of both kinds, parents before children, in the order of the schemas. */
export function listFields(): FieldDoc[] {
  return kinds.flatMap((kind) => {
    const found: FieldDoc[] = [];
    const visit = (field: Field): void => {
      found.push(docOf(kind, field));
      for (const child of childrenOf(field)) visit(child);
    };
    visit({ steps: [], schema: jsonSchemaOf(kind), required: true });
    return found;
  });
}

/** Lists are passed through: a path names fields, not entries. */
function insideOf(schema: JsonSchema): JsonSchema {
  return schema.items === undefined ? schema : insideOf(schema.items);
}

function childrenOf(field: Field): Field[] {
  const { properties = {}, required = [] } = insideOf(field.schema);
  return Object.entries(properties).map(([name, schema]) => ({
    steps: [...field.steps, name],
    schema,
    required: required.includes(name),
  }));
}

function docOf(kind: Kind, field: Field): FieldDoc {
  const { steps, schema, required } = field;
  const inner = insideOf(schema);
  const children = childrenOf(field).toSorted((a, b) => Number(b.required) - Number(a.required));
  const isRoot = steps.length === 0;
  return {
    path: [kind.toLowerCase(), ...steps].join("."),
    kind,
    name: steps.at(-1) ?? kind,
    type: typeOf(schema),
    description: isRoot ? (schema.properties?.kind?.description ?? "") : (schema.description ?? ""),
    required,
    enum: (
      inner.enum ??
      (typeof schema.additionalProperties === "object" ? schema.additionalProperties.enum : []) ??
      []
    ).map(String),
    limits: isRoot
      ? [`apiVersion: ${apiVersion}`]
      : [...limitsOf(schema), ...(schema.items === undefined ? [] : limitsOf(inner).map((limit) => `each ${limit}`))],
    rules: rulesOf(kind, steps),
    children: children.map((child) => child.steps.at(-1) ?? ""),
  };
}

function typeOf(schema: JsonSchema): string {
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  if (isFreeForm(schema)) return "any JSON object";
  if (schema.properties === undefined && typeof schema.additionalProperties === "object")
    return `map of ${typeOf(schema.additionalProperties)}`;
  const names: Readonly<Record<string, string>> = {
    string: "text",
    integer: "whole number",
    number: "number",
    boolean: "true or false",
    object: "object",
  };
  return names[schema.type ?? ""] ?? "any JSON";
}

function limitsOf(schema: JsonSchema): string[] {
  return [
    range(schema.minimum, schema.maximum, ""),
    range(schema.minLength, schema.maxLength, " characters"),
    range(schema.minItems, schema.maxItems, " entries"),
    schema.pattern === undefined ? "" : `matches ${schema.pattern}`,
  ].filter((limit) => limit !== "");
}

function range(from: number | undefined, to: number | undefined, unit: string): string {
  if (from === undefined) return to === undefined ? "" : `at most ${to}${unit}`;
  return to === undefined ? `at least ${from}${unit}` : `${from} to ${to}${unit}`;
}

function rulesOf(kind: Kind, steps: readonly string[]): string[] {
  const path = steps.join(".");
  const about = [...rules[kind], ...updateRules[kind]].filter((rule) => {
    const place = [
      ...rule.at.filter((step) => step !== "*"),
      ...(rule.fieldPath === undefined ? [] : [rule.fieldPath.slice(1)]),
    ];
    return place.join(".") === path;
  });
  return [...new Set(about.map((rule) => rule.message))];
}
