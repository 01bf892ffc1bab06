/** oao cancel, oao suspend: say what is wanted; whoever hosts the run does it, and if nobody does, this process. */
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { DesiredState } from "../../api/execution.ts";
import { withRun } from "../cluster/locate.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { isHosted } from "../home.ts";
import { hostToEnd } from "../host-run.ts";
import { nameArguments } from "../render/run-tables.ts";
import { CliError } from "../errors.ts";
import { endedError, hasEnded } from "../outcome.ts";
import type { Terminal } from "../terminal.ts";

export interface ControlFlags extends PlaceFlags {
  /** Seconds to wait for the run to get there. */
  readonly timeout?: number | undefined;
}

const waitSecondsDefault = 60;
const pollMs = 50;

export function cancel(name: string, flags: ControlFlags, terminal: Terminal): Promise<CliExitCode> {
  return control(name, "Cancelled", flags, terminal);
}

export function suspend(name: string, flags: ControlFlags, terminal: Terminal): Promise<CliExitCode> {
  return control(name, "Suspended", flags, terminal);
}

function control(name: string, wanted: DesiredState, flags: ControlFlags, terminal: Terminal): Promise<CliExitCode> {
  return withRun(name, flags, terminal, {
    local: (index, found) => controlHere(index, found, wanted, flags, terminal),
    cluster: async (cluster, found) =>
      (await import("../cluster/control.ts")).control(
        cluster,
        found,
        wanted,
        flags.timeout ?? waitSecondsDefault,
        terminal,
      ),
  });
}

async function controlHere(
  index: LocalIndex,
  found: LocalRun,
  wanted: DesiredState,
  flags: ControlFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  if (hasEnded(found.status))
    throw endedError(found, [
      `nothing to ${wanted === "Cancelled" ? "cancel" : "suspend"}; look at it: oao get ${nameArguments(found)}`,
    ]);
  index.setDesiredState(found.key, wanted);
  const deadlineMs = performance.now() + (flags.timeout ?? waitSecondsDefault) * 1_000;
  for (;;) {
    const seen = index.get(found.key) ?? found;
    if (isThere(seen, wanted)) return done(seen, wanted, index, terminal);
    if (!isHosted(index, seen)) {
      const ended = await hostToEnd({ terminal, index, run: seen, redis: flags.redis, desiredState: wanted });
      return done(ended, wanted, index, terminal);
    }
    if (performance.now() > deadlineMs) {
      const pid = index.hosts.of(seen.uid)?.pid;
      throw new CliError(
        `${seen.key.namespace}/${seen.key.name} is told to be ${wanted} but its host (process ${pid ?? "unknown"}) has not done so yet`,
        [`watch it: oao tree ${nameArguments(seen)}`],
        cliExitCodes.waiting,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Cancelled has ended; Suspended has no worker any more. Either may also end by itself first. */
function isThere(run: LocalRun, wanted: DesiredState): boolean {
  return hasEnded(run.status) || (wanted === "Suspended" && run.status?.phase === "Suspended");
}

function done(run: LocalRun, wanted: DesiredState, index: LocalIndex, terminal: Terminal): CliExitCode {
  const phase = run.status?.phase ?? "Pending";
  const name = `${run.key.namespace}/${run.key.name}`;
  if (phase === "Suspended") terminal.err(`${name} is suspended. Go on: oao resume ${nameArguments(run)}\n`);
  else if (phase === wanted) terminal.err(`${name} is cancelled. What was done: oao trace ${nameArguments(run)}\n`);
  else terminal.err(`${name} ended before that: ${phase}\n`);
  index.close();
  return cliExitCodes.succeeded;
}
