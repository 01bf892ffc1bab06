import { vi } from "vitest";

/** How long a test waits for what must come: no bar, only the moment to fail with a cause, on the busiest machine. Milliseconds. */
export const patienceMs = 200_000;

/** What `look` returns once it neither throws nor rejects; its last error when that takes longer than any machine needs. */
export function eventually<T>(look: () => T | Promise<T>, intervalMs = 50): Promise<T> {
  return vi.waitFor(look, { timeout: patienceMs, interval: intervalMs });
}
