/** The end of a run: how it ended, what came out, and the anchor of its journal. */
import { statusLimits } from "../../api/status.ts";
import { canonicalJson } from "../digest/digest.ts";
import type { Json } from "../digest/json.ts";
import { packBody } from "../steps/bodies.ts";
import { journalHead } from "../trace/head.ts";
import { type Draft, outputDigest, recordOf } from "./draft.ts";
import { keysOf } from "./needs.ts";
import { apply, finishedOf, type NodeRow, workRows } from "./rows.ts";

export interface Outcome {
  readonly phase: "Succeeded" | "Failed" | "Cancelled";
  /** Succeeded, one of the stops, PolicyViolation, RecordChanged, InfrastructureLost, NodeFailed or FinallyFailed. */
  readonly reason: string;
  readonly message: string;
}

/**
 * A stop, then a failed main node, then a failed finally node: what tidies up is part of the work, so its failure fails
 * a run that would have succeeded (as in Tekton). Only meaningful for the main nodes until they have all ended.
 */
export function outcomeOf(draft: Draft): Outcome {
  const { stop } = draft;
  if (stop !== undefined) {
    return { phase: stop.reason === "Cancelled" ? "Cancelled" : "Failed", reason: stop.reason, message: stop.message };
  }
  const failed = draft.rows.filter((row) => row.state === "Failed");
  const main = failed.filter((row) => !row.node.isFinally);
  if (main.length > 0) return failure(main, "NodeFailed");
  if (failed.length > 0) return failure(failed, "FinallyFailed");
  return { phase: "Succeeded", reason: "Succeeded", message: "" };
}

function failure(failed: readonly NodeRow[], otherwise: string): Outcome {
  for (const reason of ["PolicyViolation", "RecordChanged"]) {
    const row = failed.find((each) => each.reason === reason);
    if (row !== undefined) return { phase: "Failed", reason, message: row.message ?? "" };
  }
  const reason = failed.every((row) => row.reason === "InfrastructureLost") ? "InfrastructureLost" : otherwise;
  const told = failed
    .slice(0, 3)
    .map((row) => `${row.node.name}: ${row.reason ?? "Failed"}${row.message ? `: ${row.message}` : ""}`);
  const more = failed.length > told.length ? `; and ${failed.length - told.length} more` : "";
  return { phase: "Failed", reason, message: told.join("; ") + more };
}

/**
 * A success in the status whose finish record is gone from the journal is lost work, said aloud. Only rows that were
 * viewed are checked: those whose output is needed, and all of them when the run ends.
 */
export function loseVanished(draft: Draft): void {
  const viewed = new Set(draft.seen.items.map(({ key }) => `${key.node}[${key.item ?? ""}]`));
  for (const node of draft.rows) {
    for (const row of workRows(node)) {
      if (row.state !== "Succeeded" || !viewed.has(`${row.key.node}[${row.key.item ?? ""}]`)) continue;
      if (finishedOf(row, recordOf(draft, row.key)) !== undefined) continue;
      const detail = "it had succeeded, and the journal store has no record of it any more";
      apply(row, "lose", draft.nowMs, "DurabilityLost", detail);
      if (row !== node) apply(node, "lose", draft.nowMs, "DurabilityLost", detail);
    }
  }
}

/** As of the records that were seen. Hex. */
export function headOf(draft: Draft): string {
  const keys = draft.rows.flatMap((row) => keysOf(row));
  return journalHead(
    keys.flatMap((key) => {
      const record = recordOf(draft, key);
      return record === undefined ? [] : [{ key, length: record.length, head: record.head }];
    }),
  );
}

/** Digest (hex) and preview of a succeeded run's result; `absent`: the digest of what it is made of and the store does not give. */
export function resultOf(
  draft: Draft,
): { readonly digest: string; readonly preview: string; readonly absent?: undefined } | { readonly absent: string } {
  const { leaves } = draft.graph;
  const outputs: Record<string, Json> = {};
  for (const name of leaves) {
    if (draft.byName.get(name)?.state !== "Succeeded") continue;
    const digest = outputDigest(draft, name);
    const value = digest === null ? null : draft.seen.outputs.get(digest ?? "");
    if (value === undefined) return { absent: digest ?? "" };
    outputs[name] = value;
  }
  const [only] = leaves;
  const value = leaves.length === 1 && only !== undefined ? (outputs[only] ?? null) : outputs;
  const packed = packBody(value);
  draft.bodies.push(...packed.bodies);
  // Where only digests are kept, a preview would keep what they were made for to hide.
  const preview = draft.seen.policy.recording.content === "DigestOnly" ? "" : cut(canonicalJson(value));
  return { digest: packed.digest, preview };
}

/** At most previewBytes of UTF-8, never half a character. */
function cut(text: string): string {
  if (text.length * 3 <= statusLimits.previewBytes) return text;
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
    if (bytes > statusLimits.previewBytes - 3) return `${text.slice(0, end)}…`;
    end += character.length;
  }
  return text;
}
