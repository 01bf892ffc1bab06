/**
 * One claim on one node's journal: the only place in a worker that appends or charges.
 *
 * Commands go out one at a time (J1, J6). A lost reply is answered by sending the very same command again. When the store
 * turns out to know less than it once acknowledged, the kept tail is appended again; if that cannot be, the run ends in
 * DurabilityLost, never in silence.
 */
import { add, emptyLedger, subtract } from "../core/protocol/amounts.ts";
import { genesis } from "../core/protocol/names.ts";
import type {
  Amounts,
  Command,
  Control,
  Ledger,
  Limits,
  NodeKey,
  Reply,
  SequencedWorkerCommand,
  StoredBody,
} from "../core/protocol/types.ts";
import { chain, type EntryDraft } from "../core/steps/chain.ts";
import { type Admission, admission, type Hold } from "../core/steps/purchase.ts";
import { commandDigest, deliver, type Delivery, type Draft } from "./command.ts";
import type { Lease } from "./lease.ts";
import { durabilityLost, refused } from "./replies.ts";
import { Tail } from "./tail.ts";

export interface SessionOptions extends Delivery {
  readonly key: NodeKey;
  readonly attempt: number;
  readonly try: number;
  readonly phase: "Main" | "Finally";
  readonly limits: Limits;
  readonly auditLimits: Limits;
  readonly known: { readonly length: number; readonly head: string } | undefined;
  readonly lease: Lease;
  /** Each OK reply's control and crossed audit limits. */
  readonly onReply?: (control: Control, crossed: readonly string[]) => void;
}

