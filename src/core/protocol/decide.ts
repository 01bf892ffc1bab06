/**
 * The step protocol: `decide(records, command, now)` is the specification that every store obeys.
 *
 * J1 an entry follows the one before it            J2 only the highest fence may append or charge
 * J3 begin makes the intent durable before a call  J6 repeating a command gives its first reply
 * B1 settled + lost never passes a limit           B2 ledgers are absolute per attempt
 *
 * Checks run in the order of the functions called here; the Redis scripts keep the same order.
 */
import { addLost, admit, crossedAudits, ledgerProblem, outputLeft } from "./accounts.ts";
import { applyLedger, emptyAccount, emptyLedger, loseReserved } from "./amounts.ts";
import { transition } from "./control.ts";
import type {
  Account,
  BeginCommand,
  ClaimCommand,
  Command,
  Control,
  ControlCommand,
  ExecutionRecord,
  HeartbeatCommand,
  ItemRecord,
  KnownPosition,
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
  return {
    reply: ok("", 0, opened.control),
    records: { ...records, execution: opened },
    entries: [],
    bodies: [],
    wake: "control",
  };
}

function control(records: Records, execution: ExecutionRecord, command: ControlCommand): Outcome {
  const moved = transition(execution.control, command.to, command.message);
  if (moved === undefined) return { reply: { code: "REFUSED", state: execution.control.state }, ...nothing };
  if (moved === execution.control) return { reply: ok("", 0, moved), ...nothing };
  return {
    reply: ok("", 0, moved),
    records: { ...records, execution: { ...execution, control: moved } },
    entries: [],
    bodies: [],
    wake: "control",
  };
}

/** J2. A higher attempt takes over at once: the host wrote it to the status before it started the worker. */
function claim(records: Records, execution: ExecutionRecord, command: ClaimCommand, nowMs: number): Outcome {
  if (command.claimId === "") return invalid("a claim needs an id");
  const item = records.item;
  if (item !== undefined && item.attempt > command.attempt)
    return { reply: { code: "FENCED", attempt: item.attempt }, ...nothing };
  if (item !== undefined && item.attempt === command.attempt) {
    if (item.claimId === command.claimId) return { reply: ok(item.head, item.length, execution.control), ...nothing };
    return { reply: { code: "CLAIMED", attempt: item.attempt }, ...nothing };
  }
  const length = item?.length ?? 0;
  const head = item?.head ?? emptyHead;
  if (
    command.known !== undefined &&
    (length < command.known.length || (length === command.known.length && head !== command.known.head))
  ) {
    return { reply: { code: "ROLLED_BACK", length, head }, ...nothing };
  }
  if (item?.finished !== undefined && item.try >= command.try)
    return { reply: { code: "FINISHED", finished: item.finished }, ...nothing };
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
    reply: ok(head, length, execution.control, settledUp.crossed),
    records: { execution: settledUp.execution, node: account, item: claimed },
    entries: [],
    bodies: [],
    wake: "progress",
  };
}

/** A dead attempt: charge what it held, and fence it so that a zombie can do nothing more. */
function release(records: Records, execution: ExecutionRecord, command: ReleaseCommand): Outcome {
  const item = records.item;
  if (item !== undefined && item.attempt > command.attempt)
    return { reply: { code: "FENCED", attempt: item.attempt }, ...nothing };
  if (item !== undefined && item.attempt === command.attempt && item.claimId === "")
    return { reply: ok(item.head, item.length, execution.control), ...nothing };
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
    reply: ok(released.head, released.length, execution.control, settledUp.crossed),
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

function sequenced(
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

/** J2. Undefined = this attempt and claim hold the item (or nobody has claimed it yet and `item` is undefined). */
function fence(item: ItemRecord | undefined, attempt: number, claimId: string): Reply | undefined {
  if (item === undefined || item.attempt < attempt) return { code: "RECLAIM", attempt: item?.attempt ?? 0 };
  if (item.attempt > attempt || item.claimId === "" || item.claimId !== claimId)
    return { code: "FENCED", attempt: item.attempt };
  return undefined;
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

function ok(head: string, length: number, state: Control, crossed: readonly string[] = []): Reply {
  return { code: "OK", length, head, control: state, crossed, left: -1 };
}

function invalid(detail: string): Outcome {
  return { reply: { code: "INVALID", detail }, ...nothing };
}
