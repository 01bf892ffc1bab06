/** The folder of local state, and finding a run in it by name. */
import { existsSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LocalIndex } from "../adapters/local/local-index.ts";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { RunLock } from "../adapters/local/run-lock.ts";
import { systemClock } from "../adapters/clock/system-clock.ts";
import { cliExitCodes } from "../api/exit-codes.ts";
import { expiryOf } from "../core/planner/expiry.ts";
import { CliError } from "./errors.ts";
import { isBundlePath } from "./file-names.ts";
import { nearestNames } from "./nearest.ts";
import { mayHaveJournal } from "./store.ts";
import type { Terminal } from "./terminal.ts";

/** Journals removed at the start of one command at most, so that no command is slow because of old ones. */
const expiredMax = 20;
/** Until a journal whose time is over, and that a replay still needs, is looked at again. */
const keptLookMs = 86_400_000;

/** OAO_HOME, else the nearest `.oao` from here upwards (as Git finds its folder), else `.oao` here. */
export function homeFolder(terminal: Pick<Terminal, "env" | "cwd">): string {
  const set = terminal.env["OAO_HOME"];
  if (set !== undefined && set !== "") return resolve(terminal.cwd, set);
  for (let folder = terminal.cwd; ; folder = dirname(folder)) {
    if (existsSync(join(folder, ".oao", "index.db"))) return join(folder, ".oao");
    if (dirname(folder) === folder) return join(terminal.cwd, ".oao");
  }
}

/** Whether a process works on the run. */
export function isHosted(index: LocalIndex, run: Pick<LocalRun, "uid">): boolean {
  const lock = RunLock.take(index.home, run.uid);
  lock?.release();
  return lock === undefined;
}

/** Opens the index and removes what retention has given up. */
export async function openIndex(terminal: Terminal): Promise<LocalIndex> {
  const home = homeFolder(terminal);
  try {
    const index = new LocalIndex(home, systemClock);
    await removeExpired(index);
    return index;
  } catch (error) {
    throw new CliError(
      `the local state in ${home} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      [
        "it must be a folder that this user may write, made by oao",
        "keep it for a look and start with another: OAO_HOME=FOLDER oao …",
      ],
      cliExitCodes.infrastructure,
    );
  }
}

/** Undefined = nothing was ever run here: reading commands make no folder. */
export async function openExistingIndex(terminal: Terminal): Promise<LocalIndex | undefined> {
  const home = homeFolder(terminal);
  if (existsSync(home) && !statSync(home).isDirectory())
    throw new CliError(`${home} is a file, not the folder of local state`, ["look at OAO_HOME"]);
  return existsSync(join(home, "index.db")) ? openIndex(terminal) : undefined;
}

async function removeExpired(index: LocalIndex): Promise<void> {
  for (const run of index.expired(systemClock.nowMs(), expiredMax)) {
    const lock = RunLock.take(index.home, run.uid);
    if (lock === undefined) continue;
    // A Redis lets journals vanish by itself; a file has no timers.
    if (run.place.store.startsWith("file:")) {
      const { openStore } = await import("../adapters/store/open-store.ts");
      const store = await openStore(run.place.store, systemClock);
      await store.expire(run.uid, [], 0);
      await store.close();
      if (mayHaveJournal(run)) {
        // A replay reads it: it is looked at again later.
        index.setExpiry(run.uid, systemClock.nowMs() + keptLookMs);
        lock.release();
        continue;
      }
    }
    rmSync(join(index.home, "logs", run.uid), { recursive: true, force: true });
    const atMs = expiryOf(run.object, Date.parse(run.status?.completedAt ?? ""))?.atMs;
    if (atMs !== undefined && atMs <= systemClock.nowMs()) index.remove(run);
    else index.setExpiry(run.uid, atMs);
    lock.release();
    RunLock.forget(index.home, run.uid);
  }
}

export interface NameOptions {
  readonly namespace?: string | undefined;
}

export const defaultNamespace = "default";

/** The run of this name. Throws CliError with the nearest names, or the namespace that has it. */
export function findRun(
  index: LocalIndex | undefined,
  name: string,
  options: NameOptions,
  terminal: Terminal,
): LocalRun {
  const [namespace, short] = splitName(name, options, defaultNamespace);
  const found = index?.get({ namespace, name: short });
  if (found !== undefined) return found;
  throw unknownRun(index, { namespace, name: short }, name, terminal);
}

/** `team-a/brief` names a namespace too. */
export function splitName(name: string, options: NameOptions, otherwise: string): [namespace: string, name: string] {
  const slash = name.indexOf("/");
  if (slash > 0 && options.namespace === undefined) return [name.slice(0, slash), name.slice(slash + 1)];
  return [options.namespace ?? otherwise, name];
}

/** Commands that read records read files too, where what is given can only be one: who gets here with such a path needs a run. */
function fileHints(given: string): readonly string[] {
  if (/\.ya?ml$/i.test(given)) return [`a manifest is run first: oao run ${given}`];
  const path = isBundlePath(given) ? given : `./${given}`;
  return [
    ...(path === given ? [] : [`the file of that name: ${path} (for trace, diff, verify, import)`]),
    `a bundle becomes a run first: oao import ${path}, then give the name that it says`,
  ];
}

function unknownRun(
  index: LocalIndex | undefined,
  key: { namespace: string; name: string },
  given: string,
  terminal: Terminal,
): CliError {
  const what = `there is no Execution ${key.namespace}/${key.name} in ${homeFolder(terminal)}`;
  const elsewhere = index?.namespacesOf(key.name) ?? [];
  if (elsewhere.length > 0)
    return new CliError(what, [`it exists in namespace ${elsewhere.join(", ")}: add -n ${elsewhere[0]}`]);
  const file = statSync(resolve(terminal.cwd, given), { throwIfNoEntry: false });
  if (file?.isDirectory() === false) return new CliError(what, fileHints(given));
  if (file !== undefined) return new CliError(what, [`${given} is a folder here: give a file in it`]);
  if (index === undefined) return new CliError(`${what}: nothing was run here yet`, ["run a manifest: oao run FILE"]);
  const near = nearestNames(key.name, index.names(key.namespace, 1_000));
  if (near.length > 0) return new CliError(what, [`did you mean ${near.join(" or ")}?`, "see all: oao get -A"]);
  return new CliError(what, ["see all: oao get -A"]);
}
