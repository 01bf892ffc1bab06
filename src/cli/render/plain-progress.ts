/** One line per change of state, for logs and pipes. */
import type { NodeState } from "../../api/status.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { Terminal } from "../terminal.ts";
import type { RunView } from "./run-view.ts";
import { oneLine } from "./style.ts";
import { reasonOf } from "./tree.ts";

const ended: ReadonlySet<NodeState> = new Set(["Succeeded", "Failed", "Skipped", "Cancelled"]);

function seenAs(row: { readonly state: NodeState; readonly attempt?: number }): string {
  return `${row.state}/${row.attempt ?? 0}`;
}

export class PlainProgress {
  readonly #terminal: Terminal;
  readonly #states = new Map<string, string>();
  #phase = "";

  /** What `run` has behind it already, in a resume, is not told again. */
  constructor(terminal: Terminal, run: Pick<StoredExecution, "status">) {
    this.#terminal = terminal;
    for (const node of run.status?.nodes ?? []) {
      if (ended.has(node.state)) this.#states.set(node.name, seenAs(node));
      for (const item of node.items ?? []) {
        if (ended.has(item.state)) this.#states.set(`${node.name}[${item.index}]`, seenAs(item));
      }
    }
  }

  show(view: RunView): void {
    const { status, key } = view.run;
    for (const node of status?.nodes ?? []) {
      this.#row(node.name, node, view.nowMs);
      for (const item of node.items ?? []) this.#row(`${node.name}[${item.index}]`, item, view.nowMs);
    }
    const phase = status?.phase ?? "Pending";
    if (phase === this.#phase) return;
    this.#phase = phase;
    const reason = reasonOf(view);
    this.#line(view.nowMs, `${key.namespace}/${key.name}`, phase, reason === undefined ? "" : oneLine(reason));
  }

  note(text: string): void {
    this.#terminal.err(`${text}\n`);
  }

  end(view: RunView | undefined): void {
    if (view !== undefined) this.show(view);
  }

  #row(
    name: string,
    row: { state: NodeState; attempt?: number; try?: number; reason?: string; message?: string },
    nowMs: number,
  ): void {
    const seen = seenAs(row);
    if (this.#states.get(name) === seen || (row.state === "Pending" && !this.#states.has(name))) return;
    this.#states.set(name, seen);
    const parts = [
      (row.attempt ?? 1) > 1 ? `attempt ${row.attempt}` : "",
      (row.try ?? 1) > 1 ? `try ${row.try}` : "",
      row.state === "Succeeded" ? "" : (row.message ?? row.reason ?? ""),
    ];
    this.#line(
      nowMs,
      name,
      row.state,
      parts
        .filter((part) => part !== "")
        .map(oneLine)
        .join("  "),
    );
  }

  #line(nowMs: number, name: string, state: string, rest: string): void {
    this.#terminal.err(
      `${new Date(nowMs).toISOString().slice(11, 19)}  ${name}  ${state}${rest === "" ? "" : `  ${rest}`}\n`,
    );
  }
}
