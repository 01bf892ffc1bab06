/** Commands of a worker that holds a claim, numbered one after another: begin, grow, commit, finish, heal. Checks run in this order. */
import { admit, crossedAudits, ledgerProblem, outputLeft } from "./accounts.ts";
import { applyLedger, emptyLedger, loseReserved } from "./amounts.ts";
import { transition } from "./control.ts";
import { fence, nothing } from "./outcomes.ts";
import type {
  Account,
  BeginCommand,
  Control,
  ExecutionRecord,
  ItemRecord,
  KnownPosition,
  Outcome,
  Records,
  Reply,
  SequencedWorkerCommand,
  StoredEntry,
  Wake,
} from "./types.ts";

export function sequenced(
  records: Records,
  execution: ExecutionRecord,
  command: SequencedWorkerCommand,
  nowMs: number,
): Outcome {
  const item = records.item;
  const refused = fence(item, command.attempt, command.claimId);
  if (refused !== undefined) return { reply: refused, ...nothing };
  const account = records.node;
  if (item === undefined || account === undefined)
    return { reply: { code: "RECLAIM", attempt: item?.attempt ?? 0 }, ...nothing };
  const repeated = firstReply(item, command);
  if (repeated !== undefined) return { reply: repeated, ...nothing };
  if (item.finished !== undefined) return { reply: { code: "FINISHED", finished: item.finished }, ...nothing };
  if (command.op === "begin" && !admits(execution.control, command.phase))
    return { reply: { code: "STOPPED", control: execution.control }, ...nothing };
  const entries = command.op === "grow" ? [] : command.entries;
  if (!follows(item, entries) || (command.op === "heal" && !startsAt(item, command.position)))
    return { reply: { code: "GAP", seq: item.seq, length: item.length, head: item.head }, ...nothing };
  const admission = settle({ ...records, execution, node: account, item }, command);
  if (admission !== undefined) return { reply: admission, ...nothing };
  return accept({ execution, node: account, item }, command, entries, nowMs);
}

interface Present {
  readonly execution: ExecutionRecord;
  readonly node: NonNullable<Records["node"]>;
  readonly item: ItemRecord;
}

/** Undefined = the new ledger may be written. */
function settle(records: Present, command: SequencedWorkerCommand): Reply | undefined {
  const problem = ledgerProblem(records.item.ledger, command.ledger, command.op);
  if (problem !== undefined) return { code: "INVALID", detail: problem };
  return command.op === "commit" || command.op === "finish" ? undefined : admit(records, command.ledger, command.op);
}

function accept(
  records: Present,
  command: SequencedWorkerCommand,
  entries: readonly StoredEntry[],
  nowMs: number,
): Outcome {
  const { item } = records;
  const control = controlAfter(records.execution.control, command);
  const written = newAccounts(records, command);
  const reply: Reply = {
    code: "OK",
    length: item.length + entries.length,
    head: entries.at(-1)?.hash ?? item.head,
    control,
    crossed: crossedAudits({ execution: records.execution.account, node: records.node }, written),
    left: command.op === "begin" || command.op === "grow" ? outputLeft(written) : -1,
  };
  const next: ItemRecord = {
    ...item,
    length: reply.length,
    head: reply.head,
    seq: command.seq,
    commandDigest: command.digest,
    reply,
    ledger: command.op === "finish" ? { ...command.ledger, reserved: emptyLedger.reserved } : command.ledger,
    steps: command.op === "grow" ? item.steps : command.steps,
    leaseUntilMs: nowMs + command.leaseTtlMs,
    finished: command.op === "finish" ? command.finished : undefined,
  };
  return {
    reply,
    records: {
      execution: { ...records.execution, control, account: written.execution },
      node: written.node,
      item: next,
    },
    entries,
    bodies: command.op === "grow" ? [] : command.bodies,
    wake: wakeOf(command, control !== records.execution.control),
  };
}

function controlAfter(before: Control, command: SequencedWorkerCommand): Control {
  const violation = command.op === "commit" || command.op === "finish" ? command.violation : undefined;
  return violation === undefined ? before : (transition(before, "Violated", violation) ?? before);
}

/** B2: the difference to the item's ledger. What a finished attempt still holds nobody will settle: it is lost. */
function newAccounts(records: Present, command: SequencedWorkerCommand): { execution: Account; node: Account } {
  const moved = (account: Account): Account => {
    const after = applyLedger(account, records.item.ledger, command.ledger);
    return command.op === "finish" ? loseReserved(after, command.ledger.reserved) : after;
  };
  return { execution: moved(records.execution.account), node: moved(records.node) };
}

function wakeOf(command: SequencedWorkerCommand, controlMoved: boolean): Wake | undefined {
  if (controlMoved) return "control";
  if (command.op === "finish") return "progress";
  return command.op === "commit" ? "settled" : undefined;
}

/**
 * J6. One command is in flight per claim, so a lower sequence has no reader left and a higher one than the next means lost
 * writes; only heal may leave such a gap behind it.
 */
function firstReply(item: ItemRecord, command: SequencedWorkerCommand): Reply | undefined {
  if (command.seq === item.seq + 1 || (command.op === "heal" && command.seq > item.seq)) return undefined;
  if (command.seq > item.seq) return { code: "GAP", seq: item.seq, length: item.length, head: item.head };
  if (command.seq === item.seq && command.digest === item.commandDigest && item.reply !== undefined) return item.reply;
  return { code: "INVALID", detail: `sequence ${command.seq} was used for another command` };
}

/** A finally node runs under Finalizing, every other under Running. */
function admits(state: Control, phase: BeginCommand["phase"]): boolean {
  return phase === "Finally" ? state.state === "Finalizing" : state.state === "Running";
}

/** J1: consecutive, starting right after what is stored. */
function follows(item: ItemRecord, entries: readonly StoredEntry[]): boolean {
  let index = item.length;
  let head = item.head;
  for (const entry of entries) {
    if (entry.index !== index || (index > 0 && entry.prevHash !== head)) return false;
    index += 1;
    head = entry.hash;
  }
  return true;
}

function startsAt(item: ItemRecord, position: KnownPosition): boolean {
  return item.length === position.length && item.head === position.head;
}
