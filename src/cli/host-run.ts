/** Everything between "this run exists" and its exit code, shared by run, resume, cancel and suspend. */
import { shownSpec } from "../core/replay/spec.ts";
import { LocalCluster, RunHeld } from "../adapters/local/local-cluster.ts";
import type { LocalIndex } from "../adapters/local/local-index.ts";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { maskSecrets } from "../adapters/tool/secrets.ts";
import type { CliExitCode } from "../api/exit-codes.ts";
import type { DesiredState } from "../api/execution.ts";
import { openQuestions, questionLines } from "./approvals.ts";
import { drive } from "./drive.ts";
import { CliError } from "./errors.ts";
import { isContentDropped, readRecord } from "../host/journals.ts";
import { contentDropped, exitCodeOf, hasEnded, stalledReason } from "./outcome.ts";
import { readResult } from "./result.ts";
import { nameArguments, nodeTable, objectWithStatus } from "./render/run-tables.ts";
import { structured } from "./render/output.ts";
import { painter } from "./render/style.ts";
import { reasonOf } from "./render/tree.ts";
import { secretEnvironment } from "./secrets.ts";
import { givenRedis, openJournalToLook, openRunStore, storeUrlOf } from "./store.ts";
import type { Terminal } from "./terminal.ts";

export interface HostRunOptions {
  readonly terminal: Terminal;
  readonly index: LocalIndex;
  readonly run: LocalRun;
  readonly redis?: string | undefined;
  /** undefined = the result of the run. */
  readonly output?: "json" | "yaml" | "table" | undefined;
  /** Set once the run is held, before the first look at it. */
  readonly desiredState: DesiredState | undefined;
  /** See HostIo. */
  readonly replaysAsWritten?: boolean | undefined;
  /** See DriveOptions. */
  readonly isThrowaway?: boolean | undefined;
  /** Said once the run is held. */
  readonly announcement?: string | undefined;
}

/** Hosts the run to its end or suspension, prints what was asked for, returns the exit code. */
export async function hostRun(options: HostRunOptions): Promise<CliExitCode> {
  const { terminal, index, run } = options;
  const ended = await hostToEnd(options);
  await printOutcome(ended, { terminal, output: options.output, redis: givenRedis(run, options.redis, terminal.env) });
  index.close();
  return exitCodeOf(ended.status);
}

/** Throws CliError when another process has the run. */
export async function hostToEnd(options: HostRunOptions): Promise<LocalRun> {
  const { terminal, index, run } = options;
  const redis = givenRedis(run, options.redis, terminal.env);
  const cluster = new LocalCluster({
    index,
    env: terminal.env,
    maskOf: maskSecrets,
    secretsOf: (held, order) => secretEnvironment(shownSpec(held.object, held.status), order.node, terminal.env),
    storeUrl: (held) => storeUrlOf(held, redis),
  });
  const store = await openRunStore(run, redis);
  try {
    await cluster.take(run).catch((error: unknown) => {
      throw error instanceof RunHeld ? held(error, run) : error;
    });
    if (options.announcement !== undefined) terminal.err(`${options.announcement}\n`);
    index.setDesiredState(run.key, options.desiredState);
    const { replaysAsWritten, isThrowaway } = options;
    return await drive({ terminal, index, cluster, store, run, replaysAsWritten, isThrowaway });
  } finally {
    cluster.close();
    await store.close();
  }
}

function held(error: RunHeld, run: LocalRun): CliError {
  return new CliError(error.message, [
    `watch it: oao tree ${nameArguments(run)}`,
    `stop it:  oao suspend ${nameArguments(run)}  (or oao cancel ${nameArguments(run)})`,
  ]);
}

interface PrintOptions {
  readonly terminal: Terminal;
  readonly output: "json" | "yaml" | "table" | undefined;
  readonly redis: string | undefined;
}

async function printOutcome(run: LocalRun, { terminal, output, redis }: PrintOptions): Promise<void> {
  terminal.err(`${summary(run, terminal)}\n`);
  const store = hasEnded(run.status) ? await openJournalToLook(run, redis) : undefined;
  if (store !== undefined && isContentDropped(await readRecord(store, run))) terminal.err(`${contentDropped}\n`);
  await store?.close();
  if (output === "json" || output === "yaml") terminal.out(await structured(objectWithStatus(run), output));
  else if (output === "table") terminal.out(nodeTable(run, terminal.columnsOut));
  else if (run.status?.phase === "Succeeded") {
    const result = await readResult(run, redis);
    if (result !== undefined)
      terminal.body(typeof result === "string" ? `${result}\n` : `${JSON.stringify(result, undefined, 2)}\n`);
  }
}

/** What happened, and the command that helps next. */
function summary(run: LocalRun, terminal: Terminal): string {
  const paint = painter(terminal.colorErr);
  const name = nameArguments(run);
  const phase = run.status?.phase ?? "Pending";
  const reason = reasonOf({ run });
  const verified = run.status?.conditions.find(({ type, status }) => type === "ReplayVerified" && status === "True");
  if (verified !== undefined)
    return `${paint("green", "Verified")}: ${verified.message}, and it ended as that did (${phase}). No call was made.`;
  switch (phase) {
    case "Succeeded":
      return `${paint("green", "Succeeded")}. Every step: oao trace ${name}`;
    case "Failed":
      return [
        `${paint("red", "Failed")}: ${reason ?? "no reason is recorded"}`,
        `  every step:        oao trace ${name}`,
        `  what workers said: oao logs ${name}`,
      ].join("\n");
    case "Cancelled":
      return `${paint("yellow", "Cancelled")}. What was done: oao trace ${name}`;
    case "Suspended":
      return `${paint("yellow", "Suspended")}. Nothing that is recorded will be done or paid for again. Go on: oao resume ${name}`;
    case "AwaitingApproval": {
      const asks = openQuestions(run).flatMap((each) => questionLines(each, name));
      return [`${paint("yellow", "Awaiting approval")}`, ...asks, `then go on: oao resume ${name}`].join("\n  ");
    }
    case "Pending":
    case "Queued":
    case "Running": {
      const stalled = stalledReason(run.status);
      if (stalled !== undefined)
        return `${paint("yellow", "Not started")}: ${stalled}\n  once that is mended: oao resume ${name}`;
      return `${paint("yellow", "Stopped at once")}. What is recorded stays; calls that were cut are made again. Go on: oao resume ${name}`;
    }
  }
}