export interface CommitOrder {
  readonly drafts: readonly EntryDraft[];
  readonly bodies: readonly StoredBody[];
  /** What the call held, and what of it is used: reserved goes back, settled and overshoot are added. */
  readonly free: Amounts;
  readonly settled: Amounts;
  readonly overshoot: Amounts;
  readonly violation?: string | undefined;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #claimId: string;
  #seq = 0;
  #length = 0;
  #head: string;
  #ledger: Ledger = emptyLedger;
  #steps = 0;
  readonly #tail = new Tail();
  #queue: Promise<unknown> = Promise.resolve();
  /** Why a command's effect is unknown: its sequence may be used up, so nothing may follow it. */
  #unknown: Error | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#claimId = options.clock.uuid();
    this.#head = genesis(options.uid, options.key);
  }

  get length(): number {
    return this.#length;
  }

  get identity(): NodeKey & { attempt: number; claimId: string } {
    return { ...this.#node(), attempt: this.#options.attempt, claimId: this.#claimId };
  }

  /** J2. Takes the item for this attempt. Returns the control state, or the text of finish when there is nothing left to do. */
  async claim(): Promise<{ control: Control } | { finished: string }> {
    const reply = await this.#claimReply();
    if (reply.code === "FINISHED") return { finished: reply.finished };
    if (reply.code !== "OK") throw refused(reply, this.#options);
    if (reply.length > 0) {
      this.#length = reply.length;
      this.#head = reply.head;
    }
    this.#options.onReply?.(reply.control, reply.crossed);
    return { control: reply.control };
  }

  /** Steps of this try that the journal already holds, after reading it. */
  resumeAt(steps: number): void {
    this.#steps = steps;
  }

  /** J3. WAIT, BUDGET and LIMIT change nothing and are the caller's to act on. Throws StoppedError. */
  begin(drafts: readonly EntryDraft[], bodies: readonly StoredBody[], hold: Hold): Promise<Admission> {
    return this.#enqueue(async () => {
      const ledger: Ledger = {
        ...this.#ledger,
        settled: add(this.#ledger.settled, hold.settled),
        reserved: add(this.#ledger.reserved, hold.reserved),
      };
      const entries = chain(drafts, this.#length, this.#head);
      const reply = await this.#send({
        op: "begin",
        phase: this.#options.phase,
        entries,
        bodies,
        ledger,
        steps: this.#stepsWith(drafts),
      });
      return admission(reply);
    });
  }

  /** Reserve more for a running call. A refusal changes nothing. */
  grow(more: Amounts): Promise<Admission> {
    return this.#enqueue(async () => {
      const reply = await this.#send({
        op: "grow",
        ledger: { ...this.#ledger, reserved: add(this.#ledger.reserved, more) },
      });
      return admission(reply);
    });
  }

  /** Append results and settle. Returns the index of the last entry. */
  commit(order: CommitOrder): Promise<number> {
    return this.#enqueue(async () => {
      const entries = chain(order.drafts, this.#length, this.#head);
      await this.#send({
        op: "commit",
        entries,
        bodies: order.bodies,
        ledger: this.#settled(order),
        steps: this.#stepsWith(order.drafts),
        violation: order.violation,
      });
      return this.#length - 1;
    });
  }

  /** Last command of the attempt. */
  finish(
    drafts: readonly EntryDraft[],
    bodies: readonly StoredBody[],
    finished: string,
    violation?: string,
  ): Promise<void> {
    return this.#enqueue(async () => {
      const entries = chain(drafts, this.#length, this.#head);
      await this.#send({
        op: "finish",
        entries,
        bodies,
        ledger: this.#ledger,
        steps: this.#steps,
        finished,
        violation,
      });
    });
  }

  #stepsWith(drafts: readonly EntryDraft[]): number {
    return this.#steps + drafts.filter((draft) => draft.type === "step").length;
  }

  #settled(order: CommitOrder): Ledger {
    return {
      settled: add(this.#ledger.settled, order.settled),
      overshoot: add(this.#ledger.overshoot, order.overshoot),
      reserved: subtract(this.#ledger.reserved, order.free),
    };
  }

  /** Runs jobs one after another; a failed job does not stop the next, but for one whose effect nobody knows. */
  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(() => {
      if (this.#unknown !== undefined) throw this.#unknown;
      return job();
    });
    this.#queue = run.catch(() => undefined);
    return run;
  }

  async #send(draft: Draft): Promise<Reply> {
    for (;;) {
      const command = this.#sequence(draft);
      const reply = await this.#deliver(command);
      if (reply.code === "GAP" || reply.code === "RECLAIM") {
        await this.#heal(reply);
        continue; // same content, next sequence
      }
      if (reply.code === "FENCED") await this.#refuseSilentLoss();
      if (reply.code === "OK") this.#accepted(command, reply);
      else if (reply.code !== "WAIT" && reply.code !== "BUDGET" && reply.code !== "LIMIT")
        throw refused(reply, this.#options);
      return reply;
    }
  }

  /** Fenced by a successor is an ordinary end, unless that successor started from a store that had forgotten our entries. */
  async #refuseSilentLoss(): Promise<void> {
    if (this.#length === 0) return;
    const [last] = await this.#options.store
      .entries(this.#options.uid, this.#node(), this.#length - 1, 1)
      .catch(() => []);
    if (last !== undefined && last.hash === this.#head) return;
    throw this.#durabilityLost(last === undefined ? this.#length - 1 : last.index);
  }

  #sequence(draft: Draft): SequencedWorkerCommand {
    const content = { ...draft, ...this.identity, seq: this.#seq + 1, leaseTtlMs: this.#options.lease.ttlMs };
    return { ...content, digest: commandDigest(content) };
  }

  #accepted(command: SequencedWorkerCommand, reply: Extract<Reply, { code: "OK" }>): void {
    this.#seq = command.seq;
    this.#length = reply.length;
    if (reply.head !== "") this.#head = reply.head;
    this.#ledger = command.ledger;
    if (command.op !== "grow") this.#steps = command.steps;
    if (command.op !== "grow" && command.op !== "heal") this.#tail.keep(command.entries, command.bodies);
    this.#options.onReply?.(reply.control, reply.crossed);
  }

  /** The store was rolled back to an earlier, consistent state: claim again if even that is gone, then append the tail it lost. */
  async #heal(reply: Extract<Reply, { code: "GAP" | "RECLAIM" }>): Promise<void> {
    let position = reply.code === "GAP" ? { length: reply.length, head: reply.head } : undefined;
    if (position === undefined) {
      const claimed = await this.#claimReply();
      if (claimed.code !== "OK") throw refused(claimed, this.#options);
      position = { length: claimed.length, head: claimed.head };
    }
    const lost = this.#tail.between(position, { length: this.#length, head: this.#head });
    if (lost === undefined) throw this.#durabilityLost(position.length);
    const healed = this.#sequence({
      op: "heal",
      position,
      ...lost,
      ledger: this.#ledger,
      steps: this.#steps,
    });
    const answer = await this.#deliver(healed);
    // Rolled back again in the meantime: what the new reply says counts.
    if (answer.code === "GAP" || answer.code === "RECLAIM") return this.#heal(answer);
    if (answer.code === "FENCED" || answer.code === "BUDGET" || answer.code === "LIMIT")
      throw this.#durabilityLost(position.length);
    if (answer.code !== "OK") throw refused(answer, this.#options);
    this.#accepted(healed, answer);
  }

  #durabilityLost(held: number): Error {
    return durabilityLost(this.#options.key, held, this.#length);
  }

  async #claimReply(): Promise<Reply> {
    const { limits, auditLimits, known, lease } = this.#options;
    return this.#deliver({
      op: "claim",
      ...this.identity,
      try: this.#options.try,
      limits,
      auditLimits,
      known,
      leaseTtlMs: lease.ttlMs,
    });
  }

  async #deliver(command: Command): Promise<Reply> {
    try {
      return await deliver(this.#options, command);
    } catch (error) {
      this.#unknown = error instanceof Error ? error : new Error(String(error), { cause: error });
      throw error;
    }
  }

  #node(): NodeKey {
    return this.#options.key.item === undefined
      ? { node: this.#options.key.node }
      : { node: this.#options.key.node, item: this.#options.key.item };
  }
}
