import { z } from "zod";
import { execution } from "./execution.ts";
import { governancePolicy } from "./policy.ts";

/** The part of OpenAPI 3.0 schemas that the zod schemas of this folder turn into. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  /** `false` = no other members, `{}` = any JSON, a schema = a map of such values. */
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

export const kinds = ["Execution", "GovernancePolicy"] as const;
export type Kind = (typeof kinds)[number];

export const kindSchemas = { Execution: execution, GovernancePolicy: governancePolicy } as const;

const rendered = new Map<Kind, JsonSchema>();

/** The whole object of a kind as JSON Schema, from the zod schema. Throws for schemas that JSON Schema cannot say. */
export function jsonSchemaOf(kind: Kind): JsonSchema {
  const known = rendered.get(kind);
  if (known !== undefined) return known;
  const schema = z.toJSONSchema(kindSchemas[kind], {
    target: "openapi-3.0",
    io: "input",
    reused: "inline",
    cycles: "throw",
  }) as JsonSchema;
  rendered.set(kind, schema);
  return schema;
}

/** Any JSON goes: a provider's parameters, a JSON Schema, a run's input. */
export function isFreeForm(schema: JsonSchema): boolean {
  const more = schema.additionalProperties;
  return schema.properties === undefined && typeof more === "object" && Object.keys(more).length === 0;
}
