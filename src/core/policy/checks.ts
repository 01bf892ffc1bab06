/** Allow and deny lists before a call (G3, G4). Every broken rule of every policy is reported, in the order of the policies. */
import { effects } from "../../api/defaults.ts";
import type { ModuleToolSpec, ToolEffect } from "../../api/tool.ts";
import type { ExecutionSpec, ModelSpec, ToolSpec } from "../../api/types.ts";
import { hostMatches, hostOf, normalModulePath, parseUrl, urlMatches } from "./endpoints.ts";
import { listAllows } from "./glob.ts";
import type { EffectivePolicy, ModelCheck, PolicyRules, ToolCheck, Violation } from "./types.ts";

/** Everything that forbids a model call; empty = go. */
export function checkModel(policy: EffectivePolicy, check: ModelCheck): Violation[] {
  return [
    ...policy.rules.flatMap((rules) => modelName(rules, check)),
    ...policy.rules.flatMap((rules) => modelEndpoint(rules, check)),
    ...modelSecret(policy, check),
  ];
}

/** Everything that forbids a tool call; empty = go. */
export function checkTool(policy: EffectivePolicy, check: ToolCheck): Violation[] {
  return [
    ...policy.rules.flatMap((rules) => toolName(rules, check)),
    ...policy.rules.flatMap((rules) => toolHost(rules, check)),
    ...policy.rules.flatMap((rules) => toolModule(rules, check)),
    ...toolSecrets(policy, check),
  ];
}

/** The same call again and again is a loop. `item` as in gather or rate[3]; `made`: how often it made this call by now. */
export function checkLoop(
  { sameCall }: EffectivePolicy,
  item: string,
  { kind, name }: { readonly kind: string; readonly name: string },
  made: number,
): Violation[] {
  if (sameCall === undefined || made <= sameCall.limit) return [];
  const { enforcement, limit } = sameCall;
  const message = `PolicyViolation: Loop Detected: node ${item} made the same ${kind} call (${name}) ${made} times, limit ${limit}`;
  return [{ policy: "", enforcement, reason: "PolicyViolation", message, path: "spec.limits.loopDetection.sameCall" }];
}

export interface SpecViolation extends Violation {
  /** The field of the Execution, from its root. */
  readonly at: readonly (string | number)[];
}

/** What is known before a run: every declared model and tool. For `lint --policy`, and at the start. */
export function checkSpecAgainstPolicy(spec: ExecutionSpec, policy: EffectivePolicy): SpecViolation[] {
  const placed = (at: SpecViolation["at"], violations: readonly Violation[]) =>
    violations.map((violation) => ({ ...violation, at }));
  return [
    ...(spec.models ?? []).flatMap((model, index) =>
      placed(["spec", "models", index], checkModel(policy, modelCheckOf(model))),
    ),
    ...(spec.tools ?? []).flatMap((tool, index) =>
      placed(["spec", "tools", index], checkTool(policy, toolCheckOf(tool))),
    ),
    ...checkImages(spec, policy),
  ];
}

/**
 * Images that nodes bring: known before a run, and checked then. Whoever makes pods lets people run code of their own, so some
 * policy must list the image, and every policy with a list must.
 */
export function checkImages(spec: ExecutionSpec, policy: EffectivePolicy): SpecViolation[] {
  const lists = policy.rules.filter(({ images }) => images !== undefined);
  return (["nodes", "finally"] as const).flatMap((list) =>
    (spec[list] ?? []).flatMap(({ image }, index): SpecViolation[] => {
      if (image === undefined) return [];
      const title = "Image Not Allowed";
      const path = "spec.images.allow";
      const refusing = lists.filter(({ images }) => listAllows(images?.allow, undefined, image) !== "Allowed");
      const found =
        policy.requirePairing === true && lists.every(({ enforcement }) => enforcement === "Audit")
          ? [violation({ name: "", enforcement: "Enforce" }, path, title, `no policy lists ${image}`)]
          : refusing.map((rules) => violation(rules, path, title, `${image} is not in the allow list`));
      return found.map((each) => ({ ...each, at: ["spec", list, index, "image"] }));
    }),
  );
}

