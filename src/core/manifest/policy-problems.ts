import { shownSpec } from "../replay/spec.ts";
import type { Execution } from "../../api/types.ts";
import { checkSpecAgainstPolicy } from "../policy/checks.ts";
import type { EffectivePolicy } from "../policy/types.ts";
import { type ManifestObject, toProblem } from "./lint.ts";
import type { Problem } from "./problem.ts";

/** What the policies would refuse of a manifest, at the place in its file; Audit policies give warnings. */
export function policyProblems({ document, object }: ManifestObject<Execution>, policy: EffectivePolicy): Problem[] {
  return checkSpecAgainstPolicy(shownSpec(object, undefined), policy).map(
    ({ at, message, path, policy: name, enforcement }) =>
      toProblem(document, {
        path: at,
        code: "PolicyViolation",
        message,
        hint: name === "" ? `see ${path} of a GovernancePolicy` : `see ${path} of GovernancePolicy ${name}`,
        ...(enforcement === "Audit" ? { severity: "Warning" as const } : {}),
      }),
  );
}
