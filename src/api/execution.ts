/** The Execution kind: one run of one DAG. The zod schema is the only source of crds/, of the types and of the field docs. */
import { z } from "zod";
import { sizes } from "./defaults.ts";
import { placement } from "./placement.ts";
import { replaySpec } from "./replay.ts";
import { toolSpec } from "./tool.ts";
import {
  apiVersion,
  budgetUnit,
  count,
  dnsLabel,
  failureClass,
  freeObject,
  metadata,
  positiveSeconds,
  secretKeyRef,
  toolName,
  wholeSeconds,
} from "./common.ts";

export const modelSpec = z.strictObject({
  name: dnsLabel.describe("Name that agents refer to."),
  provider: z
    .string()
    .min(1)
    .max(63)
    .describe(
      "openai (and every compatible server through baseURL), anthropic, or a provider of LangChain's initChatModel whose package is installed.",
    ),
  model: z.string().min(1).max(256).describe("The provider's model name."),
  baseURL: z.string().min(1).max(sizes.url).optional().describe("Endpoint of a compatible server. Never interpolated."),
  apiKeySecretRef: secretKeyRef
    .optional()
    .describe(
      "Key of a Secret with the API key. On a laptop it is read from OAO_SECRET_<NAME>_<KEY>, then from the provider's own variable.",
    ),
  parameters: freeObject.optional().describe("Passed through to the provider: temperature, seed, maxTokens, …"),
});

export const agentSpec = z.strictObject({
  name: dnsLabel.describe("Name that nodes refer to."),
  model: dnsLabel.describe("Name of an entry in spec.models."),
  systemPrompt: z.string().max(sizes.prompt).optional().describe("System message. $( … ) is evaluated."),
  tools: z.array(toolName).max(sizes.listItems).optional().describe("Names of entries in spec.tools."),
  outputSchema: freeObject.optional().describe("JSON Schema of the answer; the node's output is then that object."),
  maxIterations: z
    .int()
    .min(1)
    .max(1_000)
    .optional()
    .describe("Model calls of one run of the agent at most; 25 when absent."),
});

export const nodeRetry = z.strictObject({
  maxRetries: z.int().min(0).max(100).describe("Further tries of the whole node after its own failure."),
  retryDelaySeconds: wholeSeconds.optional().describe("Delay before the first retry; the policy's when absent."),
  retryOn: z
    .array(failureClass)
    .max(10)
    .optional()
    .describe("Failure classes that are retried; the policy's when absent."),
});

export const nodeBudget = z.strictObject({
  unit: budgetUnit.describe("What is counted."),
  limit: count.describe("Most that the node may use."),
});

const nodeCommon = {
  ...placement,
  name: dnsLabel.describe("Unique among nodes and finally."),
  dependsOn: z.array(dnsLabel).max(sizes.dependencies).optional().describe("Nodes that must have ended before."),
  when: z
    .string()
    .min(1)
    .max(sizes.expression)
    .optional()
    .describe("CEL condition; the node is Skipped when it is false."),
  forEach: z
    .strictObject({
      items: z.string().min(1).max(sizes.expression).describe("CEL expression that gives a list."),
      maxParallel: z
        .int()
        .min(1)
        .max(sizes.nodes)
        .optional()
        .describe("Items at work at once; the execution's parallelism when absent."),
    })
    .optional()
    .describe("Runs the node once per item; its output is the ordered list of outputs."),
  retry: nodeRetry.optional().describe("Further tries of the node after its own failure; absent = none."),
  timeoutSeconds: positiveSeconds.optional().describe("Limit of one attempt of the node."),
  budget: z
    .array(nodeBudget)
    .max(10)
    .optional()
    .describe("Budgets of this node over all items, tries and attempts. May only tighten the policy's."),
  agent: z
    .strictObject({
      ref: dnsLabel.describe("Name of an entry in spec.agents."),
      prompt: z.string().min(1).max(sizes.prompt).describe("User message. $( … ) is evaluated."),
    })
    .optional()
    .describe("Runs an agent."),
  tool: z
    .strictObject({
      ref: toolName.describe("Name of an entry in spec.tools."),
      arguments: freeObject
        .optional()
        .describe(
          "Arguments. $( … ) in strings is evaluated; a string that is one whole expression keeps its JSON type.",
        ),
    })
    .optional()
    .describe("Calls a tool once."),
};

const approval = z
  .strictObject({
    message: z
      .string()
      .min(1)
      .max(4_096)
      .describe("The question. $( … ) is evaluated; 512 characters of it are shown."),
    timeoutSeconds: positiveSeconds.optional().describe("How long an answer is waited for; absent = for ever."),
    onTimeout: z.enum(["Reject", "Approve"]).optional().describe("What counts as the answer then; Reject when absent."),
  })
  .optional()
  .describe("Asks a person and waits; Reject fails the node. Its output is { decision, by, proven, at }.");

