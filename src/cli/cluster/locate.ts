/**
 * Finding a run by name where it may be here or on a cluster.
 *
 * Where a flag says which place, only that is looked at; without a kubeconfig only this machine. Else the local index is asked
 * first, and then the cluster, so that a name that both have is never taken for the wrong one: with little time when the name is
 * here, since a local command must not wait for a server, and with more when it is not.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { defaultNamespace, findRun, homeFolder, openExistingIndex, splitName } from "../home.ts";
import { nearestNames } from "../nearest.ts";
import { nameArguments } from "../render/run-tables.ts";
import type { Terminal } from "../terminal.ts";
import type { ClusterConnection } from "./connect.ts";
import { askedPlace, hasKubeconfig, type PlaceFlags, presentKubeconfigs } from "./place.ts";

/** For whether a name that is here is there too. */
const alsoThereMs = 500;
/** For a name that is not here. */
const onlyThereMs = 5_000;
/** A server that gave no answer is not asked again so soon for a name that is here. */
const awayMs = 5 * 60_000;

export interface Handlers<T> {
  readonly local: (index: LocalIndex, run: LocalRun) => Promise<T>;
  readonly cluster: (cluster: ClusterConnection, run: StoredExecution) => Promise<T>;
}

/** Throws CliError: no such run, or two. */
export async function withRun<T>(
  name: string,
  flags: PlaceFlags,
  terminal: Terminal,
  handlers: Handlers<T>,
): Promise<T> {
  const asked = askedPlace(flags);
  if (asked === "cluster") return withClusterRun(name, flags, terminal, handlers.cluster);
  const index = await openExistingIndex(terminal);
  const here = localRun(index, name, flags);
  if (asked === "local" || !hasKubeconfig(terminal)) {
    return handlers.local(index as LocalIndex, findRun(index, name, flags, terminal));
  }
  const mark = awayMark(terminal);
  if (here !== undefined && isFresh(mark)) return handlers.local(index as LocalIndex, here);
  const there = await askCluster(name, flags, terminal, here !== undefined);
  if (there.isAway && index !== undefined) leave(mark);
  if (there.run === undefined) {
    if (here === undefined) throw await nowhere(index, name, flags, terminal, there);
    there.cluster?.executions.close();
    return handlers.local(index as LocalIndex, here);
  }
  const { cluster, run } = there;
  const { during } = await import("./connect.ts");
  return during(cluster, async () => {
    if (here !== undefined) throw ambiguous(here, cluster, run);
    return handlers.cluster(cluster, run);
  });
}

async function withClusterRun<T>(
  name: string,
  flags: PlaceFlags,
  terminal: Terminal,
  work: Handlers<T>["cluster"],
): Promise<T> {
  const { onCluster } = await import("./connect.ts");
  return onCluster(flags, terminal, async (cluster) => {
    const key = clusterKey(name, flags, cluster);
    const run = await cluster.executions.get(key);
    if (run === undefined) throw await unknownRun(cluster, key);
    return work(cluster, run);
  });
}

async function unknownRun(cluster: ClusterConnection, { namespace, name }: ObjectKey): Promise<CliError> {
  const near = nearestNames(name, await cluster.executions.someNames(namespace).catch(() => []));
  return new CliError(`there is no Execution ${namespace}/${name} in the cluster of context ${cluster.context}`, [
    ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
    `see all: oao get ${cluster.flags}`,
  ]);
}

function clusterKey(name: string, flags: PlaceFlags, cluster: ClusterConnection): ObjectKey {
  const [namespace, short] = splitName(name, flags, cluster.namespace);
  return { namespace, name: short };
}

function localRun(index: LocalIndex | undefined, name: string, flags: PlaceFlags): LocalRun | undefined {
  const [namespace, short] = splitName(name, flags, defaultNamespace);
  return index?.get({ namespace, name: short });
}

interface Unasked {
  readonly cluster: ClusterConnection | undefined;
  readonly run: undefined;
  /** What kept it from answering; undefined = it has no such run. */
  readonly why?: string;
  /** It was asked and gave no answer at all. */
  readonly isAway?: boolean;
}

