/** Values that programs need at run time without the schemas: a worker starts without loading zod. */

/** Upper bounds that a CEL rule of the API server may rely on (it prices rules by them). */
export const sizes = {
  nodes: 1000,
  dependencies: 50,
  listItems: 100,
  name: 63,
  expression: 16_384,
  prompt: 65_536,
  url: 2_048,
  glob: 256,
  replayTimes: 1_000,
  manifestBytesMax: 700_000,
} as const;

export const effects = ["ReadOnly", "Idempotent", "NonIdempotent"] as const;

/** Defaults are applied when a field is read, never stored: the hash of a manifest equals the hash on a cluster. */
export const executionDefaults = {
  parallelism: 10,
  maxIterations: 25,
  toolTimeoutSeconds: 30,
  effect: "NonIdempotent",
  journalRetentionSeconds: 604_800,
} as const;

export const policyDefaults = {
  retry: {
    maxRetries: 3,
    retryDelaySeconds: 1,
    exponentialBackoff: 2,
    maxDelaySeconds: 60,
    jitter: "Seeded",
    retryOn: ["NetworkFailure", "Timeout", "RateLimit"],
  },
  maxRestarts: 5,
  onInDoubt: "Fail",
  onLossWindow: "Refuse",
  recording: { content: "Full", maxBodyBytes: 8_388_608 },
} as const;

/** Classes of failure that OAO may try again. PolicyViolation is absent on purpose (G1). */
export const failureClasses = ["ToolFailure", "NetworkFailure", "Timeout", "RateLimit"] as const;
