/** Ends of node items that no worker works on: an approval's answer. */
import { canonicalJson, sha256Hex } from "../core/digest/digest.ts";
import { OaoError } from "../core/errors/errors.ts";
import { emptyLedger } from "../core/protocol/amounts.ts";
import { genesis, itemName } from "../core/protocol/names.ts";
import type { NodeKey, StoredBody } from "../core/protocol/types.ts";
import { chain, type EntryDraft } from "../core/steps/chain.ts";
import type { Finished } from "../core/steps/format.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import type { HostIo } from "./io.ts";

export interface RecordedEnd {
  readonly key: NodeKey;
  readonly attempt: number;
  readonly try: number;
  /** The same whoever records it. */
  readonly claimId: string;
  readonly drafts: readonly EntryDraft[];
  readonly bodies: readonly StoredBody[];
  readonly finished: Finished;
  /** Numbered steps of the item. */
  readonly steps: number;
}

const leaseTtlMs = 10_000;

/**
 * The host is the fenced writer of such items: claim and finish under a claim id and with bytes that follow from the status alone, so
 * that a second host, or the same one after a crash, sends the very same commands (J6, P2). Throws StoreUnavailable, OAO_PROTOCOL.
 */
export async function recordEnd(run: StoredExecution, end: RecordedEnd, io: Pick<HostIo, "journal">): Promise<void> {
  const { key, attempt, try: tryNumber, claimId, drafts, bodies, finished, steps } = end;
  const store = await io.journal(run);
  const identity = { ...key, attempt, claimId };
  const claim = { op: "claim", ...identity, try: tryNumber, limits: {}, auditLimits: {}, leaseTtlMs } as const;
  const claimed = await store.execute(run.uid, claim);
  if (claimed.code === "FINISHED" || claimed.code === "FENCED" || claimed.code === "CLAIMED") return;
  if (claimed.code !== "OK") throw refused(run, key, "claim", claimed);
  // A repeat finds its own entries there already: the same command is built on what was there before them.
  const before = claimed.length === 0 || claimed.head === "" ? genesis(run.uid, key) : claimed.head;
  const entries = chain(drafts, claimed.length, before);
  const content = {
    op: "finish" as const,
    ...identity,
    seq: 1,
    ledger: emptyLedger,
    leaseTtlMs,
    steps,
    finished: canonicalJson(finished),
  };
  const digest = sha256Hex(canonicalJson({ ...content, drafts }));
  const reply = await store.execute(run.uid, { ...content, digest, entries, bodies });
  if (reply.code === "OK" || reply.code === "FENCED" || reply.code === "CLAIMED") return;
  throw refused(run, key, "finish", reply);
}

function refused(run: StoredExecution, key: NodeKey, op: string, reply: object): OaoError {
  const name = `${run.key.namespace}/${run.key.name}`;
  const text = `${name}: the ${op} of ${itemName(key)} by its host was answered with ${JSON.stringify(reply)}`;
  return new OaoError("OAO_PROTOCOL", text);
}
