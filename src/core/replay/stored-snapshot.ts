/**
 * Snapshots as they are stored. That of a replay says what it changes of its base, the snapshot of the run that it replays, and how the
 * nodes of that one ended is a body of its own, the same for all who replay it strictly: so a replay is as small as what is new in it.
 */
import type { NodeStatus } from "../../api/status.ts";
import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import { type Json, toPlainJson } from "../digest/json.ts";
import { patched, patchOf, type PatchOperation } from "../digest/json-patch.ts";
import type { StoredBody } from "../protocol/types.ts";
import type { Snapshot } from "../steps/format.ts";
import type { ParentEnd, Replay } from "./types.ts";

/** What a run may share with the run that it replays. */
const shared = ["spec", "policy", "rules"] as const;

/** `body`: hex digest of the list of rows. */
interface StoredReplay extends Omit<Replay, "end"> {
  readonly end?: Omit<ParentEnd, "nodes"> & { readonly nodes?: readonly NodeStatus[] | { readonly body: string } };
}

interface WholeSnapshot extends Omit<Snapshot, "replay"> {
  readonly replay?: StoredReplay;
}

/** A snapshot but for what is shared: `patch` (RFC 6902) makes that of the base's. Of its lineage it has the first run, whose base has the rest. */
interface SnapshotChange extends Omit<WholeSnapshot, (typeof shared)[number]> {
  readonly patch: readonly PatchOperation[];
}

export interface SnapshotBodies {
  readonly snapshot: StoredBody;
  /** Of a Strict replay: to be kept with the run that it replays. */
  readonly ends: StoredBody | undefined;
}

/** Canonical JSON each; `base` is the snapshot that `snapshot.replay.base` names. */
export function snapshotBodies(snapshot: Snapshot, base: Snapshot | undefined): SnapshotBodies {
  const { spec: _spec, policy: _policy, rules: _rules, replay, ...own } = snapshot;
  const ends = replay?.end?.nodes === undefined ? undefined : bodyOf(replay.end.nodes);
  const told: { replay?: StoredReplay } = replay === undefined ? {} : { replay: withEnds(replay, ends) };
  if (told.replay?.base === undefined || base === undefined)
    return { snapshot: bodyOf({ ...snapshot, ...told } satisfies WholeSnapshot), ends };
  const change: SnapshotChange = {
    ...own,
    replay: { ...told.replay, lineage: told.replay.lineage.slice(0, 1) },
    patch: patchOf(sharedOf(base), sharedOf(snapshot)),
  };
  return { snapshot: bodyOf(change), ends };
}

function withEnds({ end, ...replay }: Replay, ends: StoredBody | undefined): StoredReplay {
  if (end === undefined) return replay;
  return { ...replay, end: ends === undefined ? end : { ...end, nodes: { body: ends.digest } } };
}

function bodyOf(value: object): StoredBody {
  const bytes = canonicalJson(value);
  return { digest: sha256Hex(bytes), bytes };
}

function sharedOf({ spec, policy, rules }: Pick<Snapshot, (typeof shared)[number]>): Json {
  return toPlainJson({ spec, policy, rules });
}

/** Puts a snapshot together from bodies: it says which one it wants next, until it is whole. */
export class SnapshotReader {
  #wanted: string | undefined;
  readonly #changes: SnapshotChange[] = [];
  #whole: WholeSnapshot | undefined;
  #snapshot: Snapshot | undefined;

  /** Of the snapshot, with or without its algorithm. */
  constructor(digest: string) {
    this.#wanted = digest.replace(/^sha256:/, "");
  }

  /** Hex digest of the body to be read next; undefined = there is none. */
  get wanted(): string | undefined {
    return this.#wanted;
  }

  /** Undefined until the last body was read, or is known to be gone and can be done without. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** The wanted body is not there. */
  lacks(): void {
    this.#wanted = undefined;
    if (this.#whole !== undefined) this.#end(this.#whole, undefined);
  }

  /** Hex digest of the snapshot that what was read is a change of; undefined = of none, or it is known. */
  get base(): string | undefined {
    return this.#whole === undefined ? this.#changes.at(-1)?.replay?.base : undefined;
  }

  /** Name of the run that the one whose body was read last replays. */
  get parent(): string | undefined {
    return this.#changes.at(-1)?.replay?.parent.name;
  }

  /** Run in whose record the wanted body was put, where it is another one's than the snapshot's own. */
  get home(): string | undefined {
    return (this.#whole ?? this.#changes.at(-1))?.replay?.lineage[0];
  }

  /** The bytes of the wanted body. Throws where they are not what is wanted. */
  read(bytes: string): void {
    const body = JSON.parse(bytes) as WholeSnapshot | SnapshotChange | readonly NodeStatus[];
    if (this.#whole !== undefined) return this.#end(this.#whole, body as readonly NodeStatus[]);
    const stored = body as WholeSnapshot | SnapshotChange;
    if ("patch" in stored) {
      this.#changes.push(stored);
      this.#wanted = stored.replay?.base;
      if (this.#wanted === undefined) throw new SyntaxError("it is a change of a snapshot that it does not name");
      return;
    }
    this.changes(stored);
  }

  /** The wanted body, read elsewhere, is that of `base`. */
  changes(base: WholeSnapshot): void {
    this.#whole = this.#changes.reduceRight(changedBy, base);
    const nodes = this.#whole.replay?.end?.nodes ?? [];
    if ("body" in nodes) this.#wanted = nodes.body;
    else this.#end(this.#whole, nodes);
  }

  #end({ replay, ...whole }: WholeSnapshot, nodes: readonly NodeStatus[] | undefined): void {
    this.#wanted = undefined;
    // As it was stored: most runs are no replays.
    if (replay === undefined) {
      this.#snapshot = whole;
      return;
    }
    const { end, ...rest } = replay;
    const { nodes: _stored, ...told } = end ?? {};
    const ended = end === undefined ? rest : { ...rest, end: nodes === undefined ? told : { ...told, nodes } };
    // With members in the order of one that is stored whole: what is made of it must not tell the two apart.
    this.#snapshot = JSON.parse(canonicalJson({ ...whole, replay: ended })) as Snapshot;
  }
}

function changedBy(base: WholeSnapshot, { patch, replay, ...own }: SnapshotChange): WholeSnapshot {
  const { spec, policy, rules } = base;
  const made = patched({ spec, policy, rules }, patch) as unknown as Pick<Snapshot, (typeof shared)[number]>;
  if (replay === undefined) return { ...own, ...made };
  return { ...own, ...made, replay: { ...replay, lineage: [...replay.lineage, ...(base.replay?.lineage ?? [])] } };
}
