/**
 * What must hold, kept beside the store from the commands it accepted and the calls that were made; never from the store's
 * own bookkeeping. Each `assert…` throws Broken with the name of the invariant.
 */
import type { MemoryStore } from "../../src/adapters/store/memory/memory-store.ts";
import { itemKey } from "../../src/core/protocol/names.ts";
import { type Command, type Ledger, type NodeKey, type Reply, units } from "../../src/core/protocol/types.ts";
import type { JournalEntry } from "../../src/core/steps/format.ts";

export class Broken extends Error {
  override readonly name = "Broken";
  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`);
  }
}

interface Known {
  /** Item -> highest attempt that claimed or was released. */
  attempts: Map<string, number>;
  /** Item and attempt -> the claim that holds it. */
  claims: Map<string, string>;
  /** Item and attempt -> its last accepted ledger. */
  ledgers: Map<string, Ledger>;
}

export class Shadow {
  readonly #uid: string;
  readonly #store: MemoryStore;
  readonly #parsed = new Map<string, JournalEntry>();
  readonly #checked = new Map<string, number>();
  #known: Known = { attempts: new Map(), claims: new Map(), ledgers: new Map() };
  rolledBack = false;

  constructor(uid: string, store: MemoryStore) {
    this.#uid = uid;
    this.#store = store;
  }

  copy(): unknown {
    return structuredClone(this.#known);
  }

  restore(copy: unknown): void {
    this.#known = structuredClone(copy) as Known;
    this.#checked.clear();
    this.rolledBack = true;
  }

  /** After each command that reached the store. `first` = it was not a repetition. */
  applied(command: Command, reply: Reply, before: { state: string | undefined; seq: number }): void {
    if (!("node" in command) || reply.code !== "OK") return;
    const item = itemKey(command);
    const highest = this.#known.attempts.get(item) ?? 0;
    if (command.attempt < highest)
      throw new Broken("J2", `${command.op} of attempt ${command.attempt} was accepted after attempt ${highest}`);
    this.#known.attempts.set(item, command.attempt);
    const held = `${item}#${command.attempt}`;
    if (command.op === "claim" && !this.#known.claims.has(held)) this.#known.claims.set(held, command.claimId);
    if ("claimId" in command && this.#known.claims.get(held) !== command.claimId)
      throw new Broken(
        "J2",
        `${command.op} of claim ${command.claimId} was accepted, ${this.#known.claims.get(held)} holds ${held}`,
      );
    if (!("seq" in command)) return;
    if (command.op === "begin" && command.seq > before.seq && before.state !== "Running")
      throw new Broken("STOPPED", `a call was admitted under ${before.state}`);
    this.#known.ledgers.set(held, command.ledger);
  }

  /** J1, B1, B2 over the whole run as it is now. */
  assertStore(): void {
    const { execution, nodes, items, entries } = this.#store.recordsOf(this.#uid);
    for (const [name, list] of entries) {
      let prev = "";
      for (let index = this.#checked.get(name) ?? 0; index < list.length; index += 1) {
        const entry = list[index];
        prev = index === 0 ? "" : (list[index - 1]?.hash ?? "");
        if (entry === undefined || entry.index !== index || (index > 0 && entry.prevHash !== prev))
          throw new Broken("J1", `entry ${index} of ${name} does not follow`);
      }
      this.#checked.set(name, list.length);
      if (items.get(name)?.length !== list.length)
        throw new Broken("J1", `${name} says ${items.get(name)?.length} entries and holds ${list.length}`);
    }
    for (const [name, account] of [["Execution", execution?.account] as const, ...nodes]) {
      if (account === undefined) continue;
      for (const unit of units) {
        const limit = account.limits[unit];
        if (limit !== undefined && account.settled[unit] + account.lost[unit] > limit)
          throw new Broken("B1", `${name} ${unit}: ${account.settled[unit]} + ${account.lost[unit]} lost > ${limit}`);
        if (account.reserved[unit] < 0 || account.lost[unit] < 0) throw new Broken("B1", `${name} ${unit} is negative`);
      }
    }
    for (const unit of units) {
      const sum = [...this.#known.ledgers.values()].reduce((total, ledger) => total + ledger.settled[unit], 0);
      if (execution !== undefined && execution.account.settled[unit] !== sum)
        throw new Broken("B2", `${unit}: ${execution.account.settled[unit]} settled, attempts sent ${sum}`);
    }
  }

  /** What providers really delivered is charged, or at least held. */
  assertTruth(delivered: number): void {
    const account = this.#store.recordsOf(this.#uid).execution?.account;
    if (account === undefined || this.rolledBack) return;
    const charged = account.settled.TotalTokens + account.lost.TotalTokens + account.reserved.TotalTokens;
    if (delivered > charged)
      throw new Broken("B1", `${delivered} tokens were delivered, ${charged} are charged or held`);
  }

  /** J3 and J4, at the moment a call leaves. */
  assertMayCall(
    key: NodeKey,
    attempt: number,
    call: { readonly name: string; readonly idempotencyKey: string },
    stepKeys: (entry: JournalEntry) => string | undefined,
  ): void {
    const journal = this.journal(key);
    const intent = journal.findLast((entry) => entry.type === "intent" && stepKeys(entry) === call.idempotencyKey);
    if (!this.rolledBack && (intent === undefined || intent.attempt !== attempt))
      throw new Broken("J3", `${call.name} of ${itemKey(key)}#${attempt} has no durable intent`);
    const committed = journal.find(
      (entry) => entry.type === "step" && entry.attempt <= attempt && stepKeys(entry) === call.idempotencyKey,
    );
    if (committed !== undefined)
      throw new Broken(
        "J4",
        `${call.name} of ${itemKey(key)}#${attempt} is recorded at ${committed.index} and made again`,
      );
  }

  /** A worker that goes on after a rollback has everything it was told is durable, or it must not go on. */
  assertHolds(key: NodeKey, length: number, head: string, who: string): void {
    if (length === 0) return;
    const entry = this.#store.recordsOf(this.#uid).entries.get(itemKey(key))?.[length - 1];
    if (entry?.hash !== head)
      throw new Broken("durability", `${who} goes on, but entry ${length - 1} that it was told is durable is gone`);
  }

  /** After a run that was neither rolled back nor left with a living worker. */
  assertSettled(): void {
    const { execution, nodes } = this.#store.recordsOf(this.#uid);
    for (const [name, account] of [["Execution", execution?.account] as const, ...nodes]) {
      for (const unit of units)
        if (account !== undefined && account.reserved[unit] !== 0)
          throw new Broken("B1", `${name} still holds ${account.reserved[unit]} ${unit} after the end`);
    }
  }

  journal(key: NodeKey): JournalEntry[] {
    return (this.#store.recordsOf(this.#uid).entries.get(itemKey(key)) ?? []).map(({ hash, bytes }) => {
      const known = this.#parsed.get(hash) ?? (JSON.parse(bytes) as JournalEntry);
      this.#parsed.set(hash, known);
      return known;
    });
  }
}
