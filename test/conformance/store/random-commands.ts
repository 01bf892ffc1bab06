/** Random commands of one run: valid, stale, duplicated, malformed. Every kind of reply must come up. */
import { add, zeroAmounts } from "../../../src/core/protocol/amounts.ts";
import {
  type Amounts,
  type Command,
  type ControlState,
  type Limits,
  type NodeKey,
  type Reply,
  type SequencedWorkerCommand,
  type Unit,
  units,
} from "../../../src/core/protocol/types.ts";
import { amounts, body, Hand, openCommand } from "../../support/journal.ts";
import type { Random } from "../../support/random.ts";

export const keys: readonly NodeKey[] = [
  { node: "a" },
  { node: "b" },
  { node: "rate", item: 0 },
  { node: "rate", item: 1 },
];
const states: readonly ControlState[] = [
  "Running",
  "Suspended",
  "Running",
  "Suspended",
  "Running",
  "Cancelled",
  "Violated",
  "Finalizing",
];

export class RandomRun {
  readonly #random: Random;
  readonly #uid: string;
  readonly #nodeLimits: Limits;
  readonly #runLimits: Limits;
  readonly #hands: Hand[] = [];
  readonly #sent: Command[] = [];
  /** Hands that were turned away, with the highest attempt they have heard of: their host starts another soon. */
  readonly #out = new Map<Hand, number>();

  constructor(random: Random, uid: string) {
    this.#random = random;
    this.#uid = uid;
    this.#runLimits = this.#limits(4_000);
    this.#nodeLimits = this.#limits(2_000);
    for (const key of keys)
      this.#hands.push(new Hand(uid, key, { limits: this.#nodeLimits, auditLimits: this.#limits(300) }));
  }

