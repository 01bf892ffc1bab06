/** The canonical trace: the journal without anything volatile (times, processes, attempts, tries, repeats). */
import { canonicalJson, type Digest, sha256Hex } from "../digest/digest.ts";
import type { StepEntry } from "../steps/format.ts";
import type { TracedCall } from "./journal.ts";

/**
 * One line per step, without the line feed: JCS of { n, node, item, path, kind, requestDigest, occurrence, outcome, output,
 * toolCalls, usage }. `output` is the hex digest of the body or null, `item` null outside forEach, `usage` the tokens as they
 * are reported to people: what a budget counted depends on what siblings held at that moment, so it is not canonical.
 */
export function canonicalLines(steps: readonly TracedCall<StepEntry>[]): string[] {
  return steps.map(({ journal, entry }, index) =>
    canonicalJson({
      n: index + 1,
      node: journal.node,
      item: journal.item ?? null,
      path: entry.path,
      kind: entry.kind,
      requestDigest: entry.requestDigest,
      occurrence: entry.occurrence,
      outcome: entry.outcome,
      output: entry.output?.body ?? null,
      toolCalls: entry.toolCalls,
      usage:
        entry.usage === null
          ? null
          : { input: entry.usage.input, output: entry.usage.output, total: entry.usage.total },
    }),
  );
}

/** sha256 over the lines, each with its line feed. Equal hashes = the same run, step by step. */
export function traceHash(lines: readonly string[]): Digest {
  return `sha256:${sha256Hex(lines.map((line) => `${line}\n`).join(""))}`;
}
