/**
 * The step protocol: `decide(records, command, now)` is the specification that every store obeys.
 *
 * J1 an entry follows the one before it            J2 only the highest fence may append or charge
 * J3 begin makes the intent durable before a call  J6 repeating a command gives its first reply
 * B1 settled + lost never passes a limit           B2 ledgers are absolute per attempt
 *
 * Checks run in the order of the functions called here; the Redis scripts keep the same order.
 */
import { addLost, admit, crossedAudits, outputLeft, settlesOnlyReserved } from "./accounts.ts";
import { applyLedger, emptyAccount, emptyLedger } from "./amounts.ts";
import { transition } from "./control.ts";
import type {
  BeginCommand,
  ClaimCommand,
  Command,
  CommitCommand,
  Control,
  ControlCommand,
  ExecutionRecord,
  FinishCommand,
  GrowCommand,
  HealCommand,
  HeartbeatCommand,
  ItemRecord,
  OpenCommand,
  Outcome,
  Records,
  ReleaseCommand,
  Reply,
  SequencedWorkerCommand,
  StoredEntry,
  Wake,
} from "./types.ts";

/** prevHash of an item's first entry is derived from its identity, see `genesis` in chain.ts; a store's empty head is "". */
export const emptyHead = "";

const nothing = { records: undefined, entries: [], bodies: [], wake: undefined } as const;

/** The reply and what a store must write for it, atomically. `nowMs` is the store's clock and moves leases only. */
export function decide(records: Records, command: Command, nowMs: number): Outcome {
  if (command.op === "open") return open(records, command);
  const { execution } = records;
  if (execution === undefined) return { reply: { code: "NOT_OPEN" }, ...nothing };
  switch (command.op) {
    case "control":
      return control(records, execution, command);
    case "claim":
      return claim(records, execution, command, nowMs);
    case "release":
      return release(records, execution, command);
    case "heartbeat":
      return heartbeat(records, execution, command, nowMs);
    case "begin":
    case "grow":
    case "commit":
    case "finish":
    case "heal":
      return sequenced(records, execution, command, nowMs);
  }
}

function open(records: Records, command: OpenCommand): Outcome {
  const { execution } = records;
  if (execution !== undefined) {
    if (execution.snapshot !== command.snapshot) return invalid("opened with another snapshot");
    return { reply: ok("", 0, execution.control), ...nothing };
  }
  const opened: ExecutionRecord = {
    snapshot: command.snapshot,
    control: { state: "Running", revision: 1, message: "" },
    account: emptyAccount(command.limits, command.auditLimits),
  };
  return { reply: ok("", 0, opened.control), records: { ...records, execution: opened }, entries: [], bodies: [], wake: "control" };
}

function control(records: Records, execution: ExecutionRecord, command: ControlCommand): Outcome {
  const moved = transition(execution.control, command.to, command.message);
  if (moved === undefined) return { reply: { code: "REFUSED", state: execution.control.state }, ...nothing };
  if (moved === execution.control) return { reply: ok("", 0, moved), ...nothing };
  return { reply: ok("", 0, moved), records: { ...records, execution: { ...execution, control: moved } }, entries: [], bodies: [], wake: "control" };
}

