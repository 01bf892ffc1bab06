/** What `oao hash` is asked about: a manifest, or a run here or on a cluster, as far as each part is known from here. */
import type { LocalIndex } from "../adapters/local/local-index.ts";
import type { LocalRun } from "../adapters/local/local-run.ts";
import { systemClock } from "../adapters/clock/system-clock.ts";
import type { ExecutionStatus } from "../api/status.ts";
import type { Execution, ExecutionSpec, GovernancePolicy, PolicySpec } from "../api/types.ts";
import type { Json } from "../core/digest/json.ts";
import { type HashedContent, hashedContent, type HashPart, hashParts } from "../core/hash/content.ts";
import { hashOf } from "../core/hash/execution-hash.ts";
import { lintManifest } from "../core/manifest/lint.ts";
import { isWhole, shownSpec } from "../core/replay/spec.ts";
import type { Snapshot } from "../core/steps/format.ts";
import { loadSnapshot } from "../host/snapshots.ts";
import { governingPolicies } from "../host/governing.ts";
import type { StoredExecution, StoredPolicy } from "../ports/cluster.ts";
import { withRun } from "./cluster/locate.ts";
import { askedPlace, type PlaceFlags } from "./cluster/place.ts";
import { CliError } from "./errors.ts";
import { isManifestName } from "./file-names.ts";
import { openExistingIndex } from "./home.ts";
import { type ManifestFlags, readRunManifest, readText, report, type RunManifest } from "./run-manifest.ts";
import { givenRedis, openJournalToLook } from "./store.ts";
import type { Terminal } from "./terminal.ts";

export interface SubjectFlags extends ManifestFlags, PlaceFlags {
  readonly floor?: readonly string[] | undefined;
}

const noFloor = "none";

export interface HashSubject {
  /** As it was asked for. */
  readonly name: string;
  readonly hash: string | undefined;
  /** Undefined = not known from here; `unknown` says why. */
  readonly parts: Readonly<Partial<Record<HashPart, string>>>;
  readonly content: Readonly<Partial<HashedContent>>;
  readonly policies: readonly string[] | undefined;
  readonly unknown: string | undefined;
}

/** A file where there is one, or where its name ends like one; else the name of a run. Throws CliError. */
export async function hashSubject(name: string, flags: SubjectFlags, terminal: Terminal): Promise<HashSubject> {
  if (/\.(jsonl|gz|zst)$/i.test(name))
    throw new CliError(`${name} is no manifest: a hash is of a manifest or of a run`, [
      "of the run in a bundle: oao import FILE, then oao hash NAME",
    ]);
  if (isManifestName(name, terminal.cwd)) return ofFile(name, flags, terminal);
  return withRun(name, flags, terminal, {
    local: (index, run) => ofLocalRun(name, index, run, terminal),
    cluster: async (cluster, run) => {
      // The snapshot is out of reach; policies that give its digest say the same.
      const stored = await cluster.executions.policies(run.key.namespace).catch(() => []);
      return ofRun(name, run, rulesNow(run, floorOf(flags, terminal), stored));
    },
  });
}

async function ofFile(file: string, flags: SubjectFlags, terminal: Terminal): Promise<HashSubject> {
  const options = { missingModules: "Warning", anyHash: true } as const;
  const manifest = await readRunManifest(file, flags, terminal, () => systemClock.random(), options);
  const floor = floorOf(flags, terminal);
  if (askedPlace(flags) !== "cluster") {
    const stored = (await openExistingIndex(terminal))?.policies.list(manifest.namespace) ?? [];
    return ofManifest(file, manifest, floor, overlaid(stored, manifest.policies));
  }
  const [{ onCluster }, { MissingRight }] = await Promise.all([
    import("./cluster/connect.ts"),
    import("../adapters/kube/executions.ts"),
  ]);
  return onCluster(flags, terminal, async (cluster) => {
    const namespace = flags.namespace ?? manifest.execution.metadata.namespace ?? cluster.namespace;
    if (flags.floor === undefined)
      return partly(
        file,
        specOf(manifest.execution),
        `the operator's floor policy is not known here: --floor FILE gives it, --floor ${noFloor} says that there is none`,
      );
    const stored = await cluster.executions.policies(namespace).catch((error: unknown) => {
      if (error instanceof MissingRight) return undefined;
      throw error;
    });
    if (stored === undefined)
      return partly(file, specOf(manifest.execution), `you may not read the policies of namespace ${namespace}`);
    return ofManifest(file, { ...manifest, namespace }, floor, stored);
  });
}

