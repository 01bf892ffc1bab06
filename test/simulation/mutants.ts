/** Broken protocols, one rule each. A simulation that does not catch them proves nothing. */
import { zeroAmounts } from "../../src/core/protocol/amounts.ts";
import { decide } from "../../src/core/protocol/decide.ts";
import type { Account, Command, Outcome, Records } from "../../src/core/protocol/types.ts";

type Rules = typeof decide;

const unspent = (account: Account): Account => ({
  ...account,
  settled: zeroAmounts,
  lost: zeroAmounts,
  overshoot: zeroAmounts,
  reserved: zeroAmounts,
});

function mapAccounts(outcome: Outcome, change: (account: Account) => Account): Outcome {
  const { records } = outcome;
  if (records?.execution === undefined) return outcome;
  return {
    ...outcome,
    records: {
      ...records,
      execution: { ...records.execution, account: change(records.execution.account) },
      node: records.node && change(records.node),
    },
  };
}

/** The command as if the item's own claim had sent it. */
function asOwner(records: Records, command: Command): Command {
  if (!("claimId" in command) || command.op === "claim" || records.item === undefined) return command;
  return { ...command, attempt: records.item.attempt, claimId: records.item.claimId };
}

export const mutants: Readonly<Record<string, Rules>> = {
  "J1: entries need not follow": (records, command, now) => {
    const { item } = records;
    if (!("entries" in command) || item === undefined || command.seq <= item.seq) return decide(records, command, now);
    const outcome = decide(
      {
        ...records,
        item: {
          ...item,
          seq: command.seq - 1,
          length: command.entries[0]?.index ?? item.length,
          head: command.entries[0]?.prevHash ?? item.head,
        },
      },
      command,
      now,
    );
    return outcome;
  },
  "J2: no fence": (records, command, now) => decide(records, asOwner(records, command), now),
  "J2: a copied pod may claim as well": (records, command, now) =>
    command.op === "claim" && records.item?.attempt === command.attempt
      ? decide({ ...records, item: { ...records.item, claimId: command.claimId } }, command, now)
      : decide(records, command, now),
  "J3: begin is answered before its intent is stored": (records, command, now) => {
    const outcome = decide(records, command, now);
    return command.op === "begin" ? { ...outcome, entries: [] } : outcome;
  },
  "J4: an item that has finished can be claimed again": (records, command, now) =>
    command.op === "claim" && records.item !== undefined
      ? decide({ ...records, item: { ...records.item, finished: undefined, length: 0, head: "" } }, command, now)
      : decide(records, command, now),
  "J6: a repeated command is charged again": (records, command, now) => {
    const outcome = decide(records, command, now);
    const repeated =
      "seq" in command &&
      command.seq === records.item?.seq &&
      outcome.reply.code === "OK" &&
      outcome.records === undefined;
    if (!repeated || records.execution === undefined) return outcome;
    const again = (account: Account): Account => ({
      ...account,
      settled: {
        ...account.settled,
        TotalTokens: account.settled.TotalTokens + command.ledger.settled.TotalTokens + 1,
      },
    });
    return mapAccounts({ ...outcome, records }, again);
  },
  "J6: a repeated command is a gap": (records, command, now) =>
    "seq" in command && command.seq === records.item?.seq
      ? decide({ ...records, item: { ...records.item, commandDigest: "", reply: undefined } }, command, now)
      : decide(records, command, now),
  "B1: reservations do not count": (records, command, now) => {
    if (command.op !== "begin" && command.op !== "grow") return decide(records, command, now);
    const { execution, node } = records;
    const looks = {
      ...records,
      execution: execution && { ...execution, account: unspent(execution.account) },
      node: node && unspent(node),
    };
    const asked = decide(looks, command, now);
    if (asked.reply.code !== "OK" || asked.records === undefined) return asked;
    const unlimited = (account: Account): Account => ({ ...account, limits: {} });
    const applied = decide(
      {
        ...records,
        execution: execution && { ...execution, account: unlimited(execution.account) },
        node: node && unlimited(node),
      },
      command,
      now,
    );
    return mapAccounts(applied, (account) => ({
      ...account,
      limits: (account === applied.records?.node ? node : execution?.account)?.limits ?? {},
    }));
  },
  "B1: lost tokens are forgotten": (records, command, now) => {
    const outcome = decide(records, command, now);
    return command.op === "claim" || command.op === "release"
      ? mapAccounts(outcome, (account) => ({ ...account, lost: zeroAmounts }))
      : outcome;
  },
  "B1: a finished attempt keeps what it held": (records, command, now) => {
    const outcome = decide(records, command, now);
    return command.op === "claim" && outcome.records !== undefined
      ? mapAccounts(outcome, (account) => ({
          ...account,
          reserved: records.execution?.account.reserved ?? zeroAmounts,
          lost: zeroAmounts,
        }))
      : outcome;
  },
  "B2: settlements are added, not replaced": (records, command, now) => {
    const outcome = decide(records, command, now);
    if (command.op !== "commit" || outcome.records === undefined) return outcome;
    return mapAccounts(outcome, (account) => ({
      ...account,
      settled: { ...account.settled, ModelCalls: account.settled.ModelCalls + command.ledger.settled.ModelCalls },
    }));
  },
  "calls are admitted whatever the control state": (records, command, now) =>
    command.op === "begin" && records.execution !== undefined
      ? decide(
          {
            ...records,
            execution: { ...records.execution, control: { ...records.execution.control, state: "Running" } },
          },
          command,
          now,
        )
      : decide(records, command, now),
  "rollback: a gap in the sequence is not noticed": (records, command, now) => {
    const { item } = records;
    if (!("seq" in command) || command.op === "heal" || item === undefined || command.seq <= item.seq + 1)
      return decide(records, command, now);
    const entries =
      "entries" in command
        ? command.entries.map((entry, place) => ({
            ...entry,
            index: item.length + place,
            prevHash: place === 0 ? item.head : entry.prevHash,
          }))
        : [];
    const renumbered = "entries" in command ? { ...command, entries } : command;
    return decide({ ...records, item: { ...item, seq: command.seq - 1 } }, renumbered, now);
  },
};
