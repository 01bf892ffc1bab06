/** Structured output: the schema as the one tool through which the model gives its answer. */
import { StructuredOutputParsingError, type ToolStrategy, toolStrategy } from "langchain";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { AgentFailure } from "./failures.ts";
import { answerSchema, type SchemaCheck } from "./schema.ts";

/** LangChain takes calls of such names for structured answers and never makes them. */
export const answerPrefix = "extract-";

export interface Answer {
  readonly toolName: string;
  readonly format: ToolStrategy[];
  readonly check: SchemaCheck;
}

/**
 * Converted once per run and always named `extract-1`: LangChain names untitled schemas from a counter of the process,
 * and a title need not be a name that providers accept. Throws AgentFailure InvalidSpec.
 */
export function answerFormat(agent: string, outputSchema: JsonObject): Answer {
  const answer = answerSchema(outputSchema);
  if ("problem" in answer) throw new AgentFailure("InvalidSpec", `agent ${agent}: outputSchema ${answer.problem}`);
  const { schema, check } = answer;
  // A title keeps LangChain from drawing a number; the name is set below, the title stays the user's.
  const titled = { ...structuredClone(schema), type: "object" as const, title: `${answerPrefix}1` };
  const format: ToolStrategy[] = [...toolStrategy([titled])];
  for (const strategy of format) {
    const { tool } = strategy;
    // LangChain's own validator runs patterns on the built-in engine, which what a model wrote could hold for minutes.
    strategy.parse = (value) => {
      const problem = check(value as Json);
      if (problem !== undefined) throw new StructuredOutputParsingError(`${answerPrefix}1`, [problem]);
      return value;
    };
    tool.function.name = `${answerPrefix}1`;
    tool.function.parameters = structuredClone(schema) as Record<string, unknown>;
  }
  return { toolName: `${answerPrefix}1`, format, check };
}
