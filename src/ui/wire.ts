/** What `oao ui`'s local server and its page say to each other: JSON, no more than a page at a time. */
import type { NodeState, Phase, ReplayStatus } from "../api/status.ts";
import type { Json } from "../core/digest/json.ts";
import type { TraceRow } from "../core/trace/rows.ts";

/** A run's key as it stands in addresses: namespace and name. */
export interface RunKey {
  readonly namespace: string;
  readonly name: string;
}

export interface SessionInfo {
  readonly version: string;
  /** Where the runs are: `~/brief/.oao`, or a kubeconfig context. */
  readonly place: { readonly kind: "local" | "cluster"; readonly label: string };
  readonly canReplay: boolean;
}

export interface TokenSummary {
  readonly used: number;
  /** Charged for calls whose answer was lost. A budget counts both. */
  readonly lost: number;
  readonly limit?: number | undefined;
}

export interface RunSummary extends RunKey {
  readonly uid: string;
  readonly phase: Phase;
  /** No process hosts it, whatever its status said last. */
  readonly unhosted: boolean;
  readonly task: string;
  readonly progress: string;
  readonly nodeCounts: Readonly<Partial<Record<NodeState, number>>>;
  readonly nodeCount: number;
  readonly steps: number;
  readonly tokens: TokenSummary;
  readonly createdAt: string;
  readonly startedAt?: string | undefined;
  readonly completedAt?: string | undefined;
  /** Why it is not Succeeded. */
  readonly reason?: string | undefined;
  /** Name of the run that it replays. */
  readonly replayOf?: string | undefined;
}

export interface RunList {
  readonly runs: readonly RunSummary[];
  /** There are older ones than these. */
  readonly more: boolean;
}

export type NodeKind = "agent" | "tool" | "graph" | "approval";

/** Of a run's spec, so it never changes. Order: canonical. */
export interface GraphNodeInfo {
  readonly name: string;
  readonly kind: NodeKind;
  /** Agent, tool or graph that it runs. */
  readonly runs: string;
  readonly dependsOn: readonly string[];
  readonly isFinally: boolean;
  readonly when?: string | undefined;
  readonly forEach?: string | undefined;
}

export interface NodeRow {
  readonly name: string;
  readonly state: NodeState;
  readonly attempt: number;
  readonly try: number;
  readonly steps: number;
  readonly items?: { readonly count: number; readonly done: number } | undefined;
  readonly reason?: string | undefined;
  readonly startedAt?: string | undefined;
  readonly completedAt?: string | undefined;
  /** What it is doing now: a tool's name, or that it writes. */
  readonly doing?: string | undefined;
}

export interface RunDetail extends RunSummary {
  readonly nodes: readonly NodeRow[];
  readonly usage: {
    readonly modelCalls: number;
    readonly toolCalls: number;
    readonly input: number;
    readonly output: number;
  };
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
  readonly policies: readonly string[];
  readonly replay?: ReplayStatus | undefined;
  readonly result?: string | undefined;
  readonly approvals: readonly {
    readonly request: string;
    readonly node: string;
    readonly message: string;
    readonly decision?: string | undefined;
    readonly by?: string | undefined;
  }[];
  readonly facts: readonly { readonly name: string; readonly value: string }[];
}

/** A step without its bodies. */
export interface StepSummary {
  /** `gather:12`, `rate[3]:4`: item and journal index, which never change. */
  readonly id: string;
  /** Step number; null while the run goes on, and for calls that are not canonical. */
  readonly number: number | null;
  readonly node: string;
  readonly kind: TraceRow["kind"];
  readonly name: string;
  readonly state: TraceRow["state"];
  readonly path: string;
  readonly attempt: number;
  readonly startedAt: string;
  readonly completedAt: string;
  readonly tokens: number | null;
  /** Counted tokens of all steps up to this one. */
  readonly tokensSoFar: number;
  readonly error: string | null;
  /** Answered from the record of the run that this one replays, and not paid for again. */
  readonly reused: boolean;
}

export interface StepPage {
  /** Place of the first of `steps`; `total` where the step that was asked for is not among them. */
  readonly from: number;
  readonly total: number;
  readonly steps: readonly StepSummary[];
  /** Why there are none. */
  readonly nothing?: string;
  /** Start of the first step and end of the last of all, for the time bars. */
  readonly startedAt?: string | undefined;
  readonly completedAt?: string | undefined;
}

export interface StepDetail {
  readonly summary: StepSummary;
  readonly row: TraceRow;
  /** The contents were not kept, or have expired. */
  readonly dropped: boolean;
}

/** Alike = changed in nothing but what a provider makes anew for each answer, its ids and metadata. */
export type DiffVerdict = "Same" | "Alike" | "Changed" | "OnlyA" | "OnlyB";

export interface DiffRow {
  readonly verdict: DiffVerdict;
  readonly left?: StepSummary | undefined;
  readonly right?: StepSummary | undefined;
}

export interface DiffPage {
  readonly from: number;
  readonly total: number;
  readonly rows: readonly DiffRow[];
  readonly counts: Readonly<Record<DiffVerdict, number>>;
  /** Indices of the rows that are neither the same nor alike, the first 1,000; the first of them is the divergence. */
  readonly different: readonly number[];
}

export interface DiffDetail {
  readonly row: DiffRow;
  readonly differences: readonly FieldDifference[];
  /** What its request keeps of earlier ones differs since this step of the left run. */
  readonly since?: number | undefined;
}

export interface FieldDifference {
  readonly path: string;
  /** Absent = there is nothing at this path. */
  readonly left?: Json | undefined;
  readonly right?: Json | undefined;
}

/** RFC 9457 */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Commands or steps that help next. */
  readonly hints?: readonly string[];
}

/** Server-sent. `runs`: keys of runs whose status changed. `steps`: the watched run recorded something. */
export type ServerEvent =
  | { readonly event: "runs"; readonly data: { readonly keys: readonly RunKey[] } }
  | { readonly event: "steps"; readonly data: RunKey };

export const stepsPageMax = 500;
export const runsMax = 5_000;

/** A run in one of them goes on no more. */
export const endedPhases: readonly Phase[] = ["Succeeded", "Failed", "Cancelled"];
