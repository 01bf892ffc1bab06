/**
 * When a status is worth a write. What somebody acts on is written at once, and so is whatever comes before an effect (the loop
 * sees to that); news of progress and mere figures are gathered, so that writes grow with the nodes of a run, not with its steps.
 */
import type { ExecutionStatus, ItemStatus, NodeStatus } from "../api/status.ts";

export interface PaceOptions {
  /** Between writes that only say that nodes were claimed or succeeded. */
  readonly progressMs: number;
  /** Between writes of figures: usage, steps, journal positions. */
  readonly figuresMs: number;
}

export type Change = "None" | "Figures" | "Progress" | "Turn";

const runsMax = 10_000;
/** What nobody acts on, and what is looked at by itself. */
const figuresOfRun: ReadonlySet<string> = new Set(["usage", "progress", "nodeCounts", "nodes", "steps"]);
const figuresOfRow: ReadonlySet<string> = new Set(["journal", "steps", "items"]);
const none: ReadonlySet<string> = new Set();

export class StatusPace {
  readonly #options: PaceOptions;
  readonly #writtenAtMs = new Map<string, number>();

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Milliseconds until this change of a run's status should be written; 0 = now. Times are monotonic. */
  waitMs(uid: string, change: Change, nowMs: number): number {
    const writtenAtMs = this.#writtenAtMs.get(uid);
    if (change === "Turn" || change === "None" || writtenAtMs === undefined) return 0;
    const pauseMs = change === "Progress" ? this.#options.progressMs : this.#options.figuresMs;
    return Math.max(0, writtenAtMs + pauseMs - nowMs);
  }

  /** Runs that were not written to for the longest time are forgotten first; the next write of such a run does not wait. */
  written(uid: string, nowMs: number): void {
    this.#writtenAtMs.delete(uid);
    this.#writtenAtMs.set(uid, nowMs);
    const oldest = this.#writtenAtMs.keys().next().value;
    if (this.#writtenAtMs.size > runsMax && oldest !== undefined) this.#writtenAtMs.delete(oldest);
  }
}

/** What is new in `after`: the most urgent of its differences. */
export function changeOf(before: ExecutionStatus | undefined, after: ExecutionStatus): Change {
  if (before === undefined || !sameJson(before, after, figuresOfRun)) return "Turn";
  const rows = changeOfRows(before.nodes, after.nodes);
  if (rows !== "None") return rows;
  return sameJson(before, after) ? "None" : "Figures";
}

function changeOfRows(before: readonly NodeStatus[], after: readonly NodeStatus[]): Change {
  if (before.length !== after.length) return "Turn";
  let found: Change = "None";
  for (const [place, row] of after.entries()) {
    const old = before[place];
    const change = old?.name === row.name ? changeOfRow(old, row) : "Turn";
    if (change === "Turn") return "Turn";
    if (change === "Progress" || found === "None") found = change;
  }
  return found;
}

function changeOfRow(before: NodeStatus, after: NodeStatus): Change {
  if (sameJson(before, after)) return "None";
  const { items: oldItems = [] } = before;
  const { items = [] } = after;
  const own = changeOfPlace(before, after);
  if (own === "Turn" || sameJson(oldItems, items)) return own;
  const byIndex = new Map(oldItems.map((item) => [item.index, item]));
  const changes = items.map((item) => changeOfPlace(byIndex.get(item.index), item));
  if (changes.includes("Turn")) return "Turn";
  return own === "Progress" || items.length === 0 || changes.includes("Progress") ? "Progress" : "Figures";
}

function changeOfPlace<Row extends NodeStatus | ItemStatus>(before: Row | undefined, after: Row): Change {
  if (before === undefined) return "Turn";
  if (sameJson(before, after, figuresOfRow)) return "Figures";
  const goesOn = after.state === "Running" || after.state === "Succeeded";
  return goesOn && after.reason === undefined && before.reason === undefined ? "Progress" : "Turn";
}

/**
 * Whether two values are the same JSON: what is undefined is not there, and the order of keys says nothing. `apart` names keys
 * of the two themselves that do not count.
 */
export function sameJson(a: unknown, b: unknown, apart: ReadonlySet<string> = none): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((each, place) => sameJson(each, b[place]));
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const key of keys) if (!apart.has(key) && !sameJson(left[key], right[key])) return false;
  return true;
}
