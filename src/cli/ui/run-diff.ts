/** Two runs side by side: the steps aligned by core/trace, told in pages; what differs in a pair is read when it is asked for. */
import { alignSteps, type StepPair } from "../../core/trace/align.ts";
import { bodiesToCompare, stepDifferences } from "../../core/trace/diff.ts";
import { readBodies } from "../../host/journals.ts";
import type { DiffDetail, DiffPage, DiffRow, DiffVerdict } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { isCanonical, type KnownSteps, type Step } from "./step-reader.ts";

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

  constructor(left: KnownSteps, right: KnownSteps) {
    this.left = left;
    this.right = right;
    this.#left = left.steps.filter(({ source }) => isCanonical(source));
    this.#right = right.steps.filter(({ source }) => isCanonical(source));
    this.#pairs = alignSteps(callsOf(this.#left), callsOf(this.#right));
  }

  page(from: number, limit: number): DiffPage {
    const counts: Record<DiffVerdict, number> = { Same: 0, Changed: 0, OnlyA: 0, OnlyB: 0 };
    const different: number[] = [];
    for (const [index, { verdict }] of this.#pairs.entries()) {
      counts[verdict] += 1;
      if (verdict !== "Same" && different.length < differentMax) different.push(index);
    }
    return {
      from,
      total: this.#pairs.length,
      rows: this.#pairs.slice(from, from + limit).map((pair) => this.#row(pair)),
      counts,
      different,
    };
  }

  /** Throws CliError. */
  async detail(index: number): Promise<DiffDetail> {
    const pair = this.#pairs[index];
    if (pair === undefined) throw new CliError(`there are ${this.#pairs.length} pairs of steps`);
    const wanted = bodiesToCompare(pair);
    const [a, b] = await Promise.all([readBodies(this.left.record, wanted.a), readBodies(this.right.record, wanted.b)]);
    const bodyOf = { a: (digest: string) => a.get(digest), b: (digest: string) => b.get(digest) };
    return {
      row: this.#row(pair),
      differences: stepDifferences(pair, bodyOf, differencesMax).map((each) => ({
        path: each.path,
        left: each.a,
        right: each.b,
      })),
      since: pair.request?.since,
    };
  }

  #row({ verdict, a, b }: StepPair): DiffRow {
    return {
      verdict,
      left: a === undefined ? undefined : this.#left[a.number - 1]?.summary,
      right: b === undefined ? undefined : this.#right[b.number - 1]?.summary,
    };
  }
}

function callsOf(steps: readonly Step[]) {
  return steps.flatMap(({ source }) => (isCanonical(source) ? [source] : []));
}