/** J2. A higher attempt takes over at once: the host wrote it to the status before it started the worker. */
function claim(records: Records, execution: ExecutionRecord, command: ClaimCommand, nowMs: number): Outcome {
  const item = records.item;
  if (item !== undefined && item.attempt > command.attempt) return { reply: { code: "FENCED", attempt: item.attempt }, ...nothing };
  if (item !== undefined && item.attempt === command.attempt) {
    if (item.claimId === command.claimId) return { reply: ok(item.head, item.length, execution.control), ...nothing };
    return { reply: { code: "CLAIMED", attempt: item.attempt }, ...nothing };
  }
  const length = item?.length ?? 0;
  const head = item?.head ?? emptyHead;
  if (command.known !== undefined && (length < command.known.length || (length === command.known.length && head !== command.known.head))) {
    return { reply: { code: "ROLLED_BACK", length, head }, ...nothing };
  }
  if (item?.finished !== undefined && item.try >= command.try) return { reply: { code: "FINISHED", finished: item.finished }, ...nothing };
  const settledUp = addLost(records, execution, item);
  const account = settledUp.node ?? emptyAccount(command.limits, command.auditLimits);
  const claimed: ItemRecord = {
    attempt: command.attempt,
    claimId: command.claimId,
    try: command.try,
    length,
    head,
    seq: 0,
    commandDigest: "",
    reply: undefined,
    ledger: emptyLedger,
    steps: item !== undefined && item.try === command.try ? item.steps : 0,
    leaseUntilMs: nowMs + command.leaseTtlMs,
    finished: undefined,
    live: "",
  };
  return {
    reply: ok(head, length, execution.control),
    records: { execution: settledUp.execution, node: account, item: claimed },
    entries: [],
    bodies: [],
    wake: "progress",
  };
}

/** A dead attempt: charge what it held, and fence it so that a zombie can do nothing more. */
function release(records: Records, execution: ExecutionRecord, command: ReleaseCommand): Outcome {
  const item = records.item;
  if (item !== undefined && item.attempt > command.attempt) return { reply: { code: "FENCED", attempt: item.attempt }, ...nothing };
  if (item !== undefined && item.attempt === command.attempt && item.claimId === "") return { reply: ok(item.head, item.length, execution.control), ...nothing };
  const settledUp = addLost(records, execution, item);
  const released: ItemRecord = {
    attempt: command.attempt,
    claimId: "",
    try: item?.try ?? 0,
    length: item?.length ?? 0,
    head: item?.head ?? emptyHead,
    seq: 0,
    commandDigest: "",
    reply: undefined,
    ledger: emptyLedger,
    steps: item?.steps ?? 0,
    leaseUntilMs: 0,
    finished: item?.finished,
    live: "",
  };
  return {
    reply: ok(released.head, released.length, execution.control),
    records: { execution: settledUp.execution, node: settledUp.node, item: released },
    entries: [],
    bodies: [],
    wake: "settled",
  };
}

function heartbeat(records: Records, execution: ExecutionRecord, command: HeartbeatCommand, nowMs: number): Outcome {
  const item = records.item;
  const refused = fence(item, command.attempt, command.claimId);
  if (refused !== undefined) return { reply: refused, ...nothing };
  if (item === undefined) return { reply: { code: "RECLAIM", attempt: 0 }, ...nothing };
  return {
    reply: ok(item.head, item.length, execution.control),
    records: { ...records, item: { ...item, leaseUntilMs: nowMs + command.leaseTtlMs, live: command.live } },
    entries: [],
    bodies: [],
    wake: undefined,
  };
}

function sequenced(records: Records, execution: ExecutionRecord, command: SequencedWorkerCommand, nowMs: number): Outcome {
  const item = records.item;
  const refused = fence(item, command.attempt, command.claimId);
  if (refused !== undefined) return { reply: refused, ...nothing };
  const account = records.node;
  if (item === undefined || account === undefined) return { reply: { code: "RECLAIM", attempt: item?.attempt ?? 0 }, ...nothing };
  const repeated = firstReply(item, command);
  if (repeated !== undefined) return { reply: repeated, ...nothing };
  if (item.finished !== undefined) return { reply: { code: "FINISHED", finished: item.finished }, ...nothing };
  if (command.op === "begin" && !admits(execution.control, command.phase)) return { reply: { code: "STOPPED", control: execution.control }, ...nothing };
  const entries = command.op === "grow" ? [] : command.entries;
  if (!follows(item, entries)) return { reply: { code: "GAP", seq: item.seq, length: item.length, head: item.head }, ...nothing };
  const admission = settle({ ...records, execution, node: account, item }, command);
  if (admission !== undefined) return { reply: admission, ...nothing };
  return accept({ execution, node: account, item }, command, entries, nowMs);
}

