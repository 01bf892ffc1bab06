/** The GovernancePolicy kind: what runs of a namespace may spend and touch. */
import { z } from "zod";
import { sizes } from "./defaults.ts";
import {
  apiVersion,
  budgetUnit,
  count,
  dnsLabel,
  failureClass,
  glob,
  metadata,
  toolName,
  wholeSeconds,
  positiveSeconds,
} from "./common.ts";
import { effect } from "./tool.ts";

const globs = z.array(glob).max(sizes.listItems);

export const budget = z.strictObject({
  name: dnsLabel.describe("Named in violations."),
  scope: z
    .enum(["Call", "Node", "Execution"])
    .describe("One model call, one node over all its attempts, or the whole run."),
  unit: budgetUnit.describe("What is counted."),
  limit: count.describe("Most that may be used in the scope."),
});

export const policyRetry = z.strictObject({
  maxRetries: z.int().min(0).max(100).optional().describe("Further tries of one call; 3 when absent."),
  retryDelaySeconds: wholeSeconds.optional().describe("Delay before the first retry; 1 when absent."),
  exponentialBackoff: z.int().min(1).max(10).optional().describe("Factor from one delay to the next; 2 when absent."),
  maxDelaySeconds: wholeSeconds.optional().describe("Longest delay, also for Retry-After; 60 when absent."),
  jitter: z
    .enum(["None", "Seeded"])
    .optional()
    .describe("Seeded (when absent) spreads delays by a function of run, step and try."),
  retryOn: z
    .array(failureClass)
    .max(10)
    .optional()
    .describe(
      "Failure classes that are retried; NetworkFailure, Timeout and RateLimit when absent. PolicyViolation cannot be named.",
    ),
});

export const policySpec = z.strictObject({
  enforcement: z
    .enum(["Enforce", "Audit"])
    .optional()
    .describe("Audit records violations and stops nothing; Enforce when absent."),
  maxTokens: count.optional().describe("Short form of an Execution-scope TotalTokens budget."),
  budgets: z.array(budget).max(sizes.listItems).optional().describe("Limits on what runs may use."),
  models: z
    .strictObject({
      allow: globs.optional().describe("provider/model globs; absent = all."),
      deny: globs.optional().describe("Wins over allow."),
      endpoints: z
        .array(
          z.strictObject({
            baseURL: glob.describe("Glob of base URLs."),
            secrets: z
              .array(dnsLabel)
              .max(sizes.listItems)
              .optional()
              .describe("Secrets that may be sent to these endpoints."),
          }),
        )
        .max(sizes.listItems)
        .optional()
        .describe(
          "Endpoints that models may use, each with the Secrets that may be sent there; absent = any endpoint.",
        ),
    })
    .optional()
    .describe("Which models may be called, and where."),
  tools: z
    .strictObject({
      allow: globs.optional().describe("Tool name globs; absent = all."),
      deny: globs.optional().describe("Wins over allow."),
      hosts: z
        .array(
          z.strictObject({
            host: glob.describe("Glob of host:port, as in catalog.internal:443."),
            secrets: z
              .array(dnsLabel)
              .max(sizes.listItems)
              .optional()
              .describe("Secrets that may be sent to these hosts."),
          }),
        )
        .max(sizes.listItems)
        .optional()
        .describe(
          "host:port globs (without a port: 443 and 80) that http tools may reach, each with the Secrets that may be sent there; absent = any public host.",
        ),
      modules: globs.optional().describe("Paths of module tools; absent = all."),
      effects: z
        .record(toolName, effect)
        .optional()
        .describe(
          "What the platform vouches for. Counts for tools that claim no effect; where a tool claims one too, the more cautious holds; a tool in no table is NonIdempotent.",
        ),
    })
    .optional()
    .describe("Which tools may be called, and what they may reach."),
  images: z
    .strictObject({
      allow: z
        .array(glob)
        .max(sizes.listItems)
        .describe("Globs of images that nodes may name; without a policy that lists one, a node may name none."),
    })
    .optional()
    .describe("Which images nodes may bring."),
  retry: policyRetry
    .optional()
    .describe("How failed calls are tried again; also the upper bound of a node's own retry."),
  infrastructure: z
    .strictObject({
      maxRestarts: z.int().min(0).max(1_000).optional().describe("Restarts of one node; 5 when absent."),
    })
    .optional()
    .describe("What happens when the process of a node is lost."),
  limits: z
    .strictObject({
      maxSteps: count.optional().describe("Steps (model and tool calls) of the whole run at most."),
      maxParallel: z.int().min(1).max(sizes.nodes).optional().describe("Nodes at work at once."),
      maxDurationSeconds: positiveSeconds.optional().describe("Longest run; stands still while suspended."),
      maxConcurrentExecutions: z
        .int()
        .min(1)
        .max(100_000)
        .optional()
        .describe("Executions of the namespace at work at once; later ones are Queued, first in, first out."),
      loopDetection: z
        .strictObject({
          sameCall: z.int().min(1).max(10_000).describe("Calls with the same content that one node may make."),
        })
        .optional()
        .describe("Stops an agent that repeats itself."),
    })
    .optional()
    .describe("Limits on the size and length of a run."),
  onInDoubt: z
    .enum(["Ask", "Fail", "Retry"])
    .optional()
    .describe("A NonIdempotent call whose result a crash lost: Fail (when absent), Ask a person, or Retry."),
  onLossWindow: z
    .enum(["Refuse", "Allow"])
    .optional()
    .describe(
      "A run with NonIdempotent tools over a journal store that may forget acknowledged steps in a crash of its own (CheckpointsDurable=False): Refuse (when absent) waits until the store is set right, Allow starts it.",
    ),
  recording: z
    .strictObject({
      content: z
        .enum(["Full", "DigestOnly"])
        .optional()
        .describe("DigestOnly drops bodies at the end: such a run cannot be replayed."),
      redact: z
        .array(
          z
            .string()
            .min(2)
            .max(256)
            .regex(
              /^\$(\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[\d+\])+$/,
              "must be a path such as $.user.password or $.items[*].token",
            ),
        )
        .max(sizes.listItems)
        .optional()
        .describe("Paths whose values are replaced by [REDACTED] before they are recorded or handed on."),
      maxBodyBytes: z
        .int()
        .min(1_024)
        .max(67_108_864)
        .optional()
        .describe("Largest recorded answer; 8388608 when absent."),
    })
    .optional()
    .describe("What the journal keeps."),
});

export const governancePolicy = z.strictObject({
  apiVersion: z.literal(apiVersion).describe("Version of the schema."),
  kind: z.literal("GovernancePolicy").describe("GovernancePolicy: what runs of a namespace may spend and touch."),
  metadata,
  spec: policySpec.describe("The rules; at least one. Several policies hold together, and each must allow a call."),
  status: z.looseObject({}).optional().describe("Written by the operator; ignored in a manifest."),
});

export type PolicySpec = z.infer<typeof policySpec>;
export type GovernancePolicy = z.infer<typeof governancePolicy>;