type Asked =
  | { readonly cluster: ClusterConnection; readonly run: StoredExecution; readonly isAway?: undefined }
  | Unasked;

/** Never throws, never waits longer than it may. */
async function askCluster(name: string, flags: PlaceFlags, terminal: Terminal, isHere: boolean): Promise<Asked> {
  const { connect } = await import("./connect.ts");
  let cluster: ClusterConnection;
  try {
    cluster = connect(flags, terminal);
  } catch (error) {
    return { cluster: undefined, run: undefined, why: messageOf(error) };
  }
  // A program that makes credentials may be slow, or open a browser: not for the sake of a name that is here.
  if (isHere && cluster.asksProgram) return { cluster, run: undefined };
  const limitMs = isHere ? alsoThereMs : onlyThereMs;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), limitMs);
  const late = new Promise<"late">((resolve) => stop.signal.addEventListener("abort", () => resolve("late")));
  const answer = cluster.executions.get(clusterKey(name, flags, cluster), stop.signal);
  answer.catch(() => undefined); // one that comes too late
  try {
    const run = await Promise.race([answer, late]);
    if (run !== "late") return run === undefined ? { cluster, run } : { cluster, run };
    return {
      cluster,
      run: undefined,
      why: `${cluster.server} did not answer in ${limitMs / 1_000} s`,
      isAway: true,
    };
  } catch (error) {
    const { clusterFailure, isNoAnswer } = await import("./failures.ts");
    return {
      cluster,
      run: undefined,
      why: messageOf(clusterFailure(error, cluster)),
      isAway: isNoAnswer(error),
    };
  } finally {
    clearTimeout(timer);
  }
}

function ambiguous(here: LocalRun, cluster: ClusterConnection, there: StoredExecution): CliError {
  return new CliError(`there are two runs ${here.key.name}: which one is meant?`, [
    `here:           ${here.key.namespace}/${here.key.name} (${here.status?.phase ?? "Pending"}): ${nameArguments(here)} --on local`,
    `on the cluster: ${there.key.namespace}/${there.key.name} (${there.status?.phase ?? "Pending"}, context ${cluster.context}): ${cluster.args(there.key)}`,
  ]);
}

/** What the local index says of the name, and what the cluster did. */
async function nowhere(
  index: LocalIndex | undefined,
  name: string,
  flags: PlaceFlags,
  terminal: Terminal,
  { cluster, why }: Unasked,
): Promise<CliError> {
  const local = refusalOf(() => findRun(index, name, flags, terminal));
  if (cluster === undefined)
    return new CliError(local.message, [...local.hints, `a cluster could not be asked: ${why}`]);
  const key = clusterKey(name, flags, cluster);
  const place = `the cluster of context ${cluster.context}`;
  const near = why === undefined ? await cluster.executions.someNames(key.namespace).catch(() => []) : [];
  cluster.executions.close();
  const guesses = nearestNames(key.name, near);
  return new CliError(local.message, [
    ...local.hints,
    why === undefined
      ? `nor is it in ${place}, namespace ${key.namespace}${guesses.length === 0 ? "" : `, which has ${guesses.join(", ")}`}: oao get ${cluster.flags}`
      : `${place} could not be asked (${why}): oao get ${cluster.flags}`,
  ]);
}

function refusalOf(work: () => unknown): CliError {
  try {
    work();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error("a run appeared while it was looked for: try again");
}

/** An empty file whose time says when the server of this kubeconfig, as it is now, was last found away. */
function awayMark(terminal: Terminal): string {
  const files = presentKubeconfigs(terminal);
  const id = createHash("sha256").update(JSON.stringify(files.map((file) => [file, statSync(file).mtimeMs])));
  return join(homeFolder(terminal), "away", id.digest("hex").slice(0, 16));
}

function isFresh(mark: string): boolean {
  return existsSync(mark) && Math.abs(Date.now() - statSync(mark).mtimeMs) < awayMs;
}

function leave(mark: string): void {
  try {
    mkdirSync(join(mark, ".."), { recursive: true, mode: 0o700 });
    writeFileSync(mark, "");
  } catch {
    // Then the next command waits again.
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
