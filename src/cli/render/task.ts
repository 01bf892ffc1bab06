import type { JsonObject } from "../../core/digest/json.ts";
import type { StoredExecution } from "../../ports/cluster.ts";

/** What the run is for, its expressions evaluated; as it is written where they cannot be. */
export async function taskOf({ object: { spec } }: StoredExecution): Promise<string> {
  const { interpolate } = await import("../../core/expressions/evaluate.ts");
  try {
    const task = interpolate(spec.task ?? "", { input: (spec.input ?? {}) as JsonObject, nodes: new Map() });
    return typeof task === "string" ? task : JSON.stringify(task);
  } catch {
    return spec.task ?? "";
  }
}