const providerEndpoints: Readonly<Record<string, { readonly base: string; readonly path: string }>> = {
  openai: { base: "https://api.openai.com/v1", path: "/chat/completions" },
  anthropic: { base: "https://api.anthropic.com", path: "/v1/messages" },
};

/** A declared model as it is checked: the same endpoint that its calls go to. `<provider>:default` where only the client knows it. */
export function modelCheckOf(model: ModelSpec): ModelCheck {
  const { provider } = model;
  const known = Object.hasOwn(providerEndpoints, provider) ? providerEndpoints[provider] : undefined;
  const base = model.baseURL ?? known?.base;
  return {
    policyName: `${provider}/${model.model}`,
    endpoint: base === undefined ? `${provider}:default` : `${base.replace(/\/+$/, "")}${known?.path ?? ""}`,
    secret: model.apiKeySecretRef?.name,
  };
}

/** What policies list a module by: its path, or `configmap:NAME/KEY`. */
export function moduleName({ path, configMapRef }: ModuleToolSpec): string {
  return path ?? `configmap:${configMapRef?.name ?? ""}/${configMapRef?.key ?? ""}`;
}

/** A declared tool as it is checked. */
export function toolCheckOf(tool: ToolSpec): ToolCheck {
  const target = tool.http === undefined ? undefined : hostOf(tool.http.url);
  const secrets = (tool.http?.headers ?? []).flatMap(({ secretKeyRef }) =>
    secretKeyRef === undefined ? [] : [secretKeyRef.name],
  );
  return {
    tool: tool.name,
    // A URL without a host is refused by every host list, and by the tool itself.
    host:
      tool.http === undefined
        ? undefined
        : { host: target?.host ?? "", port: target?.port ?? 0, secrets: [...new Set(secrets)] },
    modulePath: tool.module === undefined ? undefined : moduleName(tool.module),
  };
}

/**
 * How a repeated call of a tool is to be thought of, from the most cautious:
 * a policy that names the tool raises the trust in a tool that claims nothing, and where both speak
 * the more cautious holds (a policy vouches for a name, and the manifest says what stands behind it).
 * Where any policy keeps a table of effects, a tool that is in none is NonIdempotent whatever it
 * claims. Its own claim counts alone only where no policy keeps a table. Audit policies do not count.
 */
export function effectOf(policy: EffectivePolicy, spec: Pick<ToolSpec, "name" | "effect">): ToolEffect {
  const tables = policy.rules.flatMap(({ enforcement, tools }) =>
    enforcement === "Audit" || tools.effects === undefined ? [] : [tools.effects],
  );
  const vouched = tables.flatMap((table) => (Object.hasOwn(table, spec.name) ? [table[spec.name]] : []));
  const claims = [...vouched, spec.effect].filter((effect) => effect !== undefined);
  if (claims.length === 0 || (tables.length > 0 && vouched.length === 0)) return "NonIdempotent";
  return effects.findLast((effect) => claims.includes(effect)) ?? "NonIdempotent";
}

function violation(
  rules: Pick<PolicyRules, "name" | "enforcement">,
  path: string,
  title: string,
  detail: string,
): Violation {
  const { name, enforcement } = rules;
  return {
    policy: name,
    enforcement,
    reason: "PolicyViolation",
    message: `PolicyViolation: ${title}: ${detail}${name === "" ? "" : ` (policy ${name}, ${path})`}`,
    path,
  };
}

function modelName(rules: PolicyRules, { policyName }: ModelCheck): Violation[] {
  const verdict = listAllows(rules.models.allow, rules.models.deny, policyName);
  if (verdict === "Allowed") return [];
  return verdict === "Denied"
    ? [violation(rules, "spec.models.deny", "Model Denied", policyName)]
    : [violation(rules, "spec.models.allow", "Model Not Allowed", `${policyName} is not in the allow list`)];
}

