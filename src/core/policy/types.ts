/** The policies that govern one run, combined once at its start (G2). */
import type { FailureClass } from "../../api/common.ts";
import type { PolicySpec } from "../../api/types.ts";
import type { Limits } from "../protocol/types.ts";

export interface ScopedLimits {
  readonly execution: Limits;
  /** Of each node over all its items, tries and attempts, before the node's own budget. */
  readonly node: Limits;
  /** Of each model call. */
  readonly call: Limits;
}

export interface RetryRule {
  readonly maxRetries: number;
  readonly retryDelayMs: number;
  readonly exponentialBackoff: number;
  readonly maxDelayMs: number;
  readonly jitter: "None" | "Seeded";
  readonly retryOn: readonly FailureClass[];
}

/** One policy's allow and deny lists. Lists of different policies are never merged: a call passes only if each policy allows it. */
export interface PolicyRules {
  readonly name: string;
  readonly enforcement: "Enforce" | "Audit";
  readonly models: NonNullable<PolicySpec["models"]>;
  readonly tools: NonNullable<PolicySpec["tools"]>;
  readonly images?: PolicySpec["images"];
}

export interface EffectivePolicy {
  /** generation: the host's count of changes of the spec, where it keeps one. */
  readonly policies: readonly { readonly namespace: string; readonly name: string; readonly generation?: number }[];
  /** Minimum over all Enforce policies. */
  readonly limits: ScopedLimits;
  /** Minimum over all Audit policies. */
  readonly auditLimits: ScopedLimits;
  /** "Execution/TotalTokens" -> "policy/budget": which budget the minimum came from, for messages; "Audit/…" for auditLimits. */
  readonly limitNames: Readonly<Record<string, string>>;
  readonly rules: readonly PolicyRules[];
  /** G3: a secret that no policy pairs with its endpoint is refused. Absent = false (a laptop). */
  readonly requirePairing?: boolean | undefined;
  readonly retry: RetryRule;
  readonly maxRestarts: number;
  readonly maxParallel: number | undefined;
  readonly maxDurationMs: number | undefined;
  /** Per namespace; `policy` is the one that says it. */
  readonly maxConcurrentExecutions?: { readonly limit: number; readonly policy: string } | undefined;
  /** loopDetection.sameCall, and whether crossing stops the run. */
  readonly sameCall: { readonly limit: number; readonly enforcement: "Enforce" | "Audit" } | undefined;
  readonly onInDoubt: "Ask" | "Fail" | "Retry";
  readonly onLossWindow: "Refuse" | "Allow";
  readonly recording: {
    readonly content: "Full" | "DigestOnly";
    readonly redact: readonly string[];
    readonly maxBodyBytes: number;
  };
}

/** One broken rule. `path` is the field of the policy that was broken. */
export interface Violation {
  /** Empty where no single policy forbids it, such as a secret that none pairs. */
  readonly policy: string;
  readonly enforcement: "Enforce" | "Audit";
  readonly reason: "PolicyViolation";
  readonly message: string;
  readonly path: string;
}

export interface ModelCheck {
  /** provider/model */
  readonly policyName: string;
  readonly endpoint: string;
  /** Secret sent there, if any (G3). */
  readonly secret: string | undefined;
}

export interface ToolCheck {
  readonly tool: string;
  /** Of an http tool. */
  readonly host?: { readonly host: string; readonly port: number; readonly secrets: readonly string[] } | undefined;
  /** Of a module tool. */
  readonly modulePath?: string | undefined;
}
