/** What people answered: annotations of the Execution, read; an approval node's answer, recorded in its journal. */
import { approvalPrefix } from "../api/common.ts";
import type { Approved, RecordedAnswer, SeenAnswer } from "../core/planner/types.ts";
import { itemName } from "../core/protocol/names.ts";
import { packBody } from "../core/steps/bodies.ts";
import type { EntryDraft } from "../core/steps/chain.ts";
import type { Finished } from "../core/steps/format.ts";
import { approvalDigest } from "../core/steps/identity.ts";
import type { ExecutionStatus } from "../api/status.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { HostIo } from "./io.ts";
import { recordEnd } from "./record-end.ts";

/** Answers to the open questions of `status`; anything else that an annotation says is nobody's answer. */
export async function readAnswers(
  run: StoredExecution,
  status: ExecutionStatus,
  io: HostIo,
): Promise<ReadonlyMap<string, SeenAnswer>> {
  const annotations = run.object.metadata.annotations ?? {};
  const answers = new Map<string, Omit<SeenAnswer, "proven">>();
  for (const { request, decision } of status.approvals ?? []) {
    if (decision !== undefined) continue;
    const said = /^(Approve|Reject):(.{1,256})$/.exec(annotations[`${approvalPrefix}${request}`] ?? "");
    if (said !== null)
      answers.set(request, { decision: said[1] === "Approve" ? "Approved" : "Rejected", by: said[2] ?? "" });
  }
  if (answers.size === 0) return new Map();
  const proven = await io.cluster.provesApprovals(run);
  return new Map([...answers].map(([request, answer]) => [request, { ...answer, proven }]));
}

/** The answer as a step of its own, and the end of its node. */
export async function recordAnswer(
  run: StoredExecution,
  answer: RecordedAnswer,
  io: Pick<HostIo, "journal">,
): Promise<void> {
  const { key, attempt, try: tryNumber, approval } = answer;
  const claimId = `approval/${approval.request}/${attempt}`;
  await recordEnd(run, { key, attempt, try: tryNumber, claimId, steps: 1, ...entriesOf(answer) }, io);
}

function entriesOf({ key, attempt, try: tryNumber, approval }: RecordedAnswer): {
  readonly drafts: readonly EntryDraft[];
  readonly bodies: ReturnType<typeof packBody>["bodies"];
  readonly finished: Finished;
} {
  const input = packBody({ message: approval.message });
  const output = packBody(outputOf(approval));
  const isApproved = approval.decision === "Approved";
  const error = isApproved ? null : { class: "Rejected", message: `rejected by ${approval.by}` };
  const common = { attempt, try: tryNumber };
  const step: EntryDraft = {
    type: "step",
    ...common,
    path: [0, 0],
    kind: "approval",
    name: itemName(key),
    requestDigest: approvalDigest(approval.message),
    occurrence: 0,
    input: { body: input.digest },
    output: { body: output.digest },
    error: null,
    usage: null,
    startedAt: approval.requestedAt,
    completedAt: approval.decidedAt,
    outcome: "Ok",
    toolCalls: [],
  };
  const finish: EntryDraft = {
    type: "finish",
    ...common,
    outcome: isApproved ? "Succeeded" : "Failed",
    output: isApproved ? { body: output.digest } : null,
    error,
    at: approval.decidedAt,
  };
  return {
    drafts: [step, finish],
    bodies: [...input.bodies, ...output.bodies],
    finished: isApproved
      ? { outcome: "Succeeded", output: output.digest, error: null }
      : { outcome: "Failed", output: null, error, final: true },
  };
}

/** What expressions read as the node's output. */
function outputOf({ decision, by, proven, decidedAt }: Approved) {
  return { decision, by, proven, at: decidedAt };
}
