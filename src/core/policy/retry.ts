/** Delays between tries: a pure function, so that a resumed run waits as the first one would have. */
import { sha256Hex } from "../digest/digest.ts";
import type { RetryRule } from "./types.ts";

/**
 * Milliseconds before retry number `retry` (from 1). Retry-After wins over the computed delay; both are capped.
 * Seeded jitter takes 50 to 100 % of the delay by a hash of `seedParts` and the number.
 */
export function retryDelayMs(rule: RetryRule, seedParts: readonly string[], retry: number, retryAfterMs?: number): number {
  if (retryAfterMs !== undefined) return Math.min(Math.max(0, retryAfterMs), rule.maxDelayMs);
  const full = Math.min(rule.retryDelayMs * rule.exponentialBackoff ** Math.min(retry - 1, 60), rule.maxDelayMs);
  if (rule.jitter === "None") return full;
  const share = Number.parseInt(sha256Hex(JSON.stringify([...seedParts, retry])).slice(0, 8), 16) / 0xffff_ffff;
  return Math.round(full * (0.5 + share / 2));
}
