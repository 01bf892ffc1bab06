/** Commands, replies and records as the Lua scripts write them; prelude.lua is the other half of this file. */
import { zeroAmounts } from "../../../core/protocol/amounts.ts";
import {
  type Account,
  type AccountScope,
  type Amounts,
  type Command,
  type Control,
  type ControlState,
  type ExecutionRecord,
  type ItemRecord,
  type Ledger,
  type Limits,
  type NodeKey,
  type Reply,
  type SequencedWorkerCommand,
  type StoredEntry,
  type Unit,
  units,
} from "../../../core/protocol/types.ts";
import type { RunKeys } from "./keys.ts";

export interface Call {
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** KEYS and ARGV of the script that is named like the command. */
export function encode(keys: RunKeys, command: Command): Call {
  switch (command.op) {
    case "open":
      return {
        keys: [keys.execution],
        args: [command.snapshot, limitsText(command.limits), limitsText(command.auditLimits), keys.channel],
      };
    case "control":
      return { keys: [keys.execution], args: [command.to, command.message, keys.channel] };
    case "claim": {
      const { attempt, claimId, known } = command;
      const position = known === undefined ? ["", ""] : [String(known.length), known.head];
      const limits = [limitsText(command.limits), limitsText(command.auditLimits)];
      return {
        keys: itemKeys(keys, command),
        args: [
          String(attempt),
          claimId,
          String(command.try),
          ...limits,
          ...position,
          String(command.leaseTtlMs),
          keys.channel,
        ],
      };
    }
    case "release":
      return { keys: itemKeys(keys, command), args: [String(command.attempt), keys.channel] };
    case "heartbeat":
      return {
        keys: [keys.execution, keys.item(command)],
        args: [String(command.attempt), command.claimId, command.live, String(command.leaseTtlMs)],
      };
    case "begin":
    case "grow":
    case "commit":
    case "finish":
    case "heal":
      return {
        keys: [...itemKeys(keys, command), keys.entries(command), keys.bodies],
        args: sequencedArgs(keys, command),
      };
  }
}

function itemKeys(keys: RunKeys, key: NodeKey): string[] {
  return [keys.execution, keys.node(key.node), keys.item(key)];
}

function sequencedArgs(keys: RunKeys, command: SequencedWorkerCommand): string[] {
  const { attempt, claimId, seq, digest, leaseTtlMs } = command;
  const steps = command.op === "grow" ? "" : String(command.steps);
  const entries = command.op === "grow" ? [] : command.entries;
  const bodies = command.op === "grow" ? [] : command.bodies;
  const args = [
    String(attempt),
    claimId,
    String(seq),
    digest,
    ledgerText(command.ledger),
    String(leaseTtlMs),
    steps,
    keys.channel,
    String(entries.length),
  ];
  for (const entry of entries) args.push(String(entry.index), entry.prevHash, entry.hash, entry.bytes);
  args.push(String(bodies.length));
  for (const body of bodies) args.push(body.digest, body.bytes);
  args.push(...ownArgs(command));
  return args;
}

function ownArgs(command: SequencedWorkerCommand): string[] {
  switch (command.op) {
    case "begin":
      return [command.phase];
    case "grow":
      return [];
    case "commit":
      return violationArgs(command.violation);
    case "finish":
      return [...violationArgs(command.violation), command.finished];
    case "heal":
      return [String(command.position.length), command.position.head];
  }
}

function violationArgs(violation: string | undefined): string[] {
  return violation === undefined ? ["", ""] : ["1", violation];
}

/** The one string a script returns. */
export function decodeReply(text: string): Reply {
  const [code = "", ...fields] = text.split("\n");
  const field = (place: number): string => fields[place] ?? "";
  const rest = (from: number): string => fields.slice(from).join("\n");
  switch (code) {
    case "OK":
      return {
        code,
        length: Number(field(0)),
        head: field(1),
        control: control(field(2), field(3), rest(6)),
        crossed: field(4) === "" ? [] : field(4).split(","),
        left: Number(field(5)),
      };
    case "WAIT":
    case "BUDGET":
    case "LIMIT":
      return {
        code,
        refusal: {
          scope: field(0) as AccountScope,
          unit: field(1) as Unit,
          limit: Number(field(2)),
          spent: Number(field(3)),
          reserved: Number(field(4)),
          need: Number(field(5)),
        },
      };
    case "STOPPED":
      return { code, control: control(field(0), field(1), rest(2)) };
    case "FENCED":
    case "CLAIMED":
    case "RECLAIM":
      return { code, attempt: Number(field(0)) };
    case "GAP":
      return { code, seq: Number(field(0)), length: Number(field(1)), head: field(2) };
    case "ROLLED_BACK":
      return { code, length: Number(field(0)), head: field(1) };
    case "FINISHED":
      return { code, finished: rest(0) };
    case "NOT_OPEN":
      return { code };
    case "REFUSED":
      return { code, state: field(0) as ControlState };
    case "INVALID":
      return { code, detail: rest(0) };
    default:
      throw new TypeError(`a script replied ${JSON.stringify(text.slice(0, 80))}`);
  }
}

function control(state: string, revision: string, message: string): Control {
  return { state: state as ControlState, revision: Number(revision), message };
}

type Fields = Readonly<Record<string, string>>;

export function readExecution(fields: Fields): ExecutionRecord | undefined {
  if (fields["snapshot"] === undefined) return undefined;
  return {
    snapshot: fields["snapshot"],
    control: control(need(fields, "state"), need(fields, "rev"), need(fields, "msg")),
    account: accountOf(fields),
  };
}

export function readAccount(fields: Fields): Account | undefined {
  return fields["acct"] === undefined ? undefined : accountOf(fields);
}

export function readItem(fields: Fields): ItemRecord | undefined {
  if (fields["attempt"] === undefined) return undefined;
  const reply = need(fields, "reply");
  const finished = need(fields, "fin");
  return {
    attempt: Number(fields["attempt"]),
    claimId: need(fields, "claim"),
    try: Number(need(fields, "try")),
    length: Number(need(fields, "len")),
    head: need(fields, "head"),
    seq: Number(need(fields, "seq")),
    commandDigest: need(fields, "dig"),
    reply: reply === "" ? undefined : decodeReply(reply),
    ledger: ledgerOf(need(fields, "ledger")),
    steps: Number(need(fields, "steps")),
    leaseUntilMs: Number(need(fields, "lease")),
    finished: finished === "" ? undefined : finished.slice(1),
    live: need(fields, "live"),
  };
}

/** Elements from index `from` on, with the element before it as `before` (undefined for from = 0). */
export function readEntries(elements: readonly string[], from: number, before: string | undefined): StoredEntry[] {
  let prevHash = before === undefined ? undefined : before.slice(0, before.indexOf(" "));
  return elements.map((element, offset) => {
    const space = element.indexOf(" ");
    const hash = element.slice(0, space);
    const bytes = element.slice(space + 1);
    // Only the first entry of a journal has no element before it; its own bytes name the genesis hash.
    const entry = {
      index: from + offset,
      prevHash: prevHash ?? (JSON.parse(bytes) as { prevHash: string }).prevHash,
      hash,
      bytes,
    };
    prevHash = hash;
    return entry;
  });
}

function need(fields: Fields, name: string): string {
  const value = fields[name];
  if (value === undefined) throw new TypeError(`a record has no field ${name}`);
  return value;
}

function accountOf(fields: Fields): Account {
  const amounts = need(fields, "acct").split(",").map(Number);
  return {
    limits: limitsOf(need(fields, "limits")),
    auditLimits: limitsOf(need(fields, "audit")),
    settled: part(amounts, 0),
    lost: part(amounts, 1),
    overshoot: part(amounts, 2),
    reserved: part(amounts, 3),
  };
}

function ledgerOf(text: string): Ledger {
  const amounts = text.split(",").map(Number);
  return { settled: part(amounts, 0), overshoot: part(amounts, 1), reserved: part(amounts, 2) };
}

function part(amounts: readonly number[], place: number): Amounts {
  const read: Record<Unit, number> = { ...zeroAmounts };
  for (const [offset, unit] of units.entries()) read[unit] = amounts[place * units.length + offset] ?? 0;
  return read;
}

function limitsOf(text: string): Limits {
  const read: Partial<Record<Unit, number>> = {};
  for (const [place, limit] of text.split(",").entries()) {
    const unit = units[place];
    if (unit !== undefined && limit !== "-") read[unit] = Number(limit);
  }
  return read;
}

function limitsText(limits: Limits): string {
  return units.map((unit) => (limits[unit] === undefined ? "-" : String(limits[unit]))).join(",");
}

function ledgerText(ledger: Ledger): string {
  return [ledger.settled, ledger.overshoot, ledger.reserved]
    .flatMap((amounts) => units.map((unit) => String(amounts[unit])))
    .join(",");
}
