import { canonicalJson, sha256Hex } from "../digest/digest.ts";
import type { RetryRule } from "./types.ts";

/**
 * Milliseconds to wait before a retry, whole. `retry` counts from 1. Pure: the same run, step and
 * retry (`seedParts`) wait equally long in every attempt. Seeded jitter takes up to half away.
 * `retryAfterMs`, what the server asked for, is waited for in full; nothing waits longer than maxDelayMs.
 */
export function retryDelayMs(rule: RetryRule, seedParts: readonly string[], retry: number, retryAfterMs = 0): number {
  const grown = rule.retryDelayMs === 0 ? 0 : rule.retryDelayMs * rule.exponentialBackoff ** Math.max(0, retry - 1);
  const capped = Math.min(grown, rule.maxDelayMs);
  const jittered = rule.jitter === "Seeded" ? capped * (0.5 + fraction(seedParts, retry) / 2) : capped;
  const asked = Number.isFinite(retryAfterMs) ? Math.max(0, retryAfterMs) : rule.maxDelayMs;
  return Math.round(Math.min(rule.maxDelayMs, Math.max(jittered, asked)));
}

/** In [0, 1), from the first 48 bits of a digest. */
function fraction(parts: readonly string[], retry: number): number {
  return Number.parseInt(sha256Hex(canonicalJson([...parts, retry])).slice(0, 12), 16) / 2 ** 48;
}
