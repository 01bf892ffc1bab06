/** JSON Schema for tool arguments. ajv is loaded only when a tool has a schema: a worker without one must start fast. */
import type { Ajv } from "ajv";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { CallFailure } from "../../ports/step.ts";
import { InvalidTool } from "./invalid-tool.ts";

/** Returns the arguments when they fit; throws CallFailure InvalidRequest (nothing was sent, the same arguments fail again). */
export type ArgumentCheck = (args: Json) => JsonObject;

/**
 * Compiles a schema once. Without `$schema` it is JSON Schema 2020-12; draft-07 when it says so.
 * `format` is an annotation, defaults are not filled in, types are not converted: what was recorded is what is sent.
 * Throws InvalidTool naming `field` when the schema is wrong, names another document, or has a pattern that RE2 refuses.
 */
export async function compileArguments(
  tool: string,
  field: string,
  schema: object | undefined,
): Promise<ArgumentCheck> {
  if (schema === undefined) return (args) => anyObject(tool, args);
  const compiler = await compilerFor(tool, field, schema);
  const fits = compile(compiler, tool, field, schema);
  return (args) => {
    const object = anyObject(tool, args);
    let ok: unknown;
    try {
      ok = fits(object);
    } catch (error) {
      // A schema that refers to itself without an end, or arguments nested as deep as the stack.
      throw invalidArguments(tool, `they could not be checked: ${String(error)}`);
    }
    if (ok !== true) throw invalidArguments(tool, describe(fits.errors?.[0]));
    return object;
  };
}

function compile(compiler: Ajv, tool: string, field: string, schema: object): ReturnType<Ajv["compile"]> {
  if ("$async" in schema) throw new InvalidTool(tool, field, "$async is not supported");
  try {
    return compiler.compile(schema);
  } catch (error) {
    throw new InvalidTool(
      tool,
      field,
      `is no usable JSON Schema: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function compilerFor(tool: string, field: string, schema: object): Promise<Ajv> {
  const dialect =
    "$schema" in schema
      ? String(schema.$schema)
          .replace(/^http:/, "https:")
          .replace(/#$/, "")
      : "";
  const { schemaPatterns } = await import("../../core/expressions/schema-patterns.ts");
  const options = { strict: false, validateFormats: false, logger: false, code: { regExp: schemaPatterns } } as const;
  switch (dialect) {
    case "":
    case "https://json-schema.org/draft/2020-12/schema": {
      const { Ajv2020 } = await import("./json-schema.ts");
      return new Ajv2020(options);
    }
    case "https://json-schema.org/draft-07/schema": {
      const { Ajv: Ajv07 } = await import("./json-schema.ts");
      return new Ajv07(options);
    }
    default:
      throw new InvalidTool(tool, field, `$schema ${dialect} is not supported; use 2020-12 or draft-07`);
  }
}

function anyObject(tool: string, args: Json): JsonObject {
  if (isObject(args)) return args;
  throw invalidArguments(tool, "arguments must be an object");
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** For refusals of arguments before anything is sent. */
export function invalidArguments(tool: string, problem: string): CallFailure {
  return new CallFailure("InvalidRequest", `Invalid arguments of tool ${tool}: ${problem}`, { sent: false });
}

interface SchemaProblem {
  readonly instancePath: string;
  readonly message?: string;
  readonly params: Record<string, unknown>;
}

function describe(problem: SchemaProblem | undefined): string {
  if (problem === undefined) return "they do not fit the schema";
  const { additionalProperty, unevaluatedProperty, allowedValues, allowedValue } = problem.params;
  const detail = additionalProperty ?? unevaluatedProperty ?? allowedValues ?? allowedValue;
  const shown = detail === undefined ? "" : ` (${JSON.stringify(detail).slice(0, 300)})`;
  return `arguments${problem.instancePath} ${problem.message ?? "does not fit the schema"}${shown}`;
}
