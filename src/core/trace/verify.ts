/**
 * Whether a record is the one that was recorded: every entry follows the one before it, every body has its digest and is there, and all
 * of it adds up to what the status says. Holds digests, lengths and what the trace says of one item, never contents.
 *
 * It shows what was changed after the end of the run. Whoever can write the status too can write another record that adds up: an
 * auditor compares journalHead and traceHash with what the cluster, or the first export, said.
 */
import type { ExecutionStatus } from "../../api/status.ts";
import { type Digest, sha256Hex } from "../digest/digest.ts";
import { itemName } from "../protocol/names.ts";
import type { NodeKey, StoredBody, StoredEntry } from "../protocol/types.ts";
import { SnapshotReader } from "../replay/stored-snapshot.ts";
import { textsOf } from "../steps/bodies.ts";
import type { FinishEntry, JournalEntry, Reuse, Snapshot } from "../steps/format.ts";
import { ChainCheck } from "./chain-check.ts";
import { emptyTraceHash, TraceHasher } from "./canonical.ts";
import { type ItemHead, journalHead } from "./head.ts";
import { type ItemJournal, reuseOf, reusedSteps } from "./journal.ts";
import { type RecordProblem, type Reused, untrueEnds, untrueRun } from "./told.ts";
import {
  bodiesOfEntry,
  bodiesOfStatus,
  type RecordedContent,
  type RecordedExecution,
  type RecordPart,
} from "./record-part.ts";

export interface RecordReport {
  readonly execution: RecordedExecution;
  readonly content: RecordedContent;
  /** Empty = it holds. */
  readonly problems: readonly RecordProblem[];
  readonly traceHash: Digest;
  readonly journalHead: Digest;
  readonly items: number;
  readonly entries: number;
  readonly steps: number;
  readonly bodies: number;
}

/** More would tell no more. */
const problemsMax = 20;

interface OpenItem {
  readonly key: NodeKey;
  /** Another run, of which steps are reused. */
  readonly run: string | undefined;
  readonly name: string;
  readonly chain: ChainCheck;
  /** Of another run: kept until the item that reuses it has been read. */
  readonly entries: StoredEntry[];
  lastTry: number;
  /** Of that try. */
  end: FinishEntry["outcome"] | undefined;
}

function brokenOf(item: OpenItem | undefined): RecordProblem[] {
  if (item?.chain.broken === undefined) return [];
  const { index, reason } = item.chain.broken;
  return [{ where: `entry ${index} of ${item.name}`, why: reason }];
}

export class RecordCheck {
  readonly #problems: RecordProblem[] = [];
  #entries = 0;
  readonly #heads: ItemHead[] = [];
  readonly #reuses: Reused[] = [];
  readonly #ends = new Map<string, FinishEntry["outcome"] | undefined>();
  readonly #names = new Set<string>();
  readonly #trace = new TraceHasher();
  /** Digest -> what refers to it first. */
  readonly #roots = new Map<string, string>();
  readonly #texts = new Map<string, string>();
  /** Of the snapshot. */
  readonly #bases = new Map<string, string>();
  #reader: SnapshotReader | undefined;
  readonly #bodies = new Set<string>();
  #run: Extract<RecordPart, { kind: "run" }> | undefined;
  #open: OpenItem | undefined;
  /** The item before in other runs, as far as they reuse each other. */
  #origin: ItemJournal | undefined;

