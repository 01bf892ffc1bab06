import { Ajv2020 } from "ajv/dist/2020.js";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { schemaPatterns } from "../../core/expressions/schema-patterns.ts";

/** Undefined = fits; else what does not, for a model to read. Always the same text for the same value. */
export type SchemaCheck = (value: Json) => string | undefined;

/** Compiles a JSON Schema; undefined = it is none, or has a pattern that RE2 refuses. Formats are not checked: models are told about them, no more. */
export function schemaCheck(schema: JsonObject): SchemaCheck | undefined {
  const ajv = new Ajv2020({
    strict: false,
    allErrors: true,
    validateFormats: false,
    logger: false,
    code: { regExp: schemaPatterns },
  });
  // Older dialects are read as 2020-12: naming one would only make the library look for its meta schema.
  const { $schema: _, ...rules } = schema;
  try {
    const validate = ajv.compile(rules);
    return (value) =>
      validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: "arguments" }).slice(0, 2_000);
  } catch {
    return undefined;
  }
}
