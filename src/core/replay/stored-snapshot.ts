/**
 * Snapshots as they are stored. That of a replay says what it changes of its base, the snapshot of the run that it replays, so that a
 * replay is as small as what is new in it: the base is read by its digest, as everything else of a parent is.
 */
import { canonicalJson } from "../digest/digest.ts";
import type { Json, JsonObject } from "../digest/json.ts";
import { patched, patchOf, type PatchOperation } from "../digest/json-patch.ts";
import type { Snapshot } from "../steps/format.ts";

/** What a run may share with the run that it replays. */
const shared = ["spec", "policy", "rules"] as const;

/** A snapshot but for what is shared: `patch` (RFC 6902) makes that of the base's. */
interface SnapshotChange extends Omit<Snapshot, (typeof shared)[number]> {
  readonly patch: readonly PatchOperation[];
}

type StoredSnapshot = Snapshot | SnapshotChange;

/** Canonical JSON; `base` is the snapshot that `snapshot.replay.base` names. */
export function snapshotBytes(snapshot: Snapshot, base: Snapshot | undefined): string {
  if (snapshot.replay?.base === undefined || base === undefined) return canonicalJson(snapshot);
  const { spec: _spec, policy: _policy, rules: _rules, ...own } = snapshot;
  return canonicalJson({ ...own, patch: patchOf(sharedOf(base), sharedOf(snapshot)) } satisfies SnapshotChange);
}

/** Absent members as JSON has them: not at all. */
function sharedOf(snapshot: Snapshot): Json {
  const { spec, policy, rules } = snapshot;
  return JSON.parse(JSON.stringify({ spec, policy, rules })) as Json;
}

/** Puts a snapshot together from bodies: it says which one it wants next, until it is whole. */
export class SnapshotReader {
  #wanted: string | undefined;
  readonly #changes: SnapshotChange[] = [];
  #whole: Snapshot | undefined;

  /** Of the snapshot, with or without its algorithm. */
  constructor(digest: string) {
    this.#wanted = digest.replace(/^sha256:/, "");
  }

  /** Hex digest of the body to be read next; undefined = there is none. */
  get wanted(): string | undefined {
    return this.#wanted;
  }

  /** Undefined until the last body was read. */
  get snapshot(): Snapshot | undefined {
    return this.#whole;
  }

  /** Runs beside its own in which the wanted body may be, as far as they are known. */
  get lineage(): readonly string[] {
    return this.#changes[0]?.replay?.lineage ?? [];
  }

  /** The bytes of the wanted body. Throws where they are no snapshot. */
  read(bytes: string): void {
    const stored = JSON.parse(bytes) as StoredSnapshot;
    if ("patch" in stored) {
      this.#changes.push(stored);
      this.#wanted = stored.replay?.base;
      if (this.#wanted === undefined) throw new SyntaxError("it is a change of a snapshot that it does not name");
      return;
    }
    this.#wanted = undefined;
    const whole = this.#changes.reduceRight(changedBy, stored);
    // With members in the order of a snapshot that is stored whole: what is made of it must not tell the two apart.
    this.#whole = this.#changes.length === 0 ? whole : (JSON.parse(canonicalJson(whole)) as Snapshot);
  }
}

function changedBy(base: Snapshot, { patch, ...own }: SnapshotChange): Snapshot {
  const made = patched(sharedOf(base), patch) as JsonObject as unknown as Pick<Snapshot, (typeof shared)[number]>;
  return { ...own, ...made };
}
