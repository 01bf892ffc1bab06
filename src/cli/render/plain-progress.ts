/** One line per change of state, for logs and pipes. */
import type { NodeState } from "../../api/status.ts";
import type { Terminal } from "../terminal.ts";
import type { RunView } from "./run-view.ts";
import { oneLine } from "./style.ts";
import { reasonOf } from "./tree.ts";

export class PlainProgress {
  readonly #terminal: Terminal;
  readonly #states = new Map<string, string>();
  #phase = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
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
    const seen = `${row.state}/${row.attempt ?? 0}`;
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
