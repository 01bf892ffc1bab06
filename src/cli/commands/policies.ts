/** oao policies: what governs the runs of this folder beside what their manifests name. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { GovernancePolicy } from "../../api/policy.ts";
import { defaultPolicyLabel } from "../../host/governing.ts";
import { CliError } from "../errors.ts";
import { defaultNamespace, openExistingIndex } from "../home.ts";
import { nearestNames } from "../nearest.ts";
import { checkFormat, structured } from "../render/output.ts";
import { table } from "../render/table.ts";
import type { Terminal } from "../terminal.ts";

export interface PoliciesFlags {
  readonly namespace?: string | undefined;
  readonly delete?: boolean | undefined;
  readonly output?: string | undefined;
}

/** Throws CliError for a name that is not stored and for --delete without a name. */
export async function policies(
  name: string | undefined,
  flags: PoliciesFlags,
  terminal: Terminal,
): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  const namespace = flags.namespace ?? defaultNamespace;
  const index = await openExistingIndex(terminal);
  const stored = index?.policies.list(namespace) ?? [];
  const found = name === undefined ? stored : [named(stored, name, namespace)];
  if (flags.delete === true) {
    if (name === undefined) throw new CliError("--delete wants the name of one policy", ["list them: oao policies"]);
    index?.policies.delete(namespace, name);
    terminal.err(`GovernancePolicy ${namespace}/${name} deleted; runs that have started keep what it said\n`);
  } else if (output !== "table") {
    terminal.out(
      await structured(name === undefined ? { apiVersion: "v1", kind: "List", items: found } : found[0], output),
    );
  } else if (found.length === 0) {
    terminal.err(`no policies in namespace ${namespace}; give one with a run: oao run FILE --policy POLICY.yaml\n`);
  } else terminal.out(table(["NAME", "GOVERNS", "ENFORCEMENT", "MAXTOKENS"], found.map(row)));
  return cliExitCodes.succeeded;
}

function row({ metadata, spec }: GovernancePolicy): string[] {
  return [
    metadata.name ?? "",
    metadata.labels?.[defaultPolicyLabel] === "true" ? "every run" : "runs that name it",
    spec.enforcement ?? "Enforce",
    String(spec.maxTokens ?? ""),
  ];
}

function named(stored: readonly GovernancePolicy[], name: string, namespace: string): GovernancePolicy {
  const found = stored.find((policy) => policy.metadata.name === name);
  if (found !== undefined) return found;
  const near = nearestNames(
    name,
    stored.map((policy) => policy.metadata.name ?? ""),
  );
  throw new CliError(`namespace ${namespace} has no GovernancePolicy ${name}`, [
    ...(near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : []),
    "list them: oao policies",
  ]);
}
