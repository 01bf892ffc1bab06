/** oao run, oao resume */
import { AlreadyExists, type LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import type { CliExitCode } from "../../api/exit-codes.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { Execution } from "../../api/types.ts";
import { defaultPolicyLabel } from "../../host/governing.ts";
import { CliError } from "../errors.ts";
import { withRun } from "../cluster/locate.ts";
import { askedPlace, type PlaceFlags } from "../cluster/place.ts";
import { openIndex } from "../home.ts";
import { hostRun, type HostRunOptions } from "../host-run.ts";
import { nameArguments } from "../render/run-tables.ts";
import { nearestNames } from "../nearest.ts";
import { endedError, hasEnded } from "../outcome.ts";
import { checkFormat } from "../render/output.ts";
import { type ManifestFlags, readRunManifest, type RunManifest } from "../run-manifest.ts";
import { checkSecrets } from "../secrets.ts";
import { checkRedis, fileStoreUrl, withoutPassword } from "../store.ts";
import type { Terminal } from "../terminal.ts";

export interface RunFlags extends ManifestFlags, PlaceFlags {
  readonly output?: string | undefined;
}

export async function run(file: string, flags: RunFlags, terminal: Terminal): Promise<CliExitCode> {
  if (askedPlace(flags) === "cluster") return (await import("../cluster/submit.ts")).submit(file, flags, terminal);
  const output = checkFormat(flags.output, ["table", "json", "yaml"]);
  const manifest = await readRunManifest(file, flags, terminal, () => systemClock.random());
  checkSecrets(manifest.execution, terminal);
  const index = await openIndex(terminal);
  for (const policy of manifest.policies) index.policies.put(manifest.namespace, policy);
  checkPolicy(index, manifest);
  sayDefaults(index, manifest, terminal);
  const { store, given } = storeOf(index, flags);
  if (given !== undefined) await checkRedis(given);
  const { run: found, announcement } = createOrResume(index, manifest, file, store);
  return hostRun({
    terminal,
    index,
    run: found,
    announcement,
    redis: flags.redis,
    output,
    desiredState: manifest.execution.spec.desiredState,
  });
}

export interface ResumeFlags extends PlaceFlags {
  readonly output?: string | undefined;
}

export async function resume(name: string, flags: ResumeFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]);
  return withRun(name, flags, terminal, {
    local: (index, found) => resumeHere(index, found, flags.redis, output, terminal),
    cluster: async (cluster, found) => (await import("../cluster/control.ts")).resume(cluster, found, output, terminal),
  });
}

function resumeHere(
  index: LocalIndex,
  found: LocalRun,
  redis: string | undefined,
  output: HostRunOptions["output"],
  terminal: Terminal,
): Promise<CliExitCode> {
  if (hasEnded(found.status))
    throw endedError(found, [
      `look at it: oao get ${nameArguments(found)}`,
      `run its manifest anew under another name: oao run FILE --name ${found.key.name}-2`,
    ]);
  checkSecrets(found.object, terminal);
  return hostRun({
    terminal,
    index,
    run: found,
    redis,
    output,
    desiredState: undefined,
  });
}

/** Fails closed: a run whose policy is missing would not start, so the person at the keyboard is told now. */
function checkPolicy(index: LocalIndex, manifest: RunManifest): void {
  const wanted = manifest.execution.spec.policyRef?.name;
  const known = index.policies.list(manifest.namespace).map((policy) => policy.metadata.name ?? "");
  if (wanted === undefined || known.includes(wanted)) return;
  const near = nearestNames(wanted, known);
  throw new CliError(
    `spec.policyRef names GovernancePolicy ${wanted}, which namespace ${manifest.namespace} does not have`,
    [
      ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
      "give its file: oao run FILE --policy POLICY.yaml, or put it into the same file after ---",
    ],
  );
}

/** What an earlier run stored governs this one too, and nothing in its files says so. */
function sayDefaults(index: LocalIndex, manifest: RunManifest, terminal: Terminal): void {
  const given = new Set([
    ...manifest.policies.map(({ metadata }) => metadata.name),
    manifest.execution.spec.policyRef?.name,
  ]);
  const others = index.policies
    .list(manifest.namespace)
    .filter(({ metadata }) => metadata.labels?.[defaultPolicyLabel] === "true" && !given.has(metadata.name))
    .map(({ metadata }) => metadata.name);
  if (others.length === 0) return;
  terminal.err(
    `also governed by the stored default ${others.length === 1 ? "policy" : "policies"} ${others.join(", ")}`,
  );
  terminal.err(` (oao policies shows and deletes them)\n`);
}

interface Hosted {
  readonly run: LocalRun;
  readonly announcement?: string;
}

/** Where a new run keeps its journal, and the Redis to connect to for it. */
function storeOf(index: LocalIndex, { redis }: RunFlags): { store: string; given: string | undefined } {
  if (redis === undefined) return { store: fileStoreUrl(index.home), given: undefined };
  return { store: withoutPassword(redis), given: redis };
}

function createOrResume(index: LocalIndex, manifest: RunManifest, file: string, store: string): Hosted {
  const key = { namespace: manifest.namespace, name: manifest.name };
  try {
    return { run: index.create(key, manifest.execution, { baseDir: manifest.baseDir, store }) };
  } catch (error) {
    if (!(error instanceof AlreadyExists)) throw error;
    return resumable(error.existing, index, manifest, file);
  }
}

/** A second run of a name goes on with the first when it is the same and unfinished. */
function resumable(existing: LocalRun, index: LocalIndex, manifest: RunManifest, file: string): Hosted {
  const another = `run it under another name: oao run ${file} --name ${freeName(index, existing)}`;
  if (hasEnded(existing.status))
    throw endedError(existing, [`look at it: oao get ${nameArguments(existing)}`, another]);
  if (specText(existing.object) !== specText(manifest.execution)) {
    const fields = changedFields(existing.object, manifest.execution);
    throw new CliError(
      `Execution ${existing.key.namespace}/${existing.key.name} exists with another spec (${fields.join(", ")}), and a spec cannot change`,
      [`go on with the existing one: oao resume ${nameArguments(existing)}`, another],
    );
  }
  return { run: existing, announcement: `${existing.key.namespace}/${existing.key.name} is unfinished: resuming it` };
}

function specText(execution: Execution): string {
  const { desiredState: _, ...spec } = execution.spec;
  return canonicalJson(spec);
}

function changedFields(a: Execution, b: Execution): string[] {
  const names = new Set([...Object.keys(a.spec), ...Object.keys(b.spec)].filter((name) => name !== "desiredState"));
  const field = (execution: Execution, name: string) => (execution.spec as Record<string, unknown>)[name];
  return [...names]
    .filter((name) => canonicalJson(field(a, name) ?? null) !== canonicalJson(field(b, name) ?? null))
    .map((name) => `spec.${name} differs`);
}

function freeName(index: LocalIndex, existing: LocalRun): string {
  for (let number = 2; ; number += 1) {
    const name = `${existing.key.name.slice(0, 58)}-${number}`;
    if (index.get({ ...existing.key, name }) === undefined) return name;
  }
}
