/** The steps of runs whose records can be read, and two of them side by side. */
import { cliExitCodes } from "../../api/exit-codes.ts";
import type { DiffDetail, DiffPage, RunKey, StepDetail, StepPage } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { RunDiff } from "./run-diff.ts";
import type { StepRange, StepSource } from "./run-source.ts";
import { type ReadableRun, StepReader } from "./step-reader.ts";

/** `nothing`: why there are no steps, for people. Throws CliError: no such run, or its record cannot be read. */
export type FindReadable = (key: RunKey) => Promise<ReadableRun | { readonly nothing: string }>;

export class JournalSteps implements StepSource {
  readonly #find: FindReadable;
  readonly #reader = new StepReader();
  #latestDiff: RunDiff | undefined;

  constructor(find: FindReadable) {
    this.#find = find;
  }

  async page(key: RunKey, range: StepRange): Promise<StepPage> {
    const run = await this.#find(key);
    return "nothing" in run ? { from: 0, total: 0, steps: [], ...run } : this.#reader.page(run, range);
  }

  async step(key: RunKey, id: string, whole: boolean): Promise<StepDetail> {
    return this.#reader.step(await this.#recorded(key), id, whole);
  }

  async diff(left: RunKey, right: RunKey, from: number, limit: number): Promise<DiffPage> {
    return (await this.#diff(left, right)).page(from, limit);
  }

  async diffDetail(left: RunKey, right: RunKey, index: number): Promise<DiffDetail> {
    return (await this.#diff(left, right)).detail(index);
  }

  async #diff(left: RunKey, right: RunKey): Promise<RunDiff> {
    const read = async (key: RunKey) => this.#reader.read(await this.#recorded(key));
    const [a, b] = await Promise.all([read(left), read(right)]);
    if (this.#latestDiff?.left !== a || this.#latestDiff.right !== b) this.#latestDiff = new RunDiff(a, b);
    return this.#latestDiff;
  }

  async #recorded(key: RunKey): Promise<ReadableRun> {
    const run = await this.#find(key);
    if (!("nothing" in run)) return run;
    throw new CliError(`${key.namespace}/${key.name}: ${run.nothing}`, [], cliExitCodes.failed);
  }
}
