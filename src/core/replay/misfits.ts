/** Whether what a replay changes makes a spec that can be run. */
import { apiVersion } from "../../api/common.ts";
import type { ExecutionSpec } from "../../api/types.ts";
import type { Json } from "../digest/json.ts";
import { lintObject } from "../manifest/lint.ts";
import { pathText } from "../manifest/problem.ts";

/**
 * What lint says of the changed spec and not of the recorded one: that one was run, whatever this version says of it.
 * Empty = it fits. Never throws, whatever the fields hold.
 */
export function misfits(recorded: ExecutionSpec, changed: ExecutionSpec): readonly string[] {
  const found = problemsOf(changed);
  if (found.length === 0) return found;
  const known = new Set(problemsOf(recorded));
  return found.filter((each) => !known.has(each));
}

/** How it is replayed is no part of what is run. */
function problemsOf(asWritten: ExecutionSpec): readonly string[] {
  const { replay: _, ...spec } = asWritten;
  const object = { apiVersion, kind: "Execution", metadata: { name: "replay" }, spec } as unknown as Json;
  return lintObject("Execution", object)
    .filter(({ severity }) => severity !== "Warning")
    .map(({ path, message, hint = "" }) => `${pathText(path)}: ${message}${hint === "" ? "" : ` (${hint})`}`);
}
