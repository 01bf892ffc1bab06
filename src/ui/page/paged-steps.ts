/** The steps of a run, a page at a time: the list asks for rows, what is not here yet comes and says so. */
import { signal } from "@preact/signals";
import type { Problem, StepPage, StepSummary } from "../wire.ts";
import { get, problemOf } from "./client.ts";

const pageSize = 200;
/** Far more than a screen; what was looked at long ago is read anew. */
const pagesKept = 40;
const restMs = 400;

export class PagedSteps {
  readonly total = signal<number | undefined>(undefined);
  readonly problem = signal<Problem | undefined>(undefined);
  /** Grows with everything that comes. */
  readonly version = signal(0);
  span: { readonly startedMs: number; readonly completedMs: number } | undefined;
  readonly #address: string;
  readonly #pages = new Map<number, readonly StepSummary[]>();
  readonly #asked = new Set<number>();
  readonly #stop = new AbortController();
  #lastPage = 0;
  #stale = false;
  #isReading = false;

  /** `address`: below /api/, with a query. */
  constructor(address: string) {
    this.#address = address;
    this.again();
  }

  at(index: number): StepSummary | undefined {
    const page = Math.floor(index / pageSize);
    this.#lastPage = page;
    const found = this.#pages.get(page);
    if (found === undefined) void this.#read(page);
    return found?.[index % pageSize];
  }

  /** Reads what is looked at anew; other pages when they are looked at. */
  again(): void {
    if (this.#isReading) {
      this.#stale = true;
      return;
    }
    this.#isReading = true;
    this.#stale = false;
    void (async () => {
      const page = this.#lastPage;
      await this.#fetch(page, () => {
        for (const old of this.#pages.keys()) if (old !== page) this.#pages.delete(old);
      });
      await new Promise((resolve) => setTimeout(resolve, restMs));
      this.#isReading = false;
      if (this.#stale && !this.#stop.signal.aborted) this.again();
    })();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #read(page: number): Promise<void> {
    if (this.#asked.has(page)) return;
    this.#asked.add(page);
    await this.#fetch(page, () => {
      for (const old of [...this.#pages.keys()].slice(0, -pagesKept)) this.#pages.delete(old);
    });
    this.#asked.delete(page);
  }

  async #fetch(page: number, before: () => void): Promise<void> {
    try {
      const address = `${this.#address}&from=${page * pageSize}&limit=${pageSize}`;
      const { steps, total, startedAt, completedAt } = await get<StepPage>(address, this.#stop.signal);
      before();
      this.#pages.set(page, steps);
      if (startedAt !== undefined && completedAt !== undefined)
        this.span = { startedMs: Date.parse(startedAt), completedMs: Date.parse(completedAt) };
      this.problem.value = undefined;
      this.total.value = total;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.problem.value = problemOf(error);
    }
    this.version.value += 1;
  }
}
