/** Small parts that planner tests are made of. */
import type { ExecutionSpec, NodeSpec } from "../../../src/api/types.ts";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { itemsOfInterest } from "../../../src/core/planner/needs.ts";
import { initialStatus } from "../../../src/core/planner/render.ts";
import type { Seen } from "../../../src/core/planner/types.ts";
import { combinePolicies } from "../../../src/core/policy/combine.ts";
import type { EffectivePolicy } from "../../../src/core/policy/types.ts";
import { emptyAccount, emptyLedger } from "../../../src/core/protocol/amounts.ts";
import type { ExecutionRecord, ItemRecord } from "../../../src/core/protocol/types.ts";

export const t0 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

export function spec(nodes: readonly (string | NodeSpec)[], more: Partial<ExecutionSpec> = {}): ExecutionSpec {
  return { task: "t", nodes: nodes.map((node) => (typeof node === "string" ? { name: node } : node)), ...more };
}

export const policy = (more: Partial<EffectivePolicy> = {}): EffectivePolicy => ({
  ...combinePolicies([], { requirePairing: false }),
  ...more,
});

/** A node that names outputs of others in its arguments. */
export function using(name: string, outputs: readonly string[], more: Partial<NodeSpec> = {}): NodeSpec {
  return { name, tool: { ref: "t", arguments: { x: outputs.map((each) => `$(nodes["${each}"].output)`) } }, ...more };
}

export function execution(more: Partial<ExecutionRecord> = {}): ExecutionRecord {
  return {
    snapshot: "s",
    control: { state: "Running", revision: 1, message: "" },
    account: emptyAccount({}, {}),
    ...more,
  };
}

export function record(more: Partial<ItemRecord> = {}): ItemRecord {
  return {
    attempt: 1,
    claimId: "c",
    try: 1,
    length: 1,
    head: sha256Hex("head"),
    seq: 1,
    commandDigest: "",
    reply: undefined,
    ledger: emptyLedger,
    steps: 1,
    leaseUntilMs: t0 + 10_000,
    finished: undefined,
    live: "",
    ...more,
  };
}

export const digestOf = (value: Json): string => sha256Hex(canonicalJson(value));
export const done = (value: Json): string =>
  JSON.stringify({ outcome: "Succeeded", output: digestOf(value), error: null });
export const broke = (errorClass: string, message = "", final = false): string =>
  JSON.stringify({
    outcome: "Failed",
    output: null,
    error: { class: errorClass, message },
    ...(final ? { final } : {}),
  });

export interface SeenParts extends Partial<Omit<Seen, "items" | "run" | "outputs">> {
  readonly run?: Partial<Seen["run"]>;
  readonly records?: Readonly<Record<string, ItemRecord>>;
  readonly values?: readonly Json[];
}

/** What the host would show: of `records` only what the planner asks for. */
export function seen(of: ExecutionSpec, { records = {}, values = [], run, ...more }: SeenParts = {}): Seen {
  const status: ExecutionStatus = more.status ?? initialStatus(of, t0, { snapshot: "s" });
  const names = new Map(Object.entries(records));
  const keys = itemsOfInterest(of, status);
  return {
    run: {
      uid: "u",
      namespace: "n",
      name: "r",
      generation: 1,
      desiredState: "Running",
      journalRetentionSeconds: 60,
      ...run,
    },
    spec: of,
    policy: policy(),
    snapshot: "s",
    execution: execution(),
    store: { runId: "life-1", durable: true, reasons: [], unfit: [] },
    workers: [],
    listsAll: true,
    ...more,
    status,
    items: keys.map((key) => ({
      key,
      record: names.get(key.item === undefined ? key.node : `${key.node}[${key.item}]`),
    })),
    outputs: new Map(values.map((value) => [digestOf(value), value])),
  };
}
