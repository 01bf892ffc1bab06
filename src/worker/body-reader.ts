/** Recorded bodies, read ahead in windows, since a resume or replay asks for them in the order they were written. */
import type { Json } from "../core/digest/json.ts";
import { OaoError } from "../core/errors/errors.ts";
import { textsOf, unpackBody } from "../core/steps/bodies.ts";
import { bodiesOfRuns } from "../host/record-store.ts";
import { checkBodies } from "../host/record-changed.ts";
import type { JournalStore } from "../ports/store.ts";

const windowSize = 64;

export class BodyReader {
  readonly #store: JournalStore;
  readonly #uids: readonly string[];
  /** Digests of recorded outputs in journal order; a miss loads the window that starts there. */
  readonly #order: readonly string[];
  readonly #places: ReadonlyMap<string, number>;
  #window: ReadonlyMap<string, string> = new Map();
  /** Loads run one after another: parallel tools ask for neighbours, which one window holds. */
  #loading: Promise<unknown> = Promise.resolve();

  /** `uids`: the run itself, then those that it replays. */
  constructor(store: JournalStore, uids: readonly string[], order: readonly string[]) {
    this.#store = store;
    this.#uids = uids;
    this.#order = order;
    this.#places = new Map(order.map((digest, place) => [digest, place]));
  }

  /** JSON of a body by hex digest. Throws OAO_DURABILITY_LOST when the store does not have it, RecordChanged. */
  async read(digest: string): Promise<Json> {
    const window = this.#window.has(digest) ? this.#window : await this.#next(digest);
    return unpackBody(need(window, digest), (text) => need(window, text));
  }

  #next(digest: string): Promise<ReadonlyMap<string, string>> {
    const loaded = this.#loading.then(() => (this.#window.has(digest) ? this.#window : this.#load(digest)));
    this.#loading = loaded.catch(() => undefined);
    return loaded;
  }

  async #load(digest: string): Promise<ReadonlyMap<string, string>> {
    const place = this.#places.get(digest);
    const wanted = place === undefined ? [digest] : [...new Set(this.#order.slice(place, place + windowSize))];
    const roots = await this.#stored(wanted);
    const texts = [...new Set([...roots.values()].flatMap(textsOf))];
    this.#window = new Map([...roots, ...(await this.#stored(texts))]);
    return this.#window;
  }

  async #stored(digests: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return checkBodies(await bodiesOfRuns(this.#store, this.#uids, digests));
  }
}

function need(window: ReadonlyMap<string, string>, digest: string): string {
  const bytes = window.get(digest);
  if (bytes === undefined)
    throw new OaoError(
      "OAO_DURABILITY_LOST",
      `the journal names body ${digest}, which the store does not have (dropped after a DigestOnly run, or lost)`,
    );
  return bytes;
}
