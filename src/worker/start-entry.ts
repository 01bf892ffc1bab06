/** The first entry of an attempt says which program makes it; a later attempt of another one refuses. */
import { OaoError } from "../core/errors/errors.ts";
import { shortDigest } from "../core/hash/execution-hash.ts";
import type { EntryDraft } from "../core/steps/chain.ts";
import type { Reuse, StartEntry } from "../core/steps/format.ts";
import type { Clock } from "../ports/clock.ts";
import type { WorkerOrder } from "../ports/cluster.ts";
import type { Tool } from "../ports/tool.ts";
import { iso } from "./recorder.ts";

/** The worker's own code. */
export interface Program {
  readonly version: string;
  /** Digest of it. */
  readonly build: string;
  readonly clock: Clock;
}

export function startDraft(
  order: WorkerOrder,
  { version, build, clock }: Program,
  tools: ReadonlyMap<string, Tool>,
  reuse: Reuse | undefined,
): EntryDraft {
  return {
    type: "start",
    attempt: order.attempt,
    try: order.try,
    snapshot: order.snapshot,
    runtime: { format: 1, version, node: process.version, build },
    tools: Object.fromEntries([...tools].map(([name, tool]) => [name, tool.digest])),
    ...(reuse === undefined ? {} : { reuse }),
    at: iso(clock.nowMs()),
  };
}

/** What the journal holds was made by one program: its successor might ask other questions where the answers of the first are found. */
export function checkSameProgram(first: StartEntry | undefined, { build, version }: Program): void {
  const before = first?.runtime;
  if (before?.build === undefined || before.build === build) return;
  throw new OaoError(
    "OAO_SNAPSHOT_MISMATCH",
    `this worker is another build of OAO (${version}, ${shortDigest(build)}) than the one that started this node (${before.version}, ${shortDigest(before.build)}); a resume would mix two programs. Go on with that one, or start a new run`,
  );
}

export function checkSameTools(
  first: Readonly<Record<string, string>> | undefined,
  tools: ReadonlyMap<string, Tool>,
): void {
  for (const [name, digest] of Object.entries(first ?? {})) {
    const now = tools.get(name)?.digest;
    if (now !== digest)
      throw new OaoError(
        "OAO_SNAPSHOT_MISMATCH",
        `tool ${name} changed since this node started (${digest} then, ${now ?? "missing"} now); a resume would mix two programs. Start a new run, and leave a run's tools as they are until it has ended`,
      );
  }
}