function floorOf({ floor = [] }: SubjectFlags, terminal: Terminal): readonly GovernancePolicy[] {
  return floor.flatMap((path) => (path === noFloor ? [] : policiesOf(path, terminal)));
}

/** Throws CliError for a replay that leaves parts to its parent: those are known where its record is read. */
function specOf({ spec }: Execution): ExecutionSpec {
  if (isWhole(spec)) return spec;
  throw new CliError("a replay that inherits its spec has no hash before it is started", [
    "of the run, once it is: oao hash NAME",
  ]);
}

function policiesOf(path: string, terminal: Terminal): readonly GovernancePolicy[] {
  const { policies, problems } = lintManifest(readText(path, terminal), path);
  report(problems, terminal);
  if (policies.length === 0) throw new CliError(`--floor ${path} holds no GovernancePolicy`);
  return policies.map(({ object }) => object);
}

/** As `oao run` would store the file's policies, without doing so. */
function overlaid(stored: readonly StoredPolicy[], given: readonly GovernancePolicy[]): readonly StoredPolicy[] {
  const names = new Set(given.map(({ metadata }) => metadata.name));
  return [...stored.filter(({ metadata }) => !names.has(metadata.name)), ...given];
}

function ofManifest(
  file: string,
  { execution, namespace, name }: RunManifest,
  floor: readonly GovernancePolicy[],
  inNamespace: readonly StoredPolicy[],
): HashSubject {
  const governing = governingPolicies({ key: { namespace, name } }, execution.spec.policyRef?.name, floor, inNamespace);
  if ("reason" in governing)
    throw new CliError(`${governing.reason}: ${governing.message}`, [
      `give its file: oao hash ${file} --policy POLICY.yaml`,
    ]);
  const rules = governing.map(({ policy }) => policy.spec);
  return whole(file, specOf(execution), rules, [...new Set(governing.map(({ policy }) => policy.metadata.name ?? ""))]);
}

function whole(
  name: string,
  spec: ExecutionSpec,
  rules: readonly PolicySpec[],
  policies: readonly string[],
): HashSubject {
  const content = hashedContent(spec, rules);
  const { executionHash: hash, hashParts: parts } = hashOf(content);
  return { name, hash, parts, content, policies, unknown: undefined };
}

function partly(name: string, spec: ExecutionSpec, unknown: string): HashSubject {
  const { policy: _content, ...content } = hashedContent(spec, []);
  const { policy: _hash, ...parts } = hashOf(hashedContent(spec, [])).hashParts;
  return { name, hash: undefined, parts, content, policies: undefined, unknown };
}

async function ofLocalRun(name: string, index: LocalIndex, run: LocalRun, terminal: Terminal): Promise<HashSubject> {
  const digest = run.status?.snapshot;
  // It was refused: the policies of now, if they are still what it was refused under.
  if (digest === undefined) return ofRun(name, run, rulesNow(run, [], index.policies.list(run.key.namespace)));
  const store = await openJournalToLook(run, givenRedis(run, undefined, terminal.env));
  if (store === undefined) return ofRun(name, run, {});
  try {
    return ofRun(name, run, (await loadSnapshot(store, [run.uid], digest)) ?? {});
  } finally {
    await store.close();
  }
}

function rulesNow(
  run: StoredExecution,
  floor: readonly GovernancePolicy[],
  inNamespace: readonly StoredPolicy[],
): Partial<Snapshot> {
  const wanted = shownSpec(run.object, run.status).policyRef?.name;
  const governing = governingPolicies(run, wanted, floor, inNamespace);
  return "reason" in governing ? {} : { rules: governing.map(({ policy }) => policy.spec) };
}

/** What the status says, and what it was made of as far as that can be had: it gives the same digests. */
function ofRun(name: string, { object, status, key }: StoredExecution, fixed: Partial<Snapshot>): HashSubject {
  if (status?.executionHash === undefined || status.hashParts === undefined)
    throw new CliError(`Execution ${key.namespace}/${key.name} has no execution hash: ${whyNone(status)}`, [
      "of a manifest: oao hash FILE",
    ]);
  const { executionHash: hash, hashParts: parts } = status;
  const made = hashedContent(fixed.spec ?? shownSpec(object, status), fixed.rules ?? []);
  const now = hashOf(made).hashParts;
  const known = hashParts.filter((part) => now[part] === parts[part]);
  const content = Object.fromEntries(known.map((part): [string, Json] => [part, made[part]]));
  const policies = (status.policies ?? []).map((policy) => policy.name);
  return { name, hash, parts, content, policies, unknown: undefined };
}

function whyNone(status: ExecutionStatus | undefined): string {
  return status?.snapshot === undefined ? "it has not been opened yet" : "a version of OAO without it opened it";
}
