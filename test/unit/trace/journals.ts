/** Real journals for trace tests: chained, hashed and packed by the same code as the worker's. */
import type { Json } from "../../../src/core/digest/json.ts";
import { genesis } from "../../../src/core/protocol/names.ts";
import type { NodeKey } from "../../../src/core/protocol/types.ts";
import { chain, type EntryDraft } from "../../../src/core/steps/chain.ts";
import type { RequestRef, StepKind, TokenUsage } from "../../../src/core/steps/format.ts";
import type { ItemJournal } from "../../../src/core/trace/journal.ts";
import type { Bodies } from "../../support/bodies.ts";

export const uid = "3f0c7a52-0000-4000-8000-000000000001";
export const at = "2026-01-02T03:04:05.678Z";

export const usage = (total: number): TokenUsage => ({
  input: total - 1,
  output: 1,
  total,
  reported: null,
  estimated: { input: total - 1, output: 1 },
  counted: { input: total - 1, output: 1, total },
  overshoot: 0,
});

export interface StepOptions {
  readonly try?: number;
  readonly attempt?: number;
  readonly kind?: StepKind;
  readonly output?: Json;
  readonly input?: RequestRef | { readonly body: string };
  readonly type?: "step" | "repeat";
  readonly at?: string;
  readonly tokens?: number;
}

export function step(bodies: Bodies, path: readonly number[], options: StepOptions = {}): EntryDraft {
  const kind = options.kind ?? "tool";
  const common = {
    attempt: options.attempt ?? 1,
    try: options.try ?? 1,
    path,
    kind,
    name: kind === "model" ? "main" : "search",
    requestDigest: `request-${path.join(".")}`,
    occurrence: 0,
    input: options.input ?? { body: bodies.put({ q: path.join(".") }) },
    output: { body: bodies.put(options.output ?? { path }) },
    error: null,
    usage: options.tokens === undefined ? null : usage(options.tokens),
    startedAt: options.at ?? at,
    completedAt: options.at ?? at,
  };
  return options.type === "repeat"
    ? { type: "repeat", ...common, output: null, error: { class: "RateLimit", message: "busy" }, call: 0, retryAt: at }
    : { type: "step", ...common, outcome: "Ok", toolCalls: [] };
}

export function journal(key: NodeKey, drafts: readonly EntryDraft[]): ItemJournal {
  return { ...key, entries: chain(drafts, 0, genesis(uid, key)) };
}
