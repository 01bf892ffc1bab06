/** Commands of the step protocol by hand: what a well-behaved worker would send, and the means to misbehave. */
import { canonicalJson, sha256Hex } from "../../src/core/digest/digest.ts";
import { add, emptyLedger, subtract, zeroAmounts } from "../../src/core/protocol/amounts.ts";
import { genesis } from "../../src/core/protocol/names.ts";
import type {
  Amounts,
  BeginCommand,
  ClaimCommand,
  CommitCommand,
  FinishCommand,
  GrowCommand,
  HealCommand,
  Ledger,
  Limits,
  NodeKey,
  OpenCommand,
  Reply,
  StoredBody,
  StoredEntry,
} from "../../src/core/protocol/types.ts";
import type { JournalStore } from "../../src/ports/store.ts";

export const snapshot = sha256Hex("snapshot");

export function amounts(part: Partial<Amounts>): Amounts {
  return { ...zeroAmounts, ...part };
}

export function openCommand(limits: Limits = {}, auditLimits: Limits = {}): OpenCommand {
  return { op: "open", snapshot, limits, auditLimits };
}

export function entryAfter(index: number, prevHash: string, content: string): StoredEntry {
  const bytes = canonicalJson({ v: 1, index, prevHash, content });
  return { index, prevHash, hash: sha256Hex(bytes), bytes };
}

export function body(bytes: string): StoredBody {
  return { digest: sha256Hex(bytes), bytes };
}

type Claim = Omit<ClaimCommand, "op" | "node" | "item">;
type Admission = Omit<BeginCommand, keyof NodeKey>;

/** One claim's bookkeeping. Each method makes the next command; `run` sends it and moves on when it was accepted. */
export class Hand {
  readonly uid: string;
  readonly key: NodeKey;
  readonly claimCommand: ClaimCommand;
  length = 0;
  head: string;
  seq = 0;
  steps = 0;
  ledger: Ledger = emptyLedger;

  constructor(uid: string, key: NodeKey, claim: Partial<Claim> = {}) {
    this.uid = uid;
    this.key = key;
    this.head = genesis(uid, key);
    this.claimCommand = {
      op: "claim",
      ...key,
      attempt: 1,
      claimId: `claim-${claim.attempt ?? 1}`,
      try: 1,
      limits: {},
      auditLimits: {},
      leaseTtlMs: 10_000,
      ...claim,
    };
  }

  begin(
    hold: { settled?: Partial<Amounts>; reserved?: Partial<Amounts> } = {},
    change: Partial<Admission> = {},
  ): BeginCommand {
    const ledger = {
      ...this.ledger,
      settled: add(this.ledger.settled, amounts(hold.settled ?? {})),
      reserved: add(this.ledger.reserved, amounts(hold.reserved ?? {})),
    };
    return { op: "begin", phase: "Main", ...this.#common(ledger), ...this.#appended(1), ...change };
  }

  grow(reserved: Partial<Amounts>): GrowCommand {
    return { op: "grow", ...this.#common({ ...this.ledger, reserved: add(this.ledger.reserved, amounts(reserved)) }) };
  }

  /** Frees `free` (all that is held unless told), counts `used`. */
  commit(
    used: Partial<Amounts> = {},
    change: {
      free?: Amounts;
      overshoot?: Partial<Amounts>;
      violation?: string;
      bodies?: readonly StoredBody[];
      entries?: number;
    } = {},
  ): CommitCommand {
    const ledger = {
      settled: add(this.ledger.settled, amounts(used)),
      overshoot: add(this.ledger.overshoot, amounts(change.overshoot ?? {})),
      reserved: subtract(this.ledger.reserved, change.free ?? this.ledger.reserved),
    };
    return {
      op: "commit",
      ...this.#common(ledger),
      ...this.#appended(change.entries ?? 1),
      steps: this.steps + 1,
      bodies: change.bodies ?? [],
      violation: change.violation,
    };
  }

  finish(finished = `{"outcome":"Succeeded"}`, violation?: string): FinishCommand {
    return { op: "finish", ...this.#common(this.ledger), ...this.#appended(1), finished, violation };
  }

  heal(
    entries: readonly StoredEntry[],
    position: HealCommand["position"],
    change: Partial<HealCommand> = {},
  ): HealCommand {
    return { op: "heal", ...this.#common(this.ledger), entries, bodies: [], steps: this.steps, position, ...change };
  }

  async claim(store: JournalStore): Promise<Reply> {
    const reply = await store.execute(this.uid, this.claimCommand);
    if (reply.code === "OK" && reply.length > 0) {
      this.length = reply.length;
      this.head = reply.head;
    }
    return reply;
  }

  async run(
    store: JournalStore,
    command: BeginCommand | GrowCommand | CommitCommand | FinishCommand | HealCommand,
  ): Promise<Reply> {
    const reply = await store.execute(this.uid, command);
    if (reply.code === "OK") this.accepted(command, reply);
    return reply;
  }

  accepted(
    command: BeginCommand | GrowCommand | CommitCommand | FinishCommand | HealCommand,
    reply: Extract<Reply, { code: "OK" }>,
  ): void {
    this.seq = command.seq;
    this.length = reply.length;
    if (reply.head !== "") this.head = reply.head;
    this.ledger = command.ledger;
    if (command.op !== "grow") this.steps = command.steps;
  }

  #common(ledger: Ledger) {
    const { attempt, claimId, leaseTtlMs } = this.claimCommand;
    const seq = this.seq + 1;
    return {
      ...this.key,
      attempt,
      claimId,
      seq,
      digest: sha256Hex(`${claimId}/${seq}/${JSON.stringify(ledger)}/${this.length}`),
      ledger,
      leaseTtlMs,
    };
  }

  #appended(count: number): { entries: StoredEntry[]; bodies: StoredBody[]; steps: number } {
    const entries: StoredEntry[] = [];
    for (let offset = 0; offset < count; offset += 1)
      entries.push(
        entryAfter(
          this.length + offset,
          entries.at(-1)?.hash ?? this.head,
          `entry ${this.length + offset} of ${this.claimCommand.claimId}`,
        ),
      );
    return { entries, bodies: [], steps: this.steps };
  }
}
