/** Tools as adapters implement them. The worker resolves a spec.tools entry once and invokes it inside a recorded step. */
import type { ToolSpec } from "../api/tool.ts";
import type { Json } from "../core/digest/json.ts";

/** Recorded values for module tools: the same on every resume and replay. */
export interface RecordedValues {
  /** Milliseconds since the epoch. */
  now(): Promise<number>;
  /** In [0, 1). */
  random(): Promise<number>;
  uuid(): Promise<string>;
}

export interface ToolCallContext {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Same over attempts and tries of this call; sent as Idempotency-Key. */
  readonly idempotencyKey: string;
  readonly bodyBytesMax: number;
  readonly values: RecordedValues;
}

/** Where http tools may connect. Derived from the policies and the host's own rules; the adapter only applies it. */
export interface AddressRules {
  /** May this host:port be named at all? Returns the reason for a refusal. */
  allowHost(host: string, port: number): { allowed: true; named: boolean } | { allowed: false; reason: string };
  /** Loopback allowed without being named (a laptop). Link-local and metadata addresses never are unless a policy names them. */
  readonly allowLoopback: boolean;
  /** Further refused addresses as CIDR (the API server). */
  readonly denyCidrs: readonly string[];
}

export interface Tool {
  readonly spec: ToolSpec;
  /** Digest of what will run (module file content, or the http definition), for the start entry. */
  readonly digest: string;
  /** Where an http tool connects and which Secrets it sends there: what policies check, from the very parse that is used. */
  readonly endpoint?: { readonly host: string; readonly port: number; readonly secrets: readonly string[] };
  /** Validates arguments, makes the call once, returns plain JSON. Throws CallFailure. */
  invoke(args: Json, context: ToolCallContext): Promise<Json>;
}

/** Reads a secret value; throws MissingSecret naming the variables it looked at. */
export type SecretReader = (ref: { name: string; key: string }) => string;
