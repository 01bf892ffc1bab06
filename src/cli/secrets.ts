/** Which secrets an Execution names, where they are looked for, and which of them each worker gets. */
import { shownSpec } from "../core/replay/spec.ts";
import { CliError } from "./errors.ts";
import type { Terminal } from "./terminal.ts";
import { modeOf } from "../api/replay.ts";
import { modelKeyVariables, secretIn } from "../adapters/tool/secrets.ts";
import type { Execution, ExecutionSpec, ModelSpec, NodeSpec } from "../api/types.ts";
import { OaoError } from "../core/errors/errors.ts";
import { secretVariable } from "../core/policy/secret-variable.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** One value that must be in one of these variables, first match wins. */
export interface SecretNeed {
  readonly variables: readonly string[];
  /** For messages: `model main`, `tool search`. */
  readonly usedBy: string;
}

/** Everything that one node's own model and tools name. */
export function secretsOfNode(spec: ExecutionSpec, node: NodeSpec): SecretNeed[] {
  const agent = spec.agents?.find((candidate) => candidate.name === node.agent?.ref);
  const model = spec.models?.find((candidate) => candidate.name === agent?.model);
  const tools = new Set([...(agent?.tools ?? []), ...(node.tool === undefined ? [] : [node.tool.ref])]);
  return [
    ...(model === undefined ? [] : secretsOfModel(model)),
    ...(spec.tools ?? [])
      .filter((tool) => tools.has(tool.name))
      .flatMap((tool) =>
        (tool.http?.headers ?? []).flatMap((header) =>
          header.secretKeyRef === undefined
            ? []
            : [{ variables: [secretVariable(header.secretKeyRef)], usedBy: `tool ${tool.name}` }],
        ),
      ),
  ];
}

function secretsOfModel(model: ModelSpec): SecretNeed[] {
  const variables = modelKeyVariables(model);
  return variables.length === 0 ? [] : [{ variables, usedBy: `model ${model.name}` }];
}

/** Before anything is spent: a Strict replay makes no call and needs none. Throws CliError that names every missing one. */
export function checkSecrets(execution: Execution, terminal: Pick<Terminal, "env">): void {
  const { replay } = execution.spec;
  if (replay !== undefined && modeOf(replay) === "Strict") return;
  const missing = missingSecrets(shownSpec(execution, undefined), terminal.env);
  if (missing.length === 0) return;
  throw new CliError(
    `${missing.length === 1 ? "a secret is" : `${missing.length} secrets are`} missing; nothing was started`,
    [...missing, "no key at hand? a scripted model answers without one: oao mock-model --example"],
  );
}

/** One line per secret that is in none of its variables, or is too short to be kept secret. */
export function missingSecrets(spec: ExecutionSpec, env: Environment): string[] {
  const needs = [...spec.nodes, ...(spec.finally ?? [])].flatMap((node) => secretsOfNode(spec, node));
  return [...new Set(needs.flatMap((need) => problemOf(need, env)))];
}

function problemOf(need: SecretNeed, env: Environment): string[] {
  try {
    return valueOf(need, env) === undefined ? [`${need.usedBy}: set ${need.variables.join(" or ")}`] : [];
  } catch (error) {
    if (!(error instanceof OaoError)) throw error;
    return [`${need.usedBy}: ${error.message}`];
  }
}

/** The variables of one node's worker: the first of each need that has a value. */
export function secretEnvironment(spec: ExecutionSpec, nodeName: string, env: Environment): Record<string, string> {
  const node = [...spec.nodes, ...(spec.finally ?? [])].find((candidate) => candidate.name === nodeName);
  const given: Record<string, string> = {};
  for (const need of node === undefined ? [] : secretsOfNode(spec, node)) {
    const found = valueOf(need, env);
    if (found !== undefined) given[found.variable] = found.value;
  }
  return given;
}

function valueOf(need: SecretNeed, env: Environment): { variable: string; value: string } | undefined {
  for (const variable of need.variables) {
    const value = secretIn(env, variable);
    if (value !== undefined) return { variable, value };
  }
  return undefined;
}
