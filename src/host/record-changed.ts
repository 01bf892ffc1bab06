/** What each reader of a record holds its entries and bodies against: one that is not what was recorded is never passed off as one. */
import { cliExitCodes } from "../api/exit-codes.ts";
import { sha256Hex } from "../core/digest/digest.ts";
import { OaoError } from "../core/errors/errors.ts";
import { itemName } from "../core/protocol/names.ts";
import type { NodeKey, StoredEntry } from "../core/protocol/types.ts";
import { verifyChain } from "../core/trace/chain-check.ts";
import type { ItemJournal } from "../core/trace/journal.ts";

export class RecordChanged extends OaoError {
  override readonly name = "RecordChanged";
  readonly exitCode = cliExitCodes.tampered;
  readonly what: string;
  readonly why: string;
  constructor(what: string, why: string) {
    super("OAO_RECORD_CHANGED", `${what} was changed after it was recorded: ${why}`);
    this.what = what;
    this.why = why;
  }
}

export function journalChanged(key: NodeKey, why: string): RecordChanged {
  return new RecordChanged(`the journal of node ${itemName(key)}`, why);
}

/** Of these entries alone, of which those `before` were checked before. Throws RecordChanged. */
export function checkChain(uid: string, journal: ItemJournal, before?: readonly StoredEntry[]): void {
  const broken = verifyChain(uid, journal, before);
  if (broken !== undefined) throw journalChanged(journal, `entry ${broken.index}: ${broken.reason}`);
}

/** With the journals that it reuses steps of; `recorder` is the run whose journal it is where it does not say. Throws RecordChanged. */
export function checkChains(recorder: string, journal: ItemJournal): void {
  for (let held: ItemJournal | undefined = journal; held !== undefined; held = held.origin)
    checkChain(held.uid ?? recorder, held);
}

/** Throws RecordChanged, naming the first that does not have its digest. */
export function checkBodies(bodies: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  for (const [digest, bytes] of bodies)
    if (sha256Hex(bytes) !== digest) throw new RecordChanged(`body sha256:${digest}`, "it does not have its digest");
  return bodies;
}
