/** The end of a Strict replay: what its one worker found, and that the run ended as its parent did. */
import type { NodeStatus } from "../../api/status.ts";
import { divergenceText } from "../replay/divergence.ts";
import { strictNode, type Verdict } from "../replay/strict.ts";
import { type Draft, outputDigest } from "./draft.ts";
import type { Outcome } from "./outcome.ts";

/** Undefined = no Strict replay, or it came to no end. */
export function verdictOf(draft: Draft): Verdict | undefined {
  if (draft.seen.replay?.mode !== "Strict") return undefined;
  const digest = outputDigest(draft, strictNode);
  const verdict = typeof digest === "string" ? draft.seen.outputs.get(digest) : undefined;
  return verdict as Verdict | undefined;
}

/** The parent's own end, or where the two part. */
export function strictOutcome(draft: Draft, verdict: Verdict): Outcome {
  const { divergedAt } = verdict;
  if (divergedAt !== undefined)
    return { phase: "Failed", reason: "Divergence", message: `Divergence: ${divergenceText(divergedAt)}` };
  const { phase, reason, message } = draft.seen.replay?.end ?? { phase: "Succeeded", reason: "Succeeded", message: "" };
  return { phase, reason, message };
}

/** Once verified, the nodes of the run are those of its parent. */
export function strictRows(draft: Draft): readonly NodeStatus[] | undefined {
  const verdict = verdictOf(draft);
  return verdict === undefined || verdict.divergedAt !== undefined ? undefined : draft.seen.replay?.end?.nodes;
}