export const nodeSpec = z.strictObject({ ...nodeCommon, approval });
export const finallySpec = z.strictObject({
  ...nodeCommon,
  runOnCancel: z.boolean().optional().describe("Also run after Cancelled; tool nodes only."),
});

export const desiredState = z.enum(["Running", "Suspended", "Cancelled"]);

const digest = z
  .string()
  .max(71)
  .regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 lower case hexadecimal digits, as oao hash prints it")
  .optional();

export const expectedHash = z.strictObject({
  hash: digest.describe("The execution hash as a whole."),
  task: digest.describe("Of task, input, nodes and finally."),
  policy: digest.describe("Of the rules of all policies that govern the run."),
  agents: digest.describe("Of agents and models."),
  tools: digest.describe("Of the tools."),
  runtime: digest.describe("Of the images that nodes name, and the journal's format."),
});

export const executionSpec = z.strictObject({
  task: z
    .string()
    .min(1)
    .max(sizes.prompt)
    .optional()
    .describe("What the run is for. $( … ) is evaluated; part of the hash. Required without replay."),
  input: freeObject.optional().describe("Values that expressions read as input."),
  policyRef: z
    .strictObject({ name: dnsLabel.describe("Name of a GovernancePolicy in the same namespace.") })
    .optional()
    .describe("A GovernancePolicy that narrows further."),
  models: z.array(modelSpec).max(sizes.listItems).optional().describe("Models that agents may use."),
  tools: z.array(toolSpec).max(sizes.listItems).optional().describe("Tools that agents and nodes may use."),
  agents: z
    .array(agentSpec)
    .max(sizes.listItems)
    .optional()
    .describe("Agents that nodes may run: a model, a system prompt and tools."),
  nodes: z
    .array(nodeSpec)
    .min(1)
    .max(sizes.nodes)
    .optional()
    .describe("The vertices of the graph; dependsOn draws its edges. Required without replay."),
  finally: z
    .array(finallySpec)
    .max(50)
    .optional()
    .describe("Nodes that run after all others ended, whatever the result."),
  parallelism: z.int().min(1).max(sizes.nodes).optional().describe("Nodes at work at once; 10 when absent."),
  activeDeadlineSeconds: positiveSeconds.optional().describe("Limit of the whole run; stands still while suspended."),
  replay: replaySpec
    .optional()
    .describe(
      "Runs again what another Execution recorded. Absent fields of the spec are its own; lists of named things merge by name.",
    ),
  desiredState: desiredState.optional().describe("Absent = Running. Cancelled is one-way."),
  expectedHash: expectedHash
    .optional()
    .describe("A run whose execution hash, or a part of it, is another is refused (HashMismatch); see oao hash."),
  journalRetentionSeconds: z
    .int()
    .min(60)
    .max(315_360_000)
    .optional()
    .describe("How long the record is kept after the end; 604800 when absent."),
  ttlSecondsAfterFinished: wholeSeconds
    .optional()
    .describe(
      "How long after its end the object is deleted; absent = never. Not applied where Argo CD, Flux or Helm would create it anew. On a laptop its journal goes with it.",
    ),
});

export const execution = z.strictObject({
  apiVersion: z.literal(apiVersion).describe("Version of the schema."),
  kind: z.literal("Execution").describe("Execution: one run of one graph of agents and tools."),
  metadata,
  spec: executionSpec.describe(
    "What to run. Immutable but for desiredState, journalRetentionSeconds and ttlSecondsAfterFinished.",
  ),
  status: z.looseObject({}).optional().describe("Written by the operator; ignored in a manifest."),
});

export type ModelSpec = z.infer<typeof modelSpec>;
export type AgentSpec = z.infer<typeof agentSpec>;
export type FinallySpec = z.infer<typeof finallySpec>;
/** A node of nodes or of finally; runOnCancel exists on finally nodes only, approval on the others. */
export type NodeSpec = z.infer<typeof nodeSpec> & { runOnCancel?: boolean | undefined };
export type DesiredState = z.infer<typeof desiredState>;
/** As it is written: with `replay`, what is absent is inherited. */
export type ManifestSpec = z.infer<typeof executionSpec>;
/** What is run: nothing is inherited any more. */
export type ExecutionSpec = ManifestSpec & { task: string; nodes: z.infer<typeof nodeSpec>[] };
export type Execution = z.infer<typeof execution>;