  first(): Command {
    return openCommand(this.#runLimits, this.#limits(500));
  }

  next(): Command {
    const command = this.#choose();
    this.#sent.push(command);
    if (this.#sent.length > 60) this.#sent.shift();
    return command;
  }

  /** Bookkeeping of the worker that sent it. */
  replied(command: Command, reply: Reply): void {
    const hand = this.#hands.find(
      ({ key }) => "node" in command && key.node === command.node && key.item === command.item,
    );
    if (hand === undefined) return;
    if (reply.code === "FENCED" || reply.code === "CLAIMED") this.#out.set(hand, reply.attempt);
    if (reply.code === "FINISHED") this.#out.set(hand, hand.claimCommand.attempt);
    if (reply.code !== "OK") return;
    if (command.op === "claim") {
      const next = new Hand(this.#uid, hand.key, command);
      next.length = reply.length;
      if (reply.length > 0) next.head = reply.head;
      this.#hands[this.#hands.indexOf(hand)] = next;
    }
    if ("seq" in command && command.claimId === hand.claimCommand.claimId && command.seq > hand.seq)
      hand.accepted(command, reply);
  }

  #choose(): Command {
    const random = this.#random;
    const roll = random.next();
    if (roll < 0.07 && this.#sent.length > 0) return random.pick(this.#sent);
    if (roll < 0.1) return random.chance(0.8) ? this.first() : { ...openCommand(), snapshot: "another" };
    if (roll < 0.115)
      return {
        op: "control",
        to: random.pick(random.chance(0.004) ? states : ["Running", "Suspended", "Running"]),
        message: `reason ${random.below(9)}\nand more`,
      };
    const hand = random.pick(this.#hands);
    const heard = this.#out.get(hand);
    if (heard !== undefined && random.chance(0.6))
      return {
        ...hand.claimCommand,
        attempt: heard + 1,
        claimId: `claim-${random.below(1_000)}`,
        try: hand.claimCommand.try + random.below(2),
        known: undefined,
      };
    if (roll < 0.17) return this.#claim(hand);
    if (roll < 0.18) return { op: "release", ...hand.key, attempt: this.#near(hand.claimCommand.attempt) };
    if (roll < 0.2)
      return {
        op: "heartbeat",
        ...hand.key,
        attempt: this.#near(hand.claimCommand.attempt),
        claimId: hand.claimCommand.claimId,
        live: `{"n":${random.below(9)}}`,
        leaseTtlMs: 1_000,
      };
    const command = this.#sequenced(hand);
    return random.chance(0.15) ? this.#spoil(command) : command;
  }

  #claim(hand: Hand): Command {
    const random = this.#random;
    const { claimCommand } = hand;
    const attempt = this.#near(claimCommand.attempt + (random.chance(0.4) ? 1 : 0));
    const claimId = random.chance(0.05)
      ? ""
      : random.chance(0.3)
        ? claimCommand.claimId
        : `claim-${random.below(1_000)}`;
    const known = random.chance(0.7)
      ? undefined
      : {
          length: Math.max(0, hand.length + random.below(3) - 1),
          head: random.chance(0.7) ? (hand.length === 0 ? "" : hand.head) : "ff",
        };
    return {
      ...claimCommand,
      attempt,
      claimId,
      try: Math.max(1, claimCommand.try + (random.chance(0.25) ? 1 : 0)),
      known,
    };
  }

  #sequenced(hand: Hand): SequencedWorkerCommand {
    const random = this.#random;
    const held = hand.ledger.reserved;
    const roll = random.next();
    if (roll < 0.35) {
      const settled = random.chance(0.5) ? { ModelCalls: 1 } : { ToolCalls: 1 };
      return {
        ...hand.begin({ settled, reserved: this.#some(60) }, random.chance(0.1) ? { phase: "Finally" } : {}),
        bodies: this.#bodies(),
      };
    }
    if (roll < 0.55) return hand.grow(this.#some(80));
    if (roll < 0.9) {
      const part = random.next() * random.next();
      const free = scaled(held, part);
      const violation = random.chance(0.0004) ? { violation: "PolicyViolation: x\ny" } : {};
      return hand.commit(scaled(free, random.next() * random.next() * random.next()), {
        free,
        overshoot: random.chance(0.1) ? { TotalTokens: 3 } : {},
        bodies: this.#bodies(),
        entries: 1 + random.below(2),
        ...violation,
      });
    }
    if (roll < 0.94)
      return hand.finish(`{"n":${random.below(9)}}`, random.chance(0.004) ? "broken at the end" : undefined);
    const position = { length: hand.length, head: hand.length === 0 ? "" : hand.head };
    const { entries } = hand.begin();
    const heal = hand.heal(random.chance(0.5) ? entries : [], position, { seq: hand.seq + 1 + random.below(4) });
    return { ...heal, ledger: { ...heal.ledger, settled: add(heal.ledger.settled, this.#some(5)) } };
  }

  #spoil(command: SequencedWorkerCommand): SequencedWorkerCommand {
    const random = this.#random;
    const unit = random.pick(units);
    const ledgerWith = (part: "settled" | "overshoot" | "reserved", value: number) => ({
      ...command.ledger,
      [part]: { ...command.ledger[part], [unit]: value },
    });
    switch (random.below(11)) {
      case 0:
        return { ...command, seq: Math.max(0, command.seq + random.below(5) - 2) };
      case 1:
        return { ...command, digest: "another" };
      case 2:
        return { ...command, attempt: this.#near(command.attempt) };
      case 3:
        return { ...command, claimId: random.chance(0.5) ? "" : "stranger" };
      case 4:
        return { ...command, ledger: ledgerWith("reserved", command.ledger.reserved[unit] - 1 - random.below(50)) };
      case 5:
        return { ...command, ledger: ledgerWith("settled", command.ledger.settled[unit] + random.below(50) - 10) };
      case 6:
        return { ...command, ledger: ledgerWith("overshoot", command.ledger.overshoot[unit] + random.below(5) - 3) };
      case 7:
        return {
          ...command,
          ledger: ledgerWith(
            random.pick(["settled", "overshoot", "reserved"]),
            random.pick([0.5, -1, 2 ** 53, 1e300, Number.NaN, Number.POSITIVE_INFINITY]),
          ),
        };
      case 8:
        return "entries" in command
          ? { ...command, entries: command.entries.map((entry) => ({ ...entry, index: entry.index + 1 })) }
          : command;
      case 9:
        return "entries" in command ? { ...command, entries: [...command.entries, ...command.entries] } : command;
      default:
        return command.op === "heal"
          ? { ...command, position: { ...command.position, length: command.position.length + 1 } }
          : { ...command, seq: command.seq + 9 };
    }
  }

  #some(end: number): Amounts {
    const chosen: Partial<Record<Unit, number>> = {};
    for (const unit of units)
      if (this.#random.chance(0.3))
        chosen[unit] = this.#random.below(unit === "Steps" || unit.endsWith("Calls") ? 3 : end);
    return amounts(chosen);
  }

  #bodies() {
    return this.#random.chance(0.5) ? [] : [body(`body ${this.#random.below(40)}`)];
  }

  #limits(end: number): Limits {
    const chosen: Partial<Record<Unit, number>> = {};
    for (const unit of units)
      if (this.#random.chance(0.3))
        chosen[unit] = this.#random.below(unit === "Steps" ? end / 80 : unit.endsWith("Calls") ? end / 10 : end);
    return chosen;
  }

  #near(attempt: number): number {
    return this.#random.chance(0.8) ? attempt : Math.max(0, attempt + this.#random.below(3) - 1);
  }
}

function scaled(held: Amounts, part: number): Amounts {
  const result: Record<Unit, number> = { ...zeroAmounts };
  for (const unit of units) result[unit] = Math.max(0, Math.floor(held[unit] * part));
  return result;
}
