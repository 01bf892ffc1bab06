/** A tool call of a replay that is answered from the record although it stands after the cursor. */
import type { Json } from "../core/digest/json.ts";
import { zeroAmounts } from "../core/protocol/amounts.ts";
import type { RecordedCall } from "../core/replay/reused-steps.ts";
import type { NodeContext } from "./node-context.ts";
import type { CallIdentity, Recorder } from "./recorder.ts";

/**
 * After the cursor of a replay: the tool was called with these arguments before, and is not called again. What it recorded inside is
 * part of the record too. Nothing is charged (J4).
 */
export async function recordedAnswer(
  context: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  answer: RecordedCall,
): Promise<Json> {
  for (const inner of context.reused?.steps.inside(answer) ?? []) {
    const path = [...identity.path, ...inner.entry.path.slice(answer.entry.path.length)];
    const { kind, name, requestDigest, occurrence } = inner.entry;
    const same = { kind, name, requestDigest, occurrence, path };
    if ((await recorder.lookup(same)) === undefined) await recordAgain(context, recorder, same, inner);
  }
  const body = answer.entry.output?.body;
  const output = body === undefined ? null : await context.bodies.read(body);
  await recordAgain(context, recorder, identity, answer);
  return output;
}

/** By reference. */
async function recordAgain(
  { clock }: NodeContext,
  recorder: Recorder,
  identity: CallIdentity,
  { entry, journal }: RecordedCall,
): Promise<void> {
  await recorder.step({
    identity,
    input: entry.input,
    outcome: "Ok",
    answeredBy: { uid: entry.from ?? journal.uid ?? "", body: entry.output?.body ?? null },
    startedAtMs: clock.nowMs(),
    free: zeroAmounts,
    settled: zeroAmounts,
    overshoot: zeroAmounts,
  });
}
