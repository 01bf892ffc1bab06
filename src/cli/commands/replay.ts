/** oao replay */
import { isKubeError } from "../../adapters/kube/kube-error.ts";
import { AlreadyExists, type LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import type { CliExitCode } from "../../api/exit-codes.ts";
import type { Execution, ExecutionSpec } from "../../api/types.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";
import { isWhole } from "../../core/replay/spec.ts";
import { defaultPolicyLabel } from "../../host/governing.ts";
import { readRecord } from "../../host/journals.ts";
import { resolveReplay } from "../../host/open-replay.ts";
import { checkParent } from "../../host/origins.ts";
import { withRun } from "../cluster/locate.ts";
import type { ClusterConnection } from "../cluster/connect.ts";
import type { PlaceFlags } from "../cluster/place.ts";
import { CliError } from "../errors.ts";
import { hostRun, type HostRunOptions } from "../host-run.ts";
import { hasEnded } from "../outcome.ts";
import { journalGone, missingRun } from "../records.ts";
import { checkFormat } from "../render/output.ts";
import { nameArguments } from "../render/run-tables.ts";
import { inheritingReplay, type ReplayFlags, replayOf } from "../replay-manifest.ts";
import { checkName, type NamedPolicy, readPolicies } from "../run-manifest.ts";
import { checkSecrets } from "../secrets.ts";
import { givenRedis, openRunStore } from "../store.ts";
import type { Terminal } from "../terminal.ts";

export interface ReplayCommandFlags extends ReplayFlags, PlaceFlags {
  readonly name?: string | undefined;
  readonly policy?: readonly string[] | undefined;
  readonly output?: string | undefined;
}

/** `names`: one, but for what other policies would have done. */
export async function replay(
  [name = "", ...others]: readonly string[],
  flags: ReplayCommandFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]);
  if (isWhatIf(flags)) {
    const { whatIfReplay } = await import("./what-if.ts");
    return whatIfReplay([name, ...others], flags, output, terminal);
  }
  if (others.length > 0)
    throw new CliError(`one run is replayed at a time, and ${others.length + 1} are named`, [
      "what a policy would have stopped of several runs: oao replay NAME… --strict --policy FILE",
    ]);
  return withRun(name, flags, terminal, {
    local: (index, parent) => replayHere(index, parent, flags, output, terminal),
    cluster: (cluster, parent) => replayThere(cluster, parent, flags, output, terminal),
  });
}

/** Flags of replays that are run. */
const ofRuns = {
  times: "--times",
  toolOutputs: "--tool-outputs",
  input: "--input",
  set: "--set",
  file: "--file",
  name: "--name",
} as const;

/** A strict replay makes no call that a policy could govern: under another one it is told from the record. */
function isWhatIf(flags: ReplayCommandFlags): boolean {
  if ((flags.policy ?? []).length === 0 || flags.fromStep !== undefined || flags.from !== undefined) return false;
  for (const [flag, written] of Object.entries(ofRuns))
    if (flags[flag as keyof typeof ofRuns] !== undefined)
      throw new CliError(
        `${written} is for replays that are run, and a strict one with --policy is not: it tells what that policy would have stopped`,
        [`leave ${written} out`, "run it under that policy: oao replay NAME --from-step N --policy FILE"],
      );
  return true;
}

async function replayHere(
  index: LocalIndex,
  parent: LocalRun,
  flags: ReplayCommandFlags,
  output: HostRunOptions["output"],
  terminal: Terminal,
): Promise<CliExitCode> {
  checkEnded(parent);
  const { namespace } = parent.key;
  const isTaken = (name: string) => index.get({ namespace, name }) !== undefined;
  const child = freeName(flags.name, parent, isTaken);
  const store = await openRunStore(parent, givenRedis(parent, flags.redis, terminal.env));
  let execution: Execution;
  let inherited: ExecutionSpec["policyRef"];
  try {
    const spec = await recordedSpec(parent, store);
    inherited = spec.policyRef;
    execution = replayOf({ name: parent.key.name, uid: parent.uid, spec }, flags, child, terminal);
    await checkReplayable(index, parent, execution, store);
  } finally {
    await store.close();
  }
  checkSecrets(execution, terminal);
  const policies = readPolicies(flags.policy, terminal);
  for (const policy of policies) checkGoverns(policy, execution.spec.policyRef?.name ?? inherited?.name);
  for (const policy of policies) index.policies.put(namespace, policy);
  const run = await createFree(flags.name, parent, isTaken, (name) =>
    index.create({ namespace, name }, execution, parent.place),
  );
  return hostRun({
    terminal,
    index,
    run,
    announcement: `${namespace}/${run.key.name} replays ${parent.key.name}`,
    redis: flags.redis,
    output,
    desiredState: undefined,
  });
}