interface Present {
  readonly execution: ExecutionRecord;
  readonly node: NonNullable<Records["node"]>;
  readonly item: ItemRecord;
}

/** Undefined = the new ledger may be written. heal repeats what was admitted before, so it is not asked again. */
function settle(records: Present, command: SequencedWorkerCommand): Reply | undefined {
  switch (command.op) {
    case "begin":
      return admit(records, command.ledger, "begin");
    case "grow":
      return admit(records, command.ledger, "grow");
    case "commit":
    case "finish":
      return settlesOnlyReserved(records.item.ledger, command.ledger) ? undefined : { code: "INVALID", detail: "settled more than it reserved" };
    case "heal":
      return undefined;
  }
}

function accept(records: Present, command: SequencedWorkerCommand, entries: readonly StoredEntry[], nowMs: number): Outcome {
  const { execution, node, item } = records;
  const last = entries.at(-1);
  const ended = command.op === "finish";
  const violation = command.op === "commit" || command.op === "finish" ? command.violation : undefined;
  const controlAfter = violation === undefined ? execution.control : (transition(execution.control, "Violated", violation) ?? execution.control);
  const accounts = { execution: applyLedger(execution.account, item.ledger, command.ledger), node: applyLedger(node, item.ledger, command.ledger) };
  const reply: Reply = {
    code: "OK",
    length: item.length + entries.length,
    head: last?.hash ?? item.head,
    control: controlAfter,
    crossed: crossedAudits({ execution: execution.account, node }, accounts),
    left: command.op === "begin" || command.op === "grow" ? outputLeft(accounts) : -1,
  };
  const next: ItemRecord = {
    ...item,
    length: reply.length,
    head: reply.head,
    seq: command.seq,
    commandDigest: command.digest,
    reply,
    ledger: command.ledger,
    steps: command.op === "grow" ? item.steps : command.steps,
    leaseUntilMs: nowMs + command.leaseTtlMs,
    finished: ended ? command.finished : undefined,
  };
  const written = { execution: { ...execution, control: controlAfter, account: accounts.execution }, node: accounts.node, item: next };
  return {
    reply,
    records: ended ? { ...addLost(written, written.execution, next), item: { ...next, ledger: { ...command.ledger, reserved: emptyLedger.reserved } } } : written,
    entries,
    bodies: command.op === "grow" ? [] : command.bodies,
    wake: wakeOf(command, controlAfter !== execution.control),
  };
}

function wakeOf(command: BeginCommand | GrowCommand | CommitCommand | FinishCommand | HealCommand, controlMoved: boolean): Wake | undefined {
  if (controlMoved) return "control";
  if (command.op === "finish") return "progress";
  return command.op === "commit" ? "settled" : undefined;
}

/** J2. Undefined = this attempt and claim hold the item (or nobody has claimed it yet and `item` is undefined). */
function fence(item: ItemRecord | undefined, attempt: number, claimId: string): Reply | undefined {
  if (item === undefined || item.attempt < attempt) return { code: "RECLAIM", attempt: item?.attempt ?? 0 };
  if (item.attempt > attempt || item.claimId !== claimId) return { code: "FENCED", attempt: item.attempt };
  return undefined;
}

/** J6. One command is in flight per claim, so a lower sequence has no reader left and a higher one than the next means lost writes. */
function firstReply(item: ItemRecord, command: SequencedWorkerCommand): Reply | undefined {
  if (command.op === "heal") return command.seq === item.seq && command.digest === item.commandDigest ? item.reply : undefined;
  if (command.seq === item.seq + 1) return undefined;
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

function ok(head: string, length: number, state: Control): Reply {
  return { code: "OK", length, head, control: state, crossed: [], left: -1 };
}

function invalid(detail: string): Outcome {
  return { reply: { code: "INVALID", detail }, ...nothing };
}
