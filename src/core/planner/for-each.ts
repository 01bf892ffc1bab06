/** The end of a forEach node: one failed item fails it, all succeeded make the ordered list. */
import type { Json } from "../digest/json.ts";
import { itemName } from "../protocol/names.ts";
import { packBody } from "../steps/bodies.ts";
import { cancelRow, takeOver } from "./advance.ts";
import { type Draft, endWithout, recordOf, stopOf, wakeNow } from "./draft.ts";
import { isAtWork, isEnded } from "./node-machine.ts";
import { originEnd } from "./origin.ts";
import { apply, finishedOf, type NodeRow, type Row } from "./rows.ts";

/** For a forEach node that has been expanded and is not ended; its items have been advanced. */
export function settleForEach(draft: Draft, row: NodeRow): void {
  if (row.itemCount === undefined || isEnded(row.state)) return;
  const stop = stopOf(draft, row);
  const failed = row.items.find((item) => item.state === "Failed");
  if (stop !== undefined || failed !== undefined) {
    // Siblings at work go on to their own end; what waits never starts, but for what is taken over: that has its end.
    for (const item of row.items) {
      const end = originEnd(draft.seen, item);
      if (end !== undefined) takeOver(draft, item, end);
      if (!isAtWork(item.state)) cancelRow(draft, item);
    }
    if (!row.items.every((item) => isEnded(item.state))) return;
    sumSteps(row);
    row.itemsDone = row.items.filter((item) => item.state === "Succeeded").length;
    if (failed === undefined) return apply(row, "cancel", draft.nowMs, stop?.reason);
    const message = `item ${failed.key.item ?? 0}: ${failed.message ?? failed.reason ?? ""}`;
    return apply(row, "fail", draft.nowMs, failed.reason, message);
  }
  const isComplete = row.items.length === row.itemCount && row.items.every((item) => item.state === "Succeeded");
  if (isComplete) gather(draft, row);
}

function gather(draft: Draft, row: NodeRow): void {
  const outputs: Json[] = [];
  for (const item of row.items) {
    const output = outputOf(draft, item);
    if (output === "NotRead") return wakeNow(draft);
    if ("absent" in output) return endWithout(draft, row, output.absent, itemName(item.key));
    outputs.push(output.value);
  }
  const packed = packBody(outputs);
  draft.bodies.push(...packed.bodies);
  row.output = packed.digest;
  sumSteps(row);
  apply(row, "succeed", draft.nowMs);
}

function outputOf(draft: Draft, item: Row): { readonly value: Json } | { readonly absent: string } | "NotRead" {
  const finished = finishedOf(item, recordOf(draft, item.key));
  if (finished === undefined) return "NotRead";
  if (finished.output === null) return { value: null };
  const value = draft.seen.outputs.get(finished.output);
  if (value !== undefined) return { value };
  return draft.asked.has(finished.output) ? { absent: finished.output } : "NotRead";
}

function sumSteps(row: NodeRow): void {
  row.steps = row.items.reduce((sum, item) => sum + (item.steps ?? 0), 0);
}