/** A policy that was given for this replay and would not govern it: its calls would be made, and paid, under another. */
function checkGoverns({ metadata: { name, labels } }: NamedPolicy, wanted: string | undefined): void {
  if (name === wanted || labels?.[defaultPolicyLabel] === "true") return;
  const named = wanted === undefined ? "its policyRef names none" : `its policyRef names ${wanted}`;
  throw new CliError(
    `GovernancePolicy ${name} of --policy would not govern the replay: ${named}, and it is no default`,
    [
      `name it: --set policyRef.name=${name}`,
      ...(wanted === undefined ? [] : [`or call it ${wanted} in its file: it replaces the one of that name`]),
    ],
  );
}

function checkEnded(parent: StoredExecution): void {
  if (hasEnded(parent.status)) return;
  throw new CliError(
    `Execution ${parent.key.namespace}/${parent.key.name} has not ended (${parent.status?.phase ?? "Pending"}), so its record is not whole`,
    [`watch it: oao tree ${nameArguments(parent)}`, `end it:   oao cancel ${nameArguments(parent)}`],
  );
}

/** As it was fixed at the start: with all that it inherited. */
async function recordedSpec(parent: LocalRun, store: JournalStore): Promise<ExecutionSpec> {
  const record = await readRecord(store, parent);
  if (record.snapshot !== undefined) return record.snapshot.spec;
  if (parent.status?.snapshot !== undefined)
    throw journalGone(parent, (await missingRun(record, store)) ?? parent.key.name);
  throw new CliError(`${parent.key.namespace}/${parent.key.name} was never started, so nothing is recorded`);
}

/** What the host would refuse is refused before a run is made for it. Throws CliError, RecordChanged. */
async function checkReplayable(
  index: LocalIndex,
  parent: LocalRun,
  execution: Execution,
  store: JournalStore,
): Promise<void> {
  const asked = execution.spec.replay;
  if (asked === undefined) return;
  const cluster = { get: async () => index.get(parent.key) };
  const found = await resolveReplay({ ...parent, object: execution }, asked, { cluster, journal: () => store });
  if ("refused" in found) throw new CliError(found.refused, [`every step: oao trace ${nameArguments(parent)}`]);
  await checkParent(found.lineage, found, found.replay);
}

export function freeName(
  given: string | undefined,
  parent: StoredExecution,
  isTaken: (name: string) => boolean,
): string {
  if (given !== undefined) {
    checkName("--name", given);
    if (isTaken(given))
      throw new CliError(`Execution ${parent.key.namespace}/${given} exists already`, ["give another --name"]);
    return given;
  }
  for (let number = 1; ; number += 1) {
    const name = `${parent.key.name.slice(0, 50)}-replay-${number}`;
    if (!isTaken(name)) return name;
  }
}

/** Another process may take a free name before this one does: the next is tried, but for one that was asked for. */
async function createFree<T>(
  given: string | undefined,
  parent: StoredExecution,
  isTaken: (name: string) => boolean,
  create: (name: string) => T | Promise<T>,
): Promise<T> {
  const lost = new Set<string>();
  for (;;) {
    const name = freeName(given, parent, (each) => lost.has(each) || isTaken(each));
    try {
      return await create(name);
    } catch (error) {
      if (!(error instanceof AlreadyExists) && !isKubeError(error, 409, "AlreadyExists")) throw error;
      lost.add(name);
    }
  }
}

async function replayThere(
  cluster: ClusterConnection,
  parent: StoredExecution,
  flags: ReplayCommandFlags,
  output: HostRunOptions["output"],
  terminal: Terminal,
): Promise<CliExitCode> {
  if ((flags.policy ?? []).length > 0)
    throw new CliError("--policy is for runs here: on a cluster the namespace's policies govern a replay too");
  const run = await createReplay(cluster, parent, flags, terminal);
  const { namespace, name: child } = run.key;
  terminal.err(`${namespace}/${child} replays ${parent.key.name} in the cluster of context ${cluster.context}\n`);
  const { followToExit } = await import("../cluster/outcome.ts");
  return followToExit(cluster, run, output, terminal);
}

/** The new Execution, beside its parent. Throws CliError: the parent has not ended, or the flags do not fit it. */
export async function createReplay(
  cluster: ClusterConnection,
  parent: StoredExecution,
  flags: Omit<ReplayCommandFlags, "policy" | "output">,
  terminal: Terminal,
): Promise<StoredExecution> {
  checkEnded(parent);
  const { spec } = parent.object;
  const { namespace, name } = parent.key;
  const known = new Set(await cluster.executions.someNames(namespace).catch(() => []));
  return createFree(
    flags.name,
    parent,
    (each) => known.has(each),
    (child) => {
      const execution = isWhole(spec)
        ? replayOf({ name, uid: parent.uid, spec }, flags, child, terminal)
        : inheritingReplay({ name, uid: parent.uid }, flags, child);
      return cluster.executions.create({ namespace, name: child }, execution);
    },
  );
}
