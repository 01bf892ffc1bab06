/** Rows of a long list, a page at a time: the list asks for rows, what is not here yet comes and says so. */
import { signal } from "@preact/signals";
import type { Problem } from "../wire.ts";
import { get, problemOf } from "./client.ts";

const pageSize = 200;
/** Far more than a screen; what was looked at long ago is read anew. */
const pagesKept = 40;
const restMs = 400;

export class Paged<P extends { readonly total: number }, R> {
  /** The page that came last: for what is said of the whole list. */
  readonly latest = signal<P | undefined>(undefined);
  readonly problem = signal<Problem | undefined>(undefined);
  /** Grows with everything that comes. */
  readonly version = signal(0);
  readonly #address: string;
  readonly #rowsOf: (page: P) => readonly R[];
  readonly #pages = new Map<number, readonly R[]>();
  readonly #asked = new Set<number>();
  readonly #stop = new AbortController();
  #lastPage = 0;
  #isStale = false;
  #isReading = false;

  /** `address`: below /api/, with a query. Reading begins at once. */
  constructor(address: string, rowsOf: (page: P) => readonly R[]) {
    this.#address = address;
    this.#rowsOf = rowsOf;
    this.again();
  }

  /** Undefined = it is on its way, or there is a problem. */
  at(index: number): R | undefined {
    const page = Math.floor(index / pageSize);
    const found = this.#pages.get(page);
    if (found !== undefined) this.#lastPage = page;
    else if (this.problem.value === undefined) void this.#read(page);
    return found?.[index % pageSize];
  }

  /** Reads what is looked at anew; other pages when they are looked at. */
  again(): void {
    if (this.#isReading) {
      this.#isStale = true;
      return;
    }
    this.#isReading = true;
    this.#isStale = false;
    void (async () => {
      const page = this.#lastPage;
      await this.#fetch(page, () => {
        for (const old of this.#pages.keys()) if (old !== page) this.#pages.delete(old);
      });
      await new Promise((resolve) => setTimeout(resolve, restMs));
      this.#isReading = false;
      if (this.#isStale && !this.#stop.signal.aborted) this.again();
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
      const found = await get<P>(`${this.#address}&from=${page * pageSize}&limit=${pageSize}`, this.#stop.signal);
      before();
      this.#pages.set(page, this.#rowsOf(found));
      this.problem.value = undefined;
      this.latest.value = found;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.problem.value = problemOf(error);
    }
    this.version.value += 1;
  }
}
