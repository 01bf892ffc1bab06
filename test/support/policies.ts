/** Effective policies for tests that do not test policies. */
import type { EffectivePolicy } from "../../src/core/policy/types.ts";

/** No limits, quick retries without jitter. */
export function openPolicy(changes: Partial<EffectivePolicy> = {}): EffectivePolicy {
  const none = { execution: {}, node: {}, call: {} };
  return {
    policies: [],
    limits: none,
    auditLimits: none,
    limitNames: {},
    rules: [],
    retry: {
      maxRetries: 3,
      retryDelayMs: 1,
      exponentialBackoff: 2,
      maxDelayMs: 20,
      jitter: "None",
      retryOn: ["NetworkFailure", "Timeout", "RateLimit"],
    },
    maxRestarts: 5,
    maxParallel: undefined,
    maxDurationMs: undefined,
    sameCall: undefined,
    onInDoubt: "Fail",
    onLossWindow: "Refuse",
    recording: { content: "Full", redact: [], maxBodyBytes: 8_388_608 },
    ...changes,
  };
}
