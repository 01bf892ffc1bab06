import { Ajv2020 } from "ajv/dist/2020.js";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { schemaPatterns } from "../../core/expressions/schema-patterns.ts";

/** Undefined = fits; else what does not, for a model to read. Always the same text for the same value. */
export type SchemaCheck = (value: Json) => string | undefined;

/** Compiles a JSON Schema, or says why it is none. Formats are not checked: models are told about them, no more. */
export function schemaCheck(schema: JsonObject): { readonly check: SchemaCheck } | { readonly problem: string } {
  const ajv = new Ajv2020({
    strict: false,
    allErrors: true,
    validateFormats: false,
    logger: false,
    code: { regExp: schemaPatterns },
  });
  // Older dialects are read as 2020-12: naming one would only make the library look for its meta schema.
  const { $schema: _, ...rules } = schema;
  if ("$async" in rules) return { problem: "is no usable JSON Schema: $async is not supported" };
  try {
    const validate = ajv.compile(rules);
    return {
      check: (value) =>
        validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: "arguments" }).slice(0, 2_000),
    };
  } catch (error) {
    return { problem: `is no usable JSON Schema: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** An agent's outputSchema as the model is given it: an answer is the arguments of a tool, so it is an object. */
export function answerSchema(
  outputSchema: JsonObject,
): { readonly schema: JsonObject; readonly check: SchemaCheck } | { readonly problem: string } {
  const schema: JsonObject = { type: "object", properties: {}, ...outputSchema };
  if (schema["type"] !== "object")
    return { problem: `must describe an object (type: object), not ${JSON.stringify(schema["type"])}` };
  const compiled = schemaCheck(schema);
  return "problem" in compiled ? compiled : { schema, check: compiled.check };
}
