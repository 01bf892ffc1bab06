/** Two runs side by side: the steps aligned by core/trace, told in pages; what differs in a pair is read when it is asked for. */
import type { Difference } from "../../core/digest/json-diff.ts";
import { alignSteps, type StepPair } from "../../core/trace/align.ts";
import { isDrawnAnew } from "../../core/trace/diff.ts";
import type { DiffDetail, DiffPage, DiffRow, DiffVerdict } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { pairDifferences, pairsAtOnce } from "../pair-differences.ts";
import { isNumbered, type KnownSteps, type Step } from "./step-reader.ts";

const differencesMax = 100;
/** Of the rows that differ, so that a page can jump from one to the next. */
const differentMax = 1_000;

/** An alignment of what is known of two runs; good for as long as that is the same. */
export class RunDiff {
  readonly left: KnownSteps;
  readonly right: KnownSteps;
  readonly #pairs: readonly StepPair[];
  readonly #left: readonly Step[];
  readonly #right: readonly Step[];
  #alike: Promise<ReadonlySet<StepPair>> | undefined;

  constructor(left: KnownSteps, right: KnownSteps) {
    this.left = left;
    this.right = right;
    const [a, b] = [left.steps.filter(isNumbered), right.steps.filter(isNumbered)];
    this.#left = a;
    this.#right = b;
    this.#pairs = alignSteps(
      a.map(({ source }) => source),
      b.map(({ source }) => source),
    );
  }

  async page(from: number, limit: number): Promise<DiffPage> {
    const alike = await this.#alikePairs();
    const counts: Record<DiffVerdict, number> = { Same: 0, Alike: 0, Changed: 0, OnlyA: 0, OnlyB: 0 };
    const different: number[] = [];
    for (const [index, pair] of this.#pairs.entries()) {
      const verdict = verdictOf(pair, alike);
      counts[verdict] += 1;
      if (verdict !== "Same" && verdict !== "Alike" && different.length < differentMax) different.push(index);
    }
    return {
      from,
      total: this.#pairs.length,
      rows: this.#pairs.slice(from, from + limit).map((pair) => this.#row(pair, alike)),
      counts,
      different,
    };
  }

  /** Throws CliError. */
  async detail(index: number): Promise<DiffDetail> {
    const pair = this.#pairs[index];
    if (pair === undefined) throw new CliError(`there are ${this.#pairs.length} pairs of steps`);
    const [differences = []] = await this.#differences([pair]);
    return {
      row: this.#row(pair, await this.#alikePairs()),
      differences: differences.map((each) => ({ path: each.path, left: each.a, right: each.b })),
      since: pair.request?.since,
    };
  }

  /** Read once. A pair whose requests differ too needs no reading. */
  #alikePairs(): Promise<ReadonlySet<StepPair>> {
    this.#alike ??= this.#readAlike();
    return this.#alike;
  }

  async #readAlike(): Promise<ReadonlySet<StepPair>> {
    const asked = this.#pairs.filter(({ verdict, a, b }) => {
      return verdict === "Changed" && a?.call.entry.requestDigest === b?.call.entry.requestDigest;
    });
    const alike = new Set<StepPair>();
    for (let from = 0; from < asked.length; from += pairsAtOnce) {
      const some = asked.slice(from, from + pairsAtOnce);
      for (const [index, found] of (await this.#differences(some)).entries()) {
        const pair = some[index];
        // None = what differs was not kept.
        if (pair !== undefined && found.length > 0 && found.every(isDrawnAnew)) alike.add(pair);
      }
    }
    return alike;
  }

  #differences(pairs: readonly StepPair[]): Promise<Difference[][]> {
    return pairDifferences(this.left.record, this.right.record, pairs, differencesMax);
  }

  #row(pair: StepPair, alike: ReadonlySet<StepPair>): DiffRow {
    const { a, b } = pair;
    return {
      verdict: verdictOf(pair, alike),
      left: a === undefined ? undefined : this.#left[a.number - 1]?.summary,
      right: b === undefined ? undefined : this.#right[b.number - 1]?.summary,
    };
  }
}

function verdictOf(pair: StepPair, alike: ReadonlySet<StepPair>): DiffVerdict {
  return alike.has(pair) ? "Alike" : pair.verdict;
}
