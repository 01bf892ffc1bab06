/** Mistakes in models' definitions that a worker finds when it makes the client: found here before anything is spent. */
import { modelSpec } from "../api/execution.ts";
import { isFields, objectsOf } from "../api/fields.ts";
import { baseUrlProblem } from "../core/policy/endpoints.ts";
import type { Finding } from "../core/manifest/schema-problems.ts";

/** Of one Execution as it was read. Entries that the schema refuses are left to the schema. */
export async function modelProblems(value: unknown): Promise<Finding[]> {
  const spec = isFields(value) && isFields(value.spec) ? value.spec : {};
  const found: Finding[] = [];
  for (const { index, entry } of objectsOf(spec, "models")) {
    const at = ["spec", "models", index] as const;
    const problem = typeof entry.baseURL === "string" ? baseUrlProblem(entry.baseURL) : undefined;
    if (problem !== undefined) found.push({ path: [...at, "baseURL"], code: "InvalidModel", message: problem });
    const parsed = modelSpec.safeParse(entry);
    if (!parsed.success || parsed.data.provider === "openai" || parsed.data.provider === "anthropic") continue;
    // LangChain's list is large, so it is read for other providers alone.
    const { providerPackage } = await import("../adapters/langchain/providers.ts");
    const answer = await providerPackage(parsed.data.provider);
    if ("problem" in answer) found.push({ path: [...at, "provider"], code: "InvalidModel", message: answer.problem });
  }
  return found;
}
