/** Policy as a list of independent pure checks: every violation is reported, list order is report order. */
import { executionDefaults } from "../../api/execution.ts";
import type { ToolEffect, ToolSpec } from "../../api/types.ts";
import { anyMatches } from "./glob.ts";
import type { EffectivePolicy, ModelCheck, PolicyRules, ToolCheck, Violation } from "./types.ts";

type Check<T> = (rules: PolicyRules, call: T) => { message: string; path: string } | undefined;

const modelChecks: readonly Check<ModelCheck>[] = [
  ({ models }, { policyName }) =>
    anyMatches(models.deny ?? [], policyName) ? { message: `Model Denied: ${policyName}`, path: "spec.models.deny" } : undefined,
  ({ models }, { policyName }) =>
    models.allow !== undefined && !anyMatches(models.allow, policyName) ? { message: `Model Not Allowed: ${policyName} is not in the allow list`, path: "spec.models.allow" } : undefined,
  ({ models }, { endpoint }) =>
    models.endpoints !== undefined && !models.endpoints.some(({ baseURL }) => endpointMatches(baseURL, endpoint)) ? { message: `Endpoint Not Allowed: ${endpoint}`, path: "spec.models.endpoints" } : undefined,
  // G3: where a policy lists endpoints, a secret goes only to one it is paired with.
  ({ models }, { endpoint, secret }) =>
    secret !== undefined && models.endpoints !== undefined && !models.endpoints.some((entry) => endpointMatches(entry.baseURL, endpoint) && (entry.secrets ?? []).includes(secret))
      ? { message: `Secret Not Paired: secret ${secret} may not be sent to ${endpoint}`, path: "spec.models.endpoints" }
      : undefined,
];

const toolChecks: readonly Check<ToolCheck>[] = [
  ({ tools }, { tool }) => (anyMatches(tools.deny ?? [], tool) ? { message: `Tool Denied: ${tool}`, path: "spec.tools.deny" } : undefined),
  ({ tools }, { tool }) => (tools.allow !== undefined && !anyMatches(tools.allow, tool) ? { message: `Tool Not Allowed: ${tool} is not in the allow list`, path: "spec.tools.allow" } : undefined),
  ({ tools }, { tool, host }) =>
    host !== undefined && tools.hosts !== undefined && !tools.hosts.some((entry) => hostMatches(entry.host, host)) ? { message: `Host Not Allowed: tool ${tool} may not reach ${host.host}:${host.port}`, path: "spec.tools.hosts" } : undefined,
  ({ tools }, { tool, host }) => {
    const { hosts } = tools;
    if (host === undefined || hosts === undefined) return undefined;
    const unpaired = host.secrets.filter((secret) => !hosts.some((entry) => hostMatches(entry.host, host) && (entry.secrets ?? []).includes(secret)));
    return unpaired.length === 0 ? undefined : { message: `Secret Not Paired: tool ${tool} may not send ${unpaired.join(", ")} to ${host.host}:${host.port}`, path: "spec.tools.hosts" };
  },
  ({ tools }, { tool, modulePath }) =>
    modulePath !== undefined && tools.modules !== undefined && !anyMatches(tools.modules, modulePath) ? { message: `Module Not Allowed: tool ${tool} is ${modulePath}`, path: "spec.tools.modules" } : undefined,
];

/** Every rule of every policy that this model call breaks. */
export function checkModel(policy: EffectivePolicy, call: ModelCheck): Violation[] {
  return run(policy, modelChecks, call);
}

/** Every rule of every policy that this tool call breaks. */
export function checkTool(policy: EffectivePolicy, call: ToolCheck): Violation[] {
  return run(policy, toolChecks, call);
}

/**
 * What a repeated call may do to the outside. The platform's word wins; without it the tool's own claim counts, and a
 * tool that claims nothing is NonIdempotent. Several policies: the least trusting word.
 */
export function effectOf(policy: EffectivePolicy, spec: ToolSpec): ToolEffect {
  const trust: readonly ToolEffect[] = ["NonIdempotent", "Idempotent", "ReadOnly"];
  const said = policy.rules.flatMap(({ tools }) => tools.effects?.[spec.name] ?? []);
  if (said.length === 0) return spec.effect ?? executionDefaults.effect;
  return trust[Math.min(...said.map((effect) => trust.indexOf(effect)))] ?? executionDefaults.effect;
}

function run<T>(policy: EffectivePolicy, checks: readonly Check<T>[], call: T): Violation[] {
  return policy.rules.flatMap((rules) =>
    checks.flatMap((check) => {
      const broken = check(rules, call);
      if (broken === undefined) return [];
      return [{ policy: rules.name, enforcement: rules.enforcement, reason: "PolicyViolation" as const, message: `PolicyViolation: ${broken.message} (policy ${rules.name}, ${broken.path})`, path: broken.path }];
    }),
  );
}

/** An endpoint glob names a base URL: it also covers what lies below it. */
function endpointMatches(glob: string, endpoint: string): boolean {
  return anyMatches([glob, `${glob.replace(/\/+$/, "")}/*`], endpoint);
}

/** host globs with a port match it; without one they match the standard ports. */
export function hostMatches(glob: string, host: { readonly host: string; readonly port: number }): boolean {
  const name = host.host.toLowerCase();
  if (/:(\d+|\*)$/.test(glob)) return anyMatches([glob.toLowerCase()], `${name}:${host.port}`);
  return (host.port === 443 || host.port === 80) && anyMatches([glob.toLowerCase()], name);
}
