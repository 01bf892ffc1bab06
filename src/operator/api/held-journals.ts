/**
 * Journals that were read of late, for whoever asks for the next page of the same trace: without them each page would read and
 * parse the whole journal of its node. Never more than so many bytes, for a minute. They were checked when they were read, and what
 * begins at the first step is always read anew: a record that was changed since is refused there, and shown as it was elsewhere.
 */
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";
import { type ItemJournal, stepsOf } from "../../core/trace/journal.ts";
import { grownJournal, type RunRecord } from "../../host/journals.ts";

/** Of entries as they are stored, all runs together; parsed they take about four times that. */
const bytesMax = 16 * 1024 * 1024;
const keptMs = 60_000;
/** Runs that have ended whose numbers of steps are known. */
const countedMax = 16;

interface Held {
  readonly journal: ItemJournal;
  readonly bytes: number;
}

export interface HeldLimits {
  readonly bytesMax: number;
  readonly keptMs: number;
}

/** One run's journals, each checked. Every method throws RecordChanged. */
export interface Journals {
  journal(key: NodeKey): Promise<ItemJournal>;
  /** How many numbered steps the item has. */
  steps(key: NodeKey): Promise<number>;
}

export class HeldJournals {
  readonly #limits: HeldLimits;
  /** By run and item, the one that was used last at the end. */
  readonly #held = new Map<string, Held>();
  /** By run, then by itemName. */
  readonly #counts = new Map<string, Map<string, number>>();
  #bytes = 0;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(limits: HeldLimits = { bytesMax, keptMs }) {
    this.#limits = limits;
  }

  /** `anew`: nothing that was read before counts. */
  of(record: RunRecord, anew: boolean): Journals {
    const { uid } = record;
    if (anew) this.#forget(uid);
    const hasEnded = record.status?.completedAt !== undefined;
    const counts = (hasEnded ? this.#counts.get(uid) : undefined) ?? new Map<string, number>();
    if (hasEnded) {
      this.#counts.delete(uid);
      this.#counts.set(uid, counts);
      for (const old of [...this.#counts.keys()].slice(0, -countedMax)) this.#counts.delete(old);
    }
    const journal = async (key: NodeKey) => {
      const place = placeOf(uid, key);
      const found = await grownJournal(record, key, this.#held.get(place)?.journal);
      this.#hold(place, found);
      return found;
    };
    const steps = async (key: NodeKey) => {
      const counted = counts.get(itemName(key)) ?? stepsOf(await journal(key)).length;
      if (hasEnded) counts.set(itemName(key), counted);
      return counted;
    };
    return { journal, steps };
  }

  #hold(place: string, journal: ItemJournal): void {
    const before = this.#held.get(place);
    const held = before?.journal === journal ? before : { journal, bytes: bytesOf(journal) };
    this.#drop(place);
    if (held.bytes > this.#limits.bytesMax) return;
    this.#held.set(place, held);
    this.#bytes += held.bytes;
    for (const old of this.#held.keys()) {
      if (this.#bytes <= this.#limits.bytesMax) break;
      this.#drop(old);
    }
    clearTimeout(this.#forgetting);
    this.#forgetting = setTimeout(() => this.#forget(), this.#limits.keptMs).unref();
  }

  #drop(place: string): void {
    this.#bytes -= this.#held.get(place)?.bytes ?? 0;
    this.#held.delete(place);
  }

  /** Of one run, or all. */
  #forget(uid = ""): void {
    for (const place of this.#held.keys()) if (uid === "" || place.startsWith(placeOf(uid))) this.#drop(place);
    if (uid === "") this.#counts.clear();
    else this.#counts.delete(uid);
  }
}

function placeOf(uid: string, key?: NodeKey): string {
  return `${uid}/${key === undefined ? "" : itemName(key)}`;
}

/** With the journals that it reuses steps of. */
function bytesOf(journal: ItemJournal): number {
  let bytes = 0;
  for (let held: ItemJournal | undefined = journal; held !== undefined; held = held.origin)
    for (const entry of held.entries) bytes += entry.bytes.length;
  return bytes;
}
