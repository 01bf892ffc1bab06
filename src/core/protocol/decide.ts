/**
 * The step protocol: `decide(records, command, now)` is the specification that every store obeys.
 *
 * J1 an entry follows the one before it            J2 only the highest fence may append or charge
 * J3 begin makes the intent durable before a call  J6 repeating a command gives its first reply
 * B1 settled + lost never passes a limit           B2 ledgers are absolute per attempt
 *
 * Checks run in the order of the functions called here; the Redis scripts keep the same order.
 */
import { addLost } from "./accounts.ts";
import { emptyAccount, emptyLedger } from "./amounts.ts";
import { transition } from "./control.ts";
import { fence, invalid, nothing, ok } from "./outcomes.ts";
import { sequenced } from "./sequenced.ts";
import type {
  ClaimCommand,
  Command,
  ControlCommand,
  ExecutionRecord,
  HeartbeatCommand,
  ItemRecord,
  OpenCommand,
  Outcome,
  Records,
  ReleaseCommand,
} from "./types.ts";

/** prevHash of an item's first entry is derived from its identity, see `genesis` in chain.ts; a store's empty head is "". */
export const emptyHead = "";

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