function modelEndpoint(rules: PolicyRules, { policyName, endpoint }: ModelCheck): Violation[] {
  const { endpoints } = rules.models;
  if (endpoints === undefined || endpoints.some((entry) => urlMatches(entry.baseURL, endpoint))) return [];
  const what = parseUrl(endpoint) === undefined ? `${endpoint}, which is no URL (set baseURL)` : endpoint;
  return [
    violation(rules, "spec.models.endpoints", "Endpoint Not Allowed", `${policyName} may not be called at ${what}`),
  ];
}

function toolName(rules: PolicyRules, { tool }: ToolCheck): Violation[] {
  const verdict = listAllows(rules.tools.allow, rules.tools.deny, tool);
  if (verdict === "Allowed") return [];
  return verdict === "Denied"
    ? [violation(rules, "spec.tools.deny", "Tool Denied", tool)]
    : [violation(rules, "spec.tools.allow", "Tool Not Allowed", `${tool} is not in the allow list`)];
}

function toolHost(rules: PolicyRules, { tool, host }: ToolCheck): Violation[] {
  const { hosts } = rules.tools;
  if (host === undefined || hosts === undefined) return [];
  if (hosts.some((entry) => hostMatches(entry.host, host.host, host.port))) return [];
  return [
    violation(rules, "spec.tools.hosts", "Host Not Allowed", `tool ${tool} may not reach ${host.host}:${host.port}`),
  ];
}

function toolModule(rules: PolicyRules, { tool, modulePath }: ToolCheck): Violation[] {
  const { modules } = rules.tools;
  if (modulePath === undefined || modules === undefined) return [];
  const path = normalModulePath(modulePath);
  if (path !== undefined && listAllows(modules, undefined, path) === "Allowed") return [];
  return [violation(rules, "spec.tools.modules", "Module Not Allowed", `tool ${tool} is ${modulePath}`)];
}

/** One policy's entries that match an endpoint; undefined = the policy has no list. */
interface Pairing {
  readonly rules: PolicyRules;
  readonly entries: readonly { readonly secrets?: readonly string[] | undefined }[] | undefined;
}

function modelSecret(policy: EffectivePolicy, { endpoint, secret }: ModelCheck): Violation[] {
  if (secret === undefined) return [];
  const pairings = policy.rules.map((rules) => ({
    rules,
    entries: rules.models.endpoints?.filter((entry) => urlMatches(entry.baseURL, endpoint)),
  }));
  return checkSecret(policy, pairings, secret, endpoint, "spec.models.endpoints");
}

function toolSecrets(policy: EffectivePolicy, { host }: ToolCheck): Violation[] {
  if (host === undefined) return [];
  const pairings = policy.rules.map((rules) => ({
    rules,
    entries: rules.tools.hosts?.filter((entry) => hostMatches(entry.host, host.host, host.port)),
  }));
  const target = `${host.host}:${host.port}`;
  return host.secrets.flatMap((secret) => checkSecret(policy, pairings, secret, target, "spec.tools.hosts"));
}

/**
 * G3. A pairing is a grant. A policy that lists the endpoint must list the secret with it; and where
 * pairing is required, some policy must. A policy without a list says nothing about secrets.
 */
function checkSecret(
  policy: EffectivePolicy,
  pairings: readonly Pairing[],
  secret: string,
  target: string,
  path: string,
): Violation[] {
  const title = "Secret Not Paired";
  const pairs = ({ entries }: Pairing) => entries?.some((entry) => entry.secrets?.includes(secret) === true) === true;
  if (policy.requirePairing === true && !pairings.some(pairs)) {
    const detail = `no policy pairs secret ${secret} with ${target}`;
    return [violation({ name: "", enforcement: "Enforce" }, path, title, detail)];
  }
  return pairings.flatMap((pairing) => {
    // An endpoint that a policy does not list at all is a violation of its own.
    if (pairing.entries === undefined || pairing.entries.length === 0 || pairs(pairing)) return [];
    const detail = `secret ${secret} may not be sent to ${target}`;
    return [violation(pairing.rules, path, title, detail)];
  });
}
