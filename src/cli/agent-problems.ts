/** Mistakes in agents' definitions that a worker finds when it makes the agent: found here before anything is spent. */
import { answerSchema } from "../adapters/langchain/schema.ts";
import { agentSpec } from "../api/execution.ts";
import { isFields, objectsOf } from "../api/fields.ts";
import type { JsonObject } from "../core/digest/json.ts";
import type { Finding } from "../core/manifest/schema-problems.ts";

/** Of one Execution as it was read. Entries that the schema refuses are left to the schema. */
export function agentProblems(value: unknown): Finding[] {
  const spec = isFields(value) && isFields(value.spec) ? value.spec : {};
  return objectsOf(spec, "agents").flatMap(({ index, entry }): Finding[] => {
    const parsed = agentSpec.safeParse(entry);
    if (!parsed.success || parsed.data.outputSchema === undefined) return [];
    const answer = answerSchema(parsed.data.outputSchema as JsonObject);
    if (!("problem" in answer)) return [];
    return [{ path: ["spec", "agents", index, "outputSchema"], code: "InvalidAgent", message: answer.problem }];
  });
}
