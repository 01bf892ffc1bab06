/** oao submit, oao run --on cluster: create the Execution of a file, and follow it. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { isKubeError } from "../../adapters/kube/kube-error.ts";
import { MissingRight } from "../../adapters/kube/executions.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { GovernancePolicy } from "../../api/types.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { ObjectKey, StoredExecution } from "../../ports/cluster.ts";
import { CliError } from "../errors.ts";
import { nearestNames } from "../nearest.ts";
import { checkFormat } from "../render/output.ts";
import { type ManifestFlags, readRunManifest, type RunManifest } from "../run-manifest.ts";
import type { Terminal } from "../terminal.ts";
import { type ClusterConnection, onCluster } from "./connect.ts";
import { followToExit } from "./outcome.ts";
import { askedPlace, type PlaceFlags } from "./place.ts";

export interface SubmitFlags extends ManifestFlags, PlaceFlags {
  readonly output?: string | undefined;
}

export async function submit(file: string, flags: SubmitFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]);
  checkFlags(file, flags);
  // A module may well be in the worker's image and not here.
  const manifest = await readRunManifest(file, flags, terminal, () => systemClock.random(), {
    missingModules: "Warning",
  });
  return onCluster(flags, terminal, async (cluster) => {
    const namespace = flags.namespace ?? manifest.execution.metadata.namespace ?? cluster.namespace;
    const key = { namespace, name: manifest.name };
    await checkPolicies(cluster, key, manifest, file, terminal);
    const run = await create(cluster, key, manifest, file);
    terminal.err(`${namespace}/${run.key.name} created in the cluster of context ${cluster.context}\n`);
    return followToExit(cluster, run, output, terminal);
  });
}

function checkFlags(file: string, flags: SubmitFlags): void {
  if (askedPlace(flags) === "local")
    throw new CliError("oao submit is for a cluster", [`run it here: oao run ${file}`]);
}

/**
 * Policies of the file are never written: whoever may write them does so with kubectl or through Git. Only compared, so that nobody
 * takes the file's rules for those that hold.
 */
async function checkPolicies(
  cluster: ClusterConnection,
  { namespace }: ObjectKey,
  { execution, policies }: RunManifest,
  file: string,
  terminal: Terminal,
): Promise<void> {
  const wanted = execution.spec.policyRef?.name;
  if (wanted === undefined && policies.length === 0) return;
  const stored = await cluster.executions.policies(namespace).catch((error: unknown) => {
    // The operator checks it anyway.
    if (error instanceof MissingRight) return undefined;
    throw error;
  });
  if (stored === undefined) return;
  const known = stored.map(({ metadata }) => metadata.name ?? "");
  if (wanted !== undefined && !known.includes(wanted)) {
    const near = nearestNames(wanted, known);
    const isInFile = policies.some(({ metadata }) => metadata.name === wanted);
    throw new CliError(
      `spec.policyRef names GovernancePolicy ${wanted}, which namespace ${namespace} of the cluster does not have`,
      [
        ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
        isInFile
          ? `${file} holds it, but a run does not write policies: kubectl apply -n ${namespace} -f POLICY.yaml does (ClusterRole oao-policy-admin)`
          : `what there is: kubectl get governancepolicies -n ${namespace}`,
      ],
    );
  }
  for (const policy of policies) {
    const differs = differsFrom(
      policy,
      stored.find(({ metadata }) => metadata.name === policy.metadata.name),
    );
    if (differs !== undefined) terminal.err(`GovernancePolicy ${policy.metadata.name} of ${file} ${differs}\n`);
  }
}

function differsFrom(policy: GovernancePolicy, stored: GovernancePolicy | undefined): string | undefined {
  if (stored === undefined) return "is not in the cluster and was not written: this run is not governed by it";
  // The API server adds what its schema defaults, so only what the file says is compared.
  const { spec } = stored as { readonly spec: Readonly<Record<string, unknown>> };
  const differing = Object.entries(policy.spec)
    .filter(([field, value]) => canonicalJson(value) !== canonicalJson(spec[field] ?? null))
    .map(([field]) => `spec.${field}`);
  if (differing.length === 0) return undefined;
  return `differs from the cluster's own (${differing.join(", ")}), which governs this run`;
}

async function create(
  cluster: ClusterConnection,
  key: ObjectKey,
  { execution, generated }: RunManifest,
  file: string,
): Promise<StoredExecution> {
  try {
    return await cluster.executions.create(key, execution);
  } catch (error) {
    if (isKubeError(error, 409, "AlreadyExists")) throw await alreadyThere(cluster, key, file);
    if (isKubeError(error, 0) && error.reason === "Timeout")
      throw new CliError(
        `the API server did not say whether it created ${key.namespace}/${key.name}`,
        [
          `look: oao get ${cluster.args(key)}`,
          ...(generated ? [] : ["submitting it again is safe: a name is used once"]),
        ],
        cliExitCodes.infrastructure,
      );
    throw error;
  }
}

async function alreadyThere(cluster: ClusterConnection, key: ObjectKey, file: string): Promise<CliError> {
  const there = await cluster.executions.get(key).catch(() => undefined);
  const phase = there === undefined ? "" : ` (${there.status?.phase ?? "Pending"})`;
  const args = cluster.args(key);
  return new CliError(
    `Execution ${key.namespace}/${key.name} exists in the cluster of context ${cluster.context} already${phase}, and a spec cannot change`,
    [
      there?.status?.completedAt === undefined ? `follow it: oao resume ${args}` : `look at it: oao get ${args}`,
      `run it under another name: oao submit ${file} --name ${key.name.slice(0, 58)}-2`,
    ],
  );
}
