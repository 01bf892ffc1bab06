/** The GovernancePolicy kind: what runs of a namespace may spend and touch. */
import { z } from "zod";
import { apiVersion, budgetUnit, count, dnsLabel, failureClass, glob, metadata, sizes, toolName, wholeSeconds, positiveSeconds } from "./common.ts";
import { effect } from "./execution.ts";

const globs = z.array(glob).max(sizes.listItems);

export const budget = z.strictObject({
  name: dnsLabel.describe("Named in violations."),
  scope: z.enum(["Call", "Node", "Execution"]).describe("One model call, one node over all its attempts, or the whole run."),
  unit: budgetUnit,
  limit: count,
});

export const policyRetry = z.strictObject({
  maxRetries: z.int().min(0).max(100).optional().describe("Further tries of one call; 3 when absent."),
  retryDelaySeconds: wholeSeconds.optional().describe("Delay before the first retry; 1 when absent."),
  exponentialBackoff: z.int().min(1).max(10).optional().describe("Factor from one delay to the next; 2 when absent."),
  maxDelaySeconds: wholeSeconds.optional().describe("Longest delay, also for Retry-After; 60 when absent."),
  jitter: z.enum(["None", "Seeded"]).optional().describe("Seeded (when absent) spreads delays by a function of run, step and try."),
  retryOn: z.array(failureClass).max(10).optional().describe("Failure classes that are retried; NetworkFailure, Timeout and RateLimit when absent. PolicyViolation cannot be named."),
});

export const policySpec = z.strictObject({
  enforcement: z.enum(["Enforce", "Audit"]).optional().describe("Audit records violations and stops nothing; Enforce when absent."),
  maxTokens: count.optional().describe("Short form of an Execution-scope TotalTokens budget."),
  budgets: z.array(budget).max(sizes.listItems).optional(),
  models: z
    .strictObject({
      allow: globs.optional().describe("provider/model globs; absent = all."),
      deny: globs.optional().describe("Wins over allow."),
      endpoints: z
        .array(z.strictObject({ baseURL: glob, secrets: z.array(dnsLabel).max(sizes.listItems).optional() }))
        .max(sizes.listItems)
        .optional()
        .describe("Endpoints that models may use, each with the Secrets that may be sent there; absent = any endpoint."),
    })
    .optional(),
  tools: z
    .strictObject({
      allow: globs.optional().describe("Tool name globs; absent = all."),
      deny: globs.optional().describe("Wins over allow."),
      hosts: z
        .array(z.strictObject({ host: glob, secrets: z.array(dnsLabel).max(sizes.listItems).optional() }))
        .max(sizes.listItems)
        .optional()
        .describe("host:port globs that http tools may reach, each with the Secrets that may be sent there; absent = any public host."),
      modules: globs.optional().describe("Paths of module tools; absent = all."),
      effects: z.record(toolName, effect).optional().describe("What the platform vouches for; wins over the tool's own claim."),
    })
    .optional(),
  retry: policyRetry.optional(),
  infrastructure: z.strictObject({ maxRestarts: z.int().min(0).max(1_000).optional() }).optional().describe("Restarts of a node after loss of its process; 5 when absent."),
  limits: z
    .strictObject({
      maxSteps: count.optional(),
      maxParallel: z.int().min(1).max(sizes.nodes).optional(),
      maxDurationSeconds: positiveSeconds.optional(),
      loopDetection: z.strictObject({ sameCall: z.int().min(1).max(10_000) }).optional().describe("How often one node may make the same call."),
    })
    .optional(),
  onInDoubt: z.enum(["Fail", "Retry"]).optional().describe("A NonIdempotent call whose result a crash lost: Fail (when absent) or Retry."),
  recording: z
    .strictObject({
      content: z.enum(["Full", "DigestOnly"]).optional().describe("DigestOnly drops bodies at the end: such a run cannot be replayed."),
      redact: z.array(z.string().min(2).max(256).regex(/^\$(\.[A-Za-z_][A-Za-z0-9_-]*|\[\*\]|\[\d+\])+$/, "must be a path such as $.user.password or $.items[*].token")).max(sizes.listItems).optional(),
      maxBodyBytes: z.int().min(1_024).max(67_108_864).optional().describe("Largest recorded answer; 8388608 when absent."),
    })
    .optional(),
});

export const governancePolicy = z.strictObject({
  apiVersion: z.literal(apiVersion),
  kind: z.literal("GovernancePolicy"),
  metadata,
  spec: policySpec,
  status: z.looseObject({}).optional(),
});

export type PolicyBudget = z.infer<typeof budget>;
export type PolicySpec = z.infer<typeof policySpec>;
export type GovernancePolicy = z.infer<typeof governancePolicy>;

export const policyDefaults = {
  retry: { maxRetries: 3, retryDelaySeconds: 1, exponentialBackoff: 2, maxDelaySeconds: 60, jitter: "Seeded", retryOn: ["NetworkFailure", "Timeout", "RateLimit"] },
  maxRestarts: 5,
  onInDoubt: "Fail",
  recording: { content: "Full", maxBodyBytes: 8_388_608 },
} as const;
