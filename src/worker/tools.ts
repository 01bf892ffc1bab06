/** The tools one node may call, built from the snapshot with the secrets and addresses that its policies allow. */
import { unescape } from "node:querystring";
import type { ModelSpec } from "../api/execution.ts";
import type { ToolSpec } from "../api/tool.ts";
import { OaoError } from "../core/errors/errors.ts";
import { checkTool, toolCheckOf } from "../core/policy/checks.ts";
import { addressRules } from "../core/policy/addresses.ts";
import type { Snapshot } from "../core/steps/format.ts";
import type { Tool } from "../ports/tool.ts";
import {
  environmentSecrets,
  maskSecrets,
  MissingSecret,
  modelKeyVariables,
  secretIn,
} from "../adapters/tool/secrets.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a worker runs, as far as tools are concerned: see WorkerConfig. */
export interface ToolPlace {
  readonly baseDir: string;
  readonly configMapsDir?: string | undefined;
  readonly allowLoopback: boolean;
  readonly denyCidrs: readonly string[];
}

/** Loads only the adapters that `specs` need. Throws OAO_INVALID_SPEC, OAO_MISSING_SECRET. */
export async function createTools(
  specs: readonly ToolSpec[],
  snapshot: Snapshot,
  place: ToolPlace,
  env: Environment,
): Promise<ReadonlyMap<string, Tool>> {
  const tools = new Map<string, Tool>();
  const rules = addressRules(snapshot.policy, place);
  for (const spec of specs) {
    // Its host hands out no secret for a tool that a policy refuses (G3), and the refusal comes with its first call.
    const isRefused = checkTool(snapshot.policy, toolCheckOf(spec)).some(
      ({ enforcement }) => enforcement === "Enforce",
    );
    tools.set(spec.name, await createTool(spec, rules, place, env, isRefused));
  }
  return tools;
}

async function createTool(
  spec: ToolSpec,
  rules: ReturnType<typeof addressRules>,
  { baseDir, configMapsDir }: ToolPlace,
  env: Environment,
  isRefused: boolean,
): Promise<Tool> {
  if (spec.http !== undefined) {
    const { createHttpTool } = await import("../adapters/tool/http-tool.ts");
    return createHttpTool(spec, { rules, readSecret: isRefused ? () => "" : environmentSecrets(env) });
  }
  if (spec.module !== undefined) {
    const { createModuleTool } = await import("../adapters/tool/module-tool.ts");
    return createModuleTool(spec, { baseDir, configMapsDir });
  }
  throw new OaoError("OAO_INVALID_SPEC", `tool ${spec.name} has neither http nor module`);
}

/** The key for a model's endpoint (G3: modelKeyVariables says which variables count). Undefined = the endpoint needs none. */
export function apiKey(model: ModelSpec, env: Environment): string | undefined {
  const variables = modelKeyVariables(model);
  const found = variables.map((name) => secretIn(env, name)).find((value) => value !== undefined);
  if (found === undefined && model.apiKeySecretRef !== undefined)
    throw new MissingSecret(model.apiKeySecretRef, variables);
  return found;
}

/** Every secret value this process was given, out of every text it writes. */
export function secretMask(env: Environment): (text: string) => string {
  const values = Object.entries(env).flatMap(([name, value]) =>
    value !== undefined && isSecretVariable(name) ? [value] : [],
  );
  return maskSecrets([...values, ...storePassword(env["OAO_STORE"])]);
}

function storePassword(url: string | undefined): string[] {
  const password = url === undefined ? undefined : URL.parse(url)?.password;
  return password === undefined || password === "" ? [] : [unescape(password)];
}

function isSecretVariable(name: string): boolean {
  return name.startsWith("OAO_SECRET_") || /_(API_KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD)$/.test(name);
}
