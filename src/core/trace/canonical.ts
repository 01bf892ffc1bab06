/** The canonical trace: the journal without anything volatile (times, processes, attempts, tries, repeats). */
import { canonicalJson, type Digest, Sha256, sha256Hex } from "../digest/digest.ts";
import type { NodeKey } from "../protocol/types.ts";
import type { JournalEntry, StepEntry } from "../steps/format.ts";
import type { TracedCall } from "./journal.ts";
import { comparePaths } from "./order.ts";

/**
 * One line per step, without the line feed: JCS of { n, node, item, path, kind, requestDigest, occurrence, outcome, output,
 * toolCalls, usage }. `output` is the hex digest of the body or null, `item` null outside forEach, `usage` the tokens as they
 * are reported to people: what a budget counted depends on what siblings held at that moment, so it is not canonical.
 */
export function canonicalLines(steps: readonly TracedCall<StepEntry>[]): string[] {
  return steps.map(({ journal, entry }, index) => canonicalJson({ n: index + 1, ...canonicalStep(journal, entry) }));
}

/** Two steps with the same one are the same step, wherever they stand. */
export function canonicalStep({ node, item }: NodeKey, entry: StepEntry): object {
  return {
    node,
    item: item ?? null,
    path: entry.path,
    kind: entry.kind,
    requestDigest: entry.requestDigest,
    occurrence: entry.occurrence,
    outcome: entry.outcome,
    output: entry.output?.body ?? null,
    toolCalls: entry.toolCalls,
    usage:
      entry.usage === null ? null : { input: entry.usage.input, output: entry.usage.output, total: entry.usage.total },
  };
}

/** sha256 over the lines, each with its line feed. Equal hashes = the same run, step by step. */
export function traceHash(lines: readonly string[]): Digest {
  return `sha256:${sha256Hex(lines.map((line) => `${line}\n`).join(""))}`;
}

/** The hash of a run without steps. */
export const emptyTraceHash: Digest = traceHash([]);

/**
 * The same hash, of items that come one by one in canonical order with their entries in order: what it holds at a time is what the
 * lines of one item say.
 */
export class TraceHasher {
  readonly #hash = new Sha256();
  #steps = 0;
  #key: NodeKey = { node: "" };
  #try = 0;
  #open: { readonly path: readonly number[]; readonly index: number; readonly said: object }[] = [];

  /** The entries that follow are those of this item. */
  item(key: NodeKey): void {
    this.#close();
    this.#key = key;
    this.#try = 0;
  }

  entry(entry: JournalEntry): void {
    if (entry.try > this.#try) {
      // Only the last try has numbers.
      this.#try = entry.try;
      this.#open = [];
    }
    if (entry.type !== "step" || entry.try !== this.#try) return;
    this.#open.push({ path: entry.path, index: entry.index, said: canonicalStep(this.#key, entry) });
  }

  /** Nothing may come after it. */
  end(): { readonly traceHash: Digest; readonly steps: number } {
    this.#close();
    return { traceHash: `sha256:${this.#hash.hex()}`, steps: this.#steps };
  }

  #close(): void {
    this.#open.sort((a, b) => comparePaths(a.path, b.path) || a.index - b.index);
    for (const { said } of this.#open) {
      this.#steps += 1;
      this.#hash.add(`${canonicalJson({ n: this.#steps, ...said })}\n`);
    }
    this.#open = [];
  }
}