  part(part: RecordPart): void {
    switch (part.kind) {
      case "run":
        this.#run = part;
        if (this.#snapshotDigest !== undefined) this.#reader = new SnapshotReader(this.#snapshotDigest);
        for (const digest of bodiesOfStatus(part.execution.status)) this.#roots.set(digest, "the status");
        return;
      case "item":
        return this.#item(part);
      case "entry":
        return this.#entry(part);
      case "body":
        return this.#body(part.body);
    }
  }

  /** What is known to be wrong before the end is reached. */
  get soFar(): readonly RecordProblem[] {
    return [...this.#problems, ...brokenOf(this.#open)];
  }

  /** Once its bodies were there. */
  get snapshot(): Snapshot | undefined {
    return this.#reader?.snapshot;
  }

  /** All parts were there. Throws when not even the first was. */
  end(): RecordReport {
    if (this.#run === undefined) throw new Error("a record without a run");
    this.#close();
    const { execution, content } = this.#run;
    this.#checkBodies(content);
    const { traceHash, steps } = this.#traced(() => this.#trace.end()) ?? { traceHash: emptyTraceHash, steps: 0 };
    const head = `sha256:${journalHead(this.#heads)}` as const;
    this.#checkStatus(execution.status, head, traceHash, steps);
    return {
      execution,
      content,
      problems: this.#problems,
      traceHash,
      journalHead: head,
      items: this.#heads.length,
      entries: this.#entries,
      steps,
      bodies: this.#bodies.size,
    };
  }

  #item({ key, run }: Extract<RecordPart, { kind: "item" }>): void {
    this.#close();
    const name = `node ${itemName(key)}${run === undefined ? "" : ` of run ${run}`}`;
    if (this.#names.has(name)) this.#tell(name, "it is there twice");
    this.#names.add(name);
    if (run === undefined) this.#traced(() => this.#trace.item(key));
    const chain = new ChainCheck(run ?? this.#run?.execution.metadata.uid ?? "", key);
    this.#open = { key, run, name, chain, entries: [], lastTry: 0, end: undefined };
    if (this.#origin !== undefined && itemName(this.#origin) !== itemName(key)) this.#origin = undefined;
  }

  /** A trace is only made of what is inside one, and a chain that holds says nothing about that. */
  #traced<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch {
      this.#tell("the canonical trace", "it cannot be made: a step is not what a worker writes");
      return undefined;
    }
  }

  #close(): void {
    if (this.#open === undefined) return;
    const { key, run, name, chain, entries } = this.#open;
    if (chain.length === 0) this.#tell(name, "it has no entries");
    for (const { where, why } of brokenOf(this.#open)) this.#tell(where, why);
    this.#entries += chain.length;
    if (run !== undefined) this.#checkReuse(name, run, reuseOf(entries));
    if (run === undefined) {
      this.#heads.push({ key, length: chain.length, head: chain.head });
      this.#ends.set(itemName(key), this.#open.end);
    }
    this.#origin = run === undefined ? undefined : { ...key, uid: run, entries, origin: this.#origin };
    this.#open = undefined;
  }

  #entry({ hash, bytes }: Extract<RecordPart, { kind: "entry" }>): void {
    if (this.#open === undefined) return this.#tell("an entry", "it belongs to no node");
    const { run, name, chain, entries } = this.#open;
    const where = `entry ${chain.length} of ${name}`;
    const stored = { index: chain.length, prevHash: chain.head, hash, bytes };
    const entry = chain.next(stored);
    if (entry === undefined) return; // told when its item ends
    try {
      for (const digest of bodiesOfEntry(entry)) if (!this.#roots.has(digest)) this.#roots.set(digest, where);
      if (run === undefined) {
        this.#checkStart(where, entry);
        this.#addToTrace(this.#open, stored, entry);
      } else entries.push(stored);
    } catch {
      this.#tell(where, "it is not what a worker writes");
    }
  }

  /**
   * The chains hold the snapshot's digest: a status that named another one could say anything of the run. The first hosts that took
   * an item over from a replayed run wrote none.
   */
  #checkStart(where: string, entry: JournalEntry): void {
    if (entry.type !== "start" || (entry.snapshot === "" && entry.reuse !== undefined)) return;
    if (entry.snapshot !== this.#snapshotDigest)
      this.#tell("status.snapshot", `it is not the snapshot that ${where} names`);
  }

  /** Each try begins with its start entry, which says what it reuses. */
  #addToTrace(open: OpenItem, stored: StoredEntry, entry: JournalEntry): void {
    if (entry.try > open.lastTry) {
      open.lastTry = entry.try;
      const reuse = entry.type === "start" ? entry.reuse : undefined;
      this.#checkReuse(open.name, this.#run?.execution.metadata.uid ?? "", reuse);
      const reused = reusedSteps({ ...open.key, entries: [stored], origin: this.#origin });
      for (const { entry: step } of reused) this.#trace.entry(step);
      open.end = undefined;
    }
    if (entry.type === "finish" && entry.try === open.lastTry) open.end = entry.outcome;
    this.#trace.entry(entry);
  }

  /** A journal is only that of the run it is said to be, and stands before the one that reuses it. Nothing else anchors it. */
  #checkReuse(name: string, uid: string, reuse: Reuse | undefined): void {
    if (reuse === undefined) return;
    if (this.#origin?.uid !== reuse.uid)
      this.#tell(name, `it reuses steps of run ${reuse.uid}, whose journal does not stand before it`);
    this.#reuses.push({ name, uid, of: reuse.uid });
  }

  #body({ digest, bytes }: StoredBody): void {
    this.#close();
    const where = `body sha256:${digest}`;
    if (this.#bodies.has(digest)) this.#tell(where, "it is there twice");
    this.#bodies.add(digest);
    if (sha256Hex(bytes) !== digest) return this.#tell(where, "it does not have its digest");
    try {
      if (digest === this.#reader?.wanted) return this.#addToSnapshot(this.#reader, where, bytes);
      if (!this.#roots.has(digest)) return;
      for (const text of textsOf(bytes)) this.#texts.set(text, where);
    } catch {
      this.#tell(where, "it is not JSON");
    }
  }

  /** Hex, however the status writes it. */
  get #snapshotDigest(): string | undefined {
    return this.#run?.execution.status.snapshot?.replace(/^sha256:/, "");
  }

  /** The snapshot itself, or what it is stored as a change of: they come in this order. */
  #addToSnapshot(reader: SnapshotReader, where: string, bytes: string): void {
    reader.read(bytes);
    if (reader.wanted !== undefined) this.#bases.set(reader.wanted, where);
    if (reader.snapshot === undefined || this.#run === undefined) return;
    for (const { where, why } of untrueRun(this.#run, reader.snapshot, this.#reuses)) this.#tell(where, why);
  }

  #checkBodies(content: RecordedContent): void {
    const wanted = new Map([...this.#texts, ...this.#roots, ...this.#bases]);
    for (const [digest, by] of wanted) {
      if (this.#bodies.has(digest)) continue;
      const isSnapshot = digest === this.#snapshotDigest || this.#bases.has(digest);
      if (content === "DigestOnly" && !isSnapshot) continue;
      this.#tell(`body sha256:${digest}`, `it is missing; ${by} refers to it`);
    }
    for (const digest of this.#bodies)
      if (!wanted.has(digest)) this.#tell(`body sha256:${digest}`, "nothing refers to it");
  }

  /** Only of a record that holds in itself: else these would say the same again. */
  #checkStatus(status: ExecutionStatus, head: Digest, traceHash: Digest, steps: number): void {
    if (this.#problems.length > 0) return;
    if (status.journalHead !== undefined && status.journalHead !== head) {
      const why = "the journals do not add up to it: entries were cut off at an end, a node was left out, or put in";
      this.#tell("status.journalHead", why);
    }
    if (status.journalHead === undefined && this.#heads.length > 0)
      this.#tell("status.journalHead", "it is missing, so nothing anchors the journals");
    if (status.traceHash !== undefined && status.traceHash !== traceHash)
      this.#tell("status.traceHash", `the canonical trace has the hash ${traceHash}`);
    for (const { where, why } of untrueEnds(status, this.snapshot?.spec, this.#ends, steps)) this.#tell(where, why);
  }

  #tell(where: string, why: string): void {
    if (this.#problems.length < problemsMax) this.#problems.push({ where, why });
  }
}
