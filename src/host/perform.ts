/** One decision carried out. Every one may be carried out twice (P2). */
import { OaoError } from "../core/errors/errors.ts";
import type { Decision } from "../core/planner/types.ts";
import type { Command, ReplyCode } from "../core/protocol/types.ts";
import type { StoredExecution } from "../ports/cluster.ts";
import { recordAnswer } from "./answers.ts";
import type { HostIo } from "./io.ts";
import { keepLineage } from "./keep-lineage.ts";

/** Throws what the ports throw; the loop backs off and plans anew. */
export async function perform(decision: Decision, run: StoredExecution, io: HostIo): Promise<void> {
  switch (decision.kind) {
    case "SetControl":
      // Refused = a worker's violation came first; the next plan sees it.
      return send(run, io, { op: "control", to: decision.to, message: decision.message }, ["REFUSED"]);
    case "ReleaseAttempt":
      // Fenced = a later attempt holds the journal; the next plan sees it.
      return send(run, io, { op: "release", ...decision.key, attempt: decision.attempt }, ["FENCED"]);
    case "StopWorker":
      return io.cluster.stopWorker(run.uid, decision.worker, decision.force === true ? 0 : io.stopGraceMs);
    case "StartWorker":
      return io.cluster.startWorker({
        ...decision.key,
        uid: run.uid,
        key: run.key,
        attempt: decision.attempt,
        try: decision.try,
        phase: decision.phase,
        snapshot: decision.snapshot,
        outputs: decision.outputs,
        known: decision.known,
        ...(decision.predecessorMayLive === true ? { predecessorMayLive: true } : {}),
        ...(decision.answers === undefined ? {} : { answers: decision.answers }),
      });
    case "RecordAnswer":
      return recordAnswer(run, decision, io);
    case "Seal": {
      const store = await io.journal(run);
      if (decision.lineage !== undefined) await keepLineage(store, decision.lineage, decision.expireSeconds);
      if (decision.dropBodies) await store.dropBodies(run.uid, decision.keep);
      return store.expire(run.uid, decision.items, decision.expireSeconds);
    }
  }
}

async function send(run: StoredExecution, io: HostIo, command: Command, harmless: readonly ReplyCode[]): Promise<void> {
  const reply = await (await io.journal(run)).execute(run.uid, command);
  // NOT_OPEN = the store lost the run: the next observation shows it, and the planner says so.
  if (reply.code === "OK" || reply.code === "NOT_OPEN" || harmless.includes(reply.code)) return;
  throw new OaoError(
    "OAO_PROTOCOL",
    `${run.key.namespace}/${run.key.name}: ${command.op} was answered with ${JSON.stringify(reply)}`,
  );
}
