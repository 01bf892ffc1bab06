/** Recorded bodies, read ahead in windows, since a resume or replay asks for them in the order they were written. */
import type { Json } from "../core/digest/json.ts";
import { OaoError } from "../core/errors/errors.ts";
import { textsOf, unpackBody } from "../core/steps/bodies.ts";
import type { JournalStore } from "../ports/store.ts";

const windowSize = 64;

export class BodyReader {
  readonly #store: JournalStore;
  readonly #uid: string;
  /** Digests of recorded outputs in journal order; a miss loads the window that starts there. */
  readonly #order: readonly string[];
  readonly #places: ReadonlyMap<string, number>;
  #window = new Map<string, string>();

  constructor(store: JournalStore, uid: string, order: readonly string[]) {
    this.#store = store;
    this.#uid = uid;
    this.#order = order;
    this.#places = new Map(order.map((digest, place) => [digest, place]));
  }

  /** JSON of a body by hex digest. Throws OAO_DURABILITY_LOST when the store does not have it. */
  async read(digest: string): Promise<Json> {
    if (!this.#window.has(digest)) await this.#load(digest);
    return unpackBody(this.#need(digest), (text) => this.#need(text));
  }

  async #load(digest: string): Promise<void> {
    const place = this.#places.get(digest);
    const wanted = place === undefined ? [digest] : [...new Set(this.#order.slice(place, place + windowSize))];
    const roots = await this.#store.bodies(this.#uid, wanted);
    const texts = [...new Set([...roots.values()].flatMap(textsOf))];
    this.#window = new Map([...roots, ...(texts.length === 0 ? [] : await this.#store.bodies(this.#uid, texts))]);
  }

  #need(digest: string): string {
    const bytes = this.#window.get(digest);
    if (bytes === undefined) throw new OaoError("OAO_DURABILITY_LOST", `the journal names body ${digest}, which the store does not have (dropped after a DigestOnly run, or lost)`);
    return bytes;
  }
}
