import { isFields } from "../../api/fields.ts";
import type { ExecutionSpec } from "../../api/types.ts";
import { driftOf, driftText, executionHash } from "../hash/execution-hash.ts";
import type { Finding } from "./schema-problems.ts";

export const hashMismatch = "HashMismatch";

/**
 * Parts that are not what expectedHash says. Which policies will govern is not known to a file, so neither is the policy part,
 * nor the whole; what a replay inherits is not known either.
 */
export function hashProblems(spec: ExecutionSpec): Finding[] {
  if (!isFields(spec.expectedHash) || "replay" in spec) return [];
  const { policy: _, ...known } = executionHash(spec, []).hashParts;
  return driftOf(spec.expectedHash, known).map((drift) => ({
    path: ["spec", "expectedHash", drift.part],
    code: hashMismatch,
    message: driftText([drift]),
    hint: `oao hash FILE --explain shows what is hashed; if the change is meant, write ${drift.actual}`,
  }));
}
