/** Where the page's runs come from: this machine, or a cluster. What a source cannot have it says, and the page shows. */
import type {
  DiffDetail,
  DiffPage,
  GraphNodeInfo,
  RunDetail,
  RunKey,
  RunList,
  ServerEvent,
  SessionInfo,
  StepDetail,
  StepPage,
} from "../../ui/wire.ts";

export interface StepFilter {
  /** Node name without an item. */
  readonly node?: string | undefined;
  /** Part of node, name, state or error, whatever the case. */
  readonly text?: string | undefined;
}

export interface StepRange extends StepFilter {
  readonly from: number;
  /** Id of the step to begin with, instead of `from`. */
  readonly at?: string | undefined;
  readonly limit: number;
}

/** Recorded steps. Every method throws CliError: no such run or step, journal gone, unreachable or changed after it was recorded. */
export interface StepSource {
  page(key: RunKey, range: StepRange): Promise<StepPage>;
  /** `whole` = every message of a long request; else the first and the latest. */
  step(key: RunKey, id: string, whole: boolean): Promise<StepDetail>;
  /** Pairs of steps of two runs. */
  diff(left: RunKey, right: RunKey, from: number, limit: number): Promise<DiffPage>;
  /** What differs in the pair at this index. */
  diffDetail(left: RunKey, right: RunKey, index: number): Promise<DiffDetail>;
}

export interface RunSource {
  readonly place: SessionInfo["place"];
  readonly steps: StepSource;
  /** `oao replay NAME --from-step N`; resolves with the new run once it is there. Undefined = not from here. Throws CliError. */
  readonly startReplay?: ((key: RunKey, fromStep: number) => Promise<RunKey>) | undefined;
  /** Newest first. */
  list(limit: number): Promise<RunList>;
  /** Throws CliError: no such run. */
  run(key: RunKey): Promise<RunDetail>;
  /** Nodes in canonical order. Throws CliError: no such run. */
  graph(key: RunKey): Promise<readonly GraphNodeInfo[]>;
  /** Lossy: a listener may hear of too many changes. `focus`: its steps are told of too. Returns a function that ends it. */
  watch(focus: RunKey | undefined, listener: (event: ServerEvent) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}
