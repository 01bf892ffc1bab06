/** The trace as people and programs read it: one row per step, bodies resolved. */
import { type Json, type JsonObject, setOwn } from "../digest/json.ts";
import { itemName } from "../protocol/names.ts";
import { unpackBody } from "../steps/bodies.ts";
import type { StepKind, StepOutcome, TokenUsage, ViolationEntry } from "../steps/format.ts";
import { pathText, stepKey } from "../steps/identity.ts";
import type { Finding, ItemJournal, TracedCall } from "./journal.ts";
import { isRequestRef, rebuildRequest } from "./request.ts";

/** Field names are public: `oao trace -o json` prints them. */
export interface TraceRow {
  readonly execution_id: string;
  /** From 1 in canonical order once the run has ended; null before, and for calls that are not canonical. */
  readonly step_number: number | null;
  /** gather, or rate[3] for an item of a forEach node. */
  readonly node: string;
  /** Repeated = a failed call that OAO itself made again. Superseded = a step of an earlier try of the node. Of a violation its enforcement. */
  readonly state: StepOutcome | "Repeated" | "Superseded" | ViolationEntry["enforcement"];
  /** A model step: { …header, messages }. A tool step: its arguments. */
  readonly input: Json;
  /** null when there is none; then `error` says why. */
  readonly output: Json;
  readonly error: { readonly class: string; readonly message: string } | null;
  readonly tool_calls: readonly { readonly name: string; readonly arguments: Json }[];
  readonly token_usage: TokenUsage | null;
  /** When the step was completed, ISO 8601. */
  readonly timestamp: string;
  readonly started_at: string;
  readonly step_key: string;
  readonly path: string;
  readonly attempt: number;
  readonly try: number;
  readonly kind: StepKind | "violation";
  /** Model or tool name; of a violation the field of the policy that was broken. */
  readonly name: string;
  /** Of the stored journal entry, hex. */
  readonly hash: string;
}

/** Digests of the bodies that a row of this call shows; their texts (`textsOf`) are needed as well. */
export function bodiesOf(call: TracedCall): string[] {
  const { input, output } = call.entry;
  const request = isRequestRef(input) ? rebuildRequest(input, call.journal) : undefined;
  return [
    ...(request === undefined ? ["body" in input ? input.body : ""] : [request.header, ...request.messages]),
    ...(output === null ? [] : [output.body]),
  ];
}

export interface RowOptions {
  readonly uid: string;
  /** Undefined = dropped (a DigestOnly run) or expired: the row then shows `{ digest }`. */
  readonly body: (digest: string) => string | undefined;
  /** Step numbers exist only once the run has ended. */
  readonly numbered: boolean;
}

/** `calls` in canonical order; numbers count the canonical ones only. */
export function traceRows(calls: readonly TracedCall[], options: RowOptions): TraceRow[] {
  let number = 0;
  return calls.map((call) => {
    if (call.canonical) number += 1;
    return rowOf(call, options.numbered && call.canonical ? number : null, options);
  });
}

/** The rows of `calls`, and after those of each node item its violations, which are no steps: no number, input or output. */
export function traceRowsWithFindings(
  journals: readonly ItemJournal[],
  calls: readonly TracedCall[],
  findings: readonly Finding[],
  options: RowOptions,
): TraceRow[] {
  const rows = traceRows(calls, options);
  // By name: a step that is reused stands in another run's journal of the same item.
  const found = new Map<string, TraceRow[]>(journals.map((journal) => [itemName(journal), []]));
  for (const [index, { journal }] of calls.entries())
    found.get(itemName(journal))?.push(...rows.slice(index, index + 1));
  for (const finding of findings) found.get(itemName(finding.journal))?.push(findingRow(finding, options.uid));
  return [...found.values()].flat();
}

function findingRow({ entry, journal, hash }: Finding, uid: string): TraceRow {
  return {
    execution_id: uid,
    step_number: null,
    node: itemName(journal),
    state: entry.enforcement,
    input: null,
    output: null,
    error: { class: "PolicyViolation", message: entry.message },
    tool_calls: [],
    token_usage: null,
    timestamp: entry.at,
    started_at: entry.at,
    step_key: "",
    path: "",
    attempt: entry.attempt,
    try: entry.try,
    kind: "violation",
    name: entry.path,
    hash,
  };
}

function rowOf(call: TracedCall, number: number | null, options: RowOptions): TraceRow {
  const { entry, journal, hash } = call;
  return {
    execution_id: options.uid,
    step_number: number,
    node: itemName(journal),
    state: stateOf(call),
    input: inputOf(call, options),
    output: entry.output === null ? null : read(entry.output.body, options),
    error: entry.error,
    tool_calls: entry.type === "step" ? entry.toolCalls : [],
    token_usage: entry.usage,
    timestamp: entry.completedAt,
    started_at: entry.startedAt,
    step_key: stepKey(entry.path, entry.kind, entry.requestDigest, entry.occurrence),
    path: pathText(entry.path),
    attempt: entry.attempt,
    try: entry.try,
    kind: entry.kind,
    name: entry.name,
    hash,
  };
}

function stateOf({ entry, canonical }: TracedCall): TraceRow["state"] {
  if (entry.type === "repeat") return "Repeated";
  return canonical ? entry.outcome : "Superseded";
}

function inputOf({ entry, journal }: TracedCall, options: RowOptions): Json {
  if (!isRequestRef(entry.input)) return read(entry.input.body, options);
  const { header, messages } = rebuildRequest(entry.input, journal);
  const request: Record<string, Json> = {};
  const parts = read(header, options);
  if (parts !== null && typeof parts === "object" && !Array.isArray(parts)) {
    for (const [key, value] of Object.entries(parts as JsonObject)) setOwn(request, key, value);
  }
  return { ...request, messages: messages.map((digest) => read(digest, options)) };
}

const values = new WeakMap<RowOptions, Map<string, Json>>();

/** A message is in every later request of its conversation, and parsed once for all rows of the same options. */
function read(digest: string, options: RowOptions): Json {
  const known = values.get(options) ?? new Map<string, Json>();
  values.set(options, known);
  const held = known.get(digest);
  if (held !== undefined) return held;
  const bytes = options.body(digest);
  const value =
    bytes === undefined
      ? { digest: `sha256:${digest}` }
      : unpackBody(bytes, (text) => options.body(text) ?? `sha256:${text}`);
  known.set(digest, value);
  return value;
}
