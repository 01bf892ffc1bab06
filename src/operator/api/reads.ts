/** What is read out of a run's record once all of it is known to hold: trace and bundle; and its digests. */
import type { ObjectKey } from "../../ports/cluster.ts";
import { Problem } from "./problems.ts";
import type { RunRecord } from "../../host/journals.ts";
import { RecordChanged } from "../../host/record-changed.ts";
import { recordParts } from "../../host/record-parts.ts";
import { BundleWriter } from "../../core/trace/bundle.ts";
import { RecordCheck } from "../../core/trace/verify.ts";
import { HeldJournals, type Journals } from "./held-journals.ts";
import { canonicalTrace, traceRowsOf, verified } from "./record.ts";
import { recordOf, type RecordOptions } from "./runs.ts";
import type { Call, Handlers } from "./server.ts";
import { type Answer, streamed } from "./send.ts";
import { Turns } from "./turns.ts";

/** Each holds one node's journal in memory. */
const readers = { atOnce: 2, perCaller: 1, waiting: 50 };

export function reads(options: RecordOptions): Pick<Handlers, "trace" | "hash" | "export"> {
  const turns = new Turns(readers);
  const held = new HeldJournals();
  /** An export reads it all in pages itself, and nobody asks for the next one. */
  const unheld = new HeldJournals({ bytesMax: 0, keptMs: 0 });

  /** The record's chains hold before any of it is sent: a changed one is refused rather than broken off. Takes a turn. */
  async function checked(
    record: RunRecord,
    journals: Journals,
    call: Call,
    partsOf: (steps: number) => readonly [AsyncIterable<string>, string],
  ): Promise<Answer> {
    const release = await turns.take(call.caller.username, call.signal);
    try {
      const [parts, accepts] = partsOf(await verified(record, journals));
      return streamed(parts, { ...call, accepts }, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  return {
    async trace(call) {
      const { from_step: from = 1, limit = Infinity, all = false, canonical = false } = call.query as TraceQuery;
      const record = await recordOf(options, call);
      const journals = held.of(record, from === 1 || canonical);
      return checked(record, journals, call, (steps) => {
        checkRecord(record, steps, from);
        if (canonical) return [canonicalTrace(record, journals), "application/jsonl"];
        return [asJson(traceRowsOf(record, journals, { from, limit, all, steps }), call.accepts), call.accepts];
      });
    },

    async export(call) {
      const record = await recordOf(options, call);
      if (record.status?.completedAt === undefined)
        throw new Problem("conflict", "it has not ended: what is recorded of it still grows");
      if (record.recorder !== record.uid)
        throw new Problem(
          "conflict",
          "it is a Strict replay: all that it read is the record of the run that it replays",
        );
      return checked(record, unheld.of(record, true), call, (steps) => {
        checkRecord(record, steps, 1);
        return [bundleLines(record), call.accepts];
      });
    },

    async hash(call) {
      const { caller, params, accepts } = call;
      const { uid, status } = await options.runs.readable(caller, params as unknown as ObjectKey);
      const { executionHash, hashParts, traceHash, journalHead, steps } = status ?? {};
      const told = { execution_id: uid, executionHash, hashParts, steps, traceHash, journalHead };
      return { status: 200, type: accepts, body: `${JSON.stringify(told)}\n` };
    },
  };
}

interface TraceQuery {
  readonly from_step?: number;
  readonly limit?: number;
  readonly all?: boolean;
  readonly canonical?: boolean;
}

function checkRecord({ status }: RunRecord, steps: number, from: number): void {
  const told = status?.completedAt === undefined ? 0 : (status.steps ?? 0);
  if (steps === 0 && told > 0)
    throw new Problem("conflict", "the journal is gone: its retention (spec.journalRetentionSeconds) is over");
  if (from > 1 && from > steps) throw new Problem("invalid", "", { errors: [outOfRange("query.from_step", steps)] });
}

export function outOfRange(field: string, steps: number) {
  const message = steps === 0 ? "the run has no steps" : `the run has steps 1 to ${steps}`;
  return { field, message };
}

/** Its last line is only sent when everything before it holds. Throws RecordChanged. */
async function* bundleLines(record: RunRecord): AsyncGenerator<string> {
  const bundle = new BundleWriter();
  const check = new RecordCheck();
  for await (const part of recordParts(record)) {
    check.part(part);
    yield bundle.line(part);
  }
  const [problem] = check.end().problems;
  if (problem !== undefined) throw new RecordChanged(problem.where, problem.why);
  yield bundle.end();
}

async function* asJson(rows: AsyncIterable<object>, type: string): AsyncGenerator<string> {
  if (type === "application/jsonl") {
    for await (const row of rows) yield `${JSON.stringify(row)}\n`;
    return;
  }
  let isFirst = true;
  for await (const row of rows) {
    yield `${isFirst ? "[\n" : ",\n"}${JSON.stringify(row)}`;
    isFirst = false;
  }
  yield isFirst ? "[]\n" : "\n]\n";
}
