import type { z } from "zod";
import { type Fields, isFields, type Path } from "../../api/fields.ts";
import { isFreeForm, type JsonSchema, jsonSchemaOf, type Kind, kindSchemas } from "../../api/json-schema.ts";
import { suggestion } from "./problem.ts";
import { isUnsupportedField, notSupported } from "./unsupported.ts";

/** A problem of a value, before it is known where in a file the value stands. */
export interface Finding {
  readonly path: Path;
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly severity?: "Warning";
  /** The problem is about the name of the field, not its value. */
  readonly atKey?: true;
}

/** Fields that no schema knows, with the nearest that it does. Free-form fields are not entered. */
export function unknownFields(kind: Kind, value: unknown): Finding[] {
  const found: Finding[] = [];
  visit(kind, jsonSchemaOf(kind), value, [], found);
  return found;
}

function visit(kind: Kind, schema: JsonSchema, value: unknown, path: Path, found: Finding[]): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (items !== undefined) value.forEach((entry, index) => visit(kind, items, entry, [...path, index], found));
    return;
  }
  if (!isFields(value) || isFreeForm(schema)) return;
  const { properties, additionalProperties } = schema;
  for (const [name, member] of Object.entries(value)) {
    const property = properties !== undefined && Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property !== undefined) visit(kind, property, member, [...path, name], found);
    else if (additionalProperties === false)
      found.push(unknownField(kind, properties ?? {}, value, name, [...path, name]));
  }
}

function unknownField(
  kind: Kind,
  properties: Readonly<Record<string, JsonSchema>>,
  parent: Fields,
  name: string,
  path: Path,
): Finding {
  if (isUnsupportedField(kind, patternOf(path))) {
    return { path, code: "NotSupported", message: `${name} ${notSupported}`, hint: "remove it", atKey: true };
  }
  // A field one level too high is the commonest slip: prompt beside agent instead of inside.
  const home = Object.entries(properties).find(
    ([field, schema]) =>
      schema.properties !== undefined && Object.hasOwn(schema.properties, name) && isFields(parent[field]),
  );
  const known = Object.keys(properties);
  const hint = home === undefined ? suggestion(name, known) : `${name} belongs inside ${home[0]}`;
  return { path, code: "UnknownField", message: `unknown field "${shorten(name)}"`, hint, atKey: true };
}

/** `["spec", "nodes", 2, "when"]` as `spec.nodes.*.when`. */
export function patternOf(path: Path): string {
  return path.map((step) => (typeof step === "number" ? "*" : step)).join(".");
}

/** What the zod schema refuses, in words. Unknown fields are left to `unknownFields`. */
export function schemaProblems(kind: Kind, value: unknown): Finding[] {
  const result = kindSchemas[kind].safeParse(value);
  if (result.success) return [];
  return result.error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") return [];
    const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
    return [{ path, ...inWords(issue, path, valueAt(value, path)) }];
  });
}

type Words = Omit<Finding, "path">;

function inWords(issue: z.core.$ZodIssue, path: Path, value: unknown): Words {
  const field = String(path.at(-1) ?? "the object");
  if (value === undefined) return { code: "MissingField", message: `${field} is missing` };
  if (value === null) return { code: "WrongType", message: `${field} is empty`, hint: "remove it or give it a value" };
  if (issue.code === "invalid_type") {
    const message = `must be ${typeName(issue.expected)}, but is ${shown(value)}`;
    return { code: "WrongType", message, ...typeHint(issue.expected, value) };
  }
  if (issue.code === "invalid_value") return wrongChoice(issue.values, path, value);
  if (issue.code === "too_big") {
    return { code: "TooLarge", message: sizeWords(issue.origin, "at most", issue.maximum, value) };
  }
  if (issue.code === "too_small") {
    return { code: "TooSmall", message: sizeWords(issue.origin, "at least", issue.minimum, value) };
  }
  if (issue.code === "invalid_key") {
    const why = issue.issues[0]?.message ?? "is not allowed";
    return { code: "InvalidName", message: `the name "${shorten(field)}" ${why}`, atKey: true };
  }
  return { code: "InvalidValue", message: `${shown(value)} ${issue.message}` };
}

function wrongChoice(choices: readonly unknown[], path: Path, value: unknown): Words {
  if (value === "PolicyViolation" && path.includes("retryOn")) {
    return {
      code: "PolicyViolationRetry",
      message: "a PolicyViolation is never retried: a run that breaks a policy stops",
      hint: "remove it; if the limit is wrong, change the policy",
    };
  }
  const names = choices.map(String);
  const message =
    names.length === 1
      ? `must be ${names[0]}, but is ${shown(value)}`
      : `must be one of ${names.join(", ")}, but is ${shown(value)}`;
  const hint = typeof value === "string" && names.length > 1 ? suggestion(value, names) : "";
  return { code: "InvalidValue", message, ...(hint.startsWith("did you mean") ? { hint } : {}) };
}

function sizeWords(origin: string, bound: string, limit: number | bigint, value: unknown): string {
  if (typeof value === "string") {
    return value === "" ? "must not be empty" : `has ${value.length} characters; ${bound} ${limit} are allowed`;
  }
  if (Array.isArray(value)) return `has ${value.length} entries; ${bound} ${limit} are allowed`;
  return origin === "int" || origin === "number"
    ? `must be ${bound} ${limit}, but is ${shown(value)}`
    : `has a wrong size; ${bound} ${limit}`;
}

const typeNames: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

function typeName(expected: string): string {
  return typeNames[expected] ?? expected;
}

function typeHint(expected: string, value: unknown): { hint?: string } {
  if (expected === "string" && (typeof value === "number" || typeof value === "boolean"))
    return { hint: `write "${String(value)}" in quotes` };
  if (
    typeof value === "string" &&
    (expected === "number" || expected === "int") &&
    value.trim() !== "" &&
    Number.isInteger(Number(value))
  ) {
    return { hint: "remove the quotes" };
  }
  if (expected === "boolean" && typeof value === "string") return { hint: "write true or false, without quotes" };
  if (expected === "array") return { hint: "start each entry with '-'" };
  return {};
}

/** A value as a message can hold it. */
export function shown(value: unknown): string {
  if (value === null) return "empty";
  if (Array.isArray(value)) return value.length === 1 ? "a list of 1 entry" : `a list of ${value.length} entries`;
  if (typeof value === "object") return "an object";
  return typeof value === "string" ? `the text "${shorten(value)}"` : JSON.stringify(value);
}

export function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, " ");
  return (line.length <= 60 ? line : `${line.slice(0, 59)}…`).toWellFormed();
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
