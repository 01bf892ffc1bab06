/** A record replayed strictly on this machine: in a folder of its own, of which nothing is left. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LocalIndex } from "../adapters/local/local-index.ts";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { cliExitCodes } from "../api/exit-codes.ts";
import type { ReplayStatus } from "../api/status.ts";
import type { ExecutionSpec } from "../api/types.ts";
import { exportTo } from "./commands/export.ts";
import { importRun } from "./commands/import.ts";
import { CliError } from "./errors.ts";
import { openIndex } from "./home.ts";
import { hostToEnd } from "./host-run.ts";
import { hasEnded, isVerified } from "./outcome.ts";
import type { NamedRecord } from "./records.ts";
import { changedSpec, replayOf } from "./replay-manifest.ts";
import type { Terminal } from "./terminal.ts";

export interface RerunOptions {
  readonly named: NamedRecord;
  /** A manifest whose spec is run instead of the recorded one. */
  readonly file?: string | undefined;
  readonly times?: number | undefined;
}

export interface Rerun {
  readonly isVerified: boolean;
  /** For people. */
  readonly message: string;
  readonly steps: number;
  readonly traceHash: string | undefined;
  readonly divergedAt: ReplayStatus["divergedAt"];
}

/** Makes no call. Throws CliError where the replay came to no end of either kind. */
export async function rerun(options: RerunOptions, terminal: Terminal): Promise<Rerun> {
  const home = mkdtempSync(join(tmpdir(), "oao-verify-"));
  const quiet: Terminal = {
    ...terminal,
    env: { ...terminal.env, OAO_HOME: home },
    out: () => undefined,
    body: () => undefined,
    err: () => undefined,
    draw: () => undefined,
    interactive: false,
  };
  try {
    const path = options.named.bundle?.path ?? join(home, "record.jsonl");
    if (options.named.bundle === undefined) await exportTo(options.named, path);
    await importRun(path, {}, quiet);
    const index = await openIndex(quiet);
    try {
      return readRerun(await replayed(index, options, quiet, terminal));
    } finally {
      index.close();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function replayed(
  index: LocalIndex,
  { file, times }: RerunOptions,
  quiet: Terminal,
  terminal: Terminal,
): Promise<LocalRun> {
  const [parent] = index.list({ limit: 1 });
  if (parent === undefined) throw new Error("the imported run is not there");
  const recorded = parent.object.spec as ExecutionSpec;
  const spec = file === undefined ? recorded : changedSpec(recorded, file, terminal);
  const { namespace, name } = parent.key;
  const asked = { strict: true, ...(times === undefined ? {} : { times }) };
  const execution = replayOf({ name, uid: parent.uid, spec }, asked, "replay", terminal);
  const run = index.create({ namespace, name: "replay" }, execution, parent.place);
  return hostToEnd({
    terminal: quiet,
    index,
    run,
    desiredState: undefined,
    replaysAsWritten: file !== undefined,
    isThrowaway: true,
  });
}

function readRerun({ status }: LocalRun): Rerun {
  const succeeded = status?.conditions.find(({ type }) => type === "Succeeded");
  const verified = status?.conditions.find(({ type }) => type === "ReplayVerified");
  const divergedAt = status?.replay?.divergedAt;
  const isOpen = !isVerified(status) && divergedAt === undefined;
  if (isOpen && (status?.phase === "Cancelled" || !hasEnded(status)))
    throw new CliError(
      "stopped before the replay came to its end, so nothing is said of it",
      ["verify it again, less often (--times N), or its chain alone: oao verify --no-replay"],
      cliExitCodes.cancelled,
    );
  if (isOpen)
    throw new CliError(
      `it could not be replayed: ${succeeded?.message ?? status?.phase ?? ""}`,
      ["its chain holds; leave the replay out: oao verify --no-replay"],
      cliExitCodes.infrastructure,
    );
  return {
    isVerified: divergedAt === undefined,
    message: verified?.message ?? "",
    steps: status?.replay?.reusedSteps ?? 0,
    traceHash: status?.traceHash,
    divergedAt,
  };
}
