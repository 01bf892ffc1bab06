/** The tree redrawn in place: at most ten times a second, each frame as one write, never taller than the terminal. */
import type { Terminal } from "../terminal.ts";
import type { RunView } from "./run-view.ts";
import { painter, visibleButPaint } from "./style.ts";
import { treeLines } from "./tree.ts";
import { stripVTControlCharacters } from "node:util";

const frameMs = 100;
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";
/** Terminals that know it show a frame only when it is complete; others ignore it. */
const beginFrame = "\u001b[?2026h";
const endFrame = "\u001b[?2026l";

export class LiveTree {
  readonly #terminal: Terminal;
  readonly #nowMs: () => number;
  #widths: number[] = [];
  #last = "";
  #pending: RunView | undefined;
  #timer: NodeJS.Timeout | undefined;
  #drawnAtMs = -frameMs;
  readonly #offResize: () => void;

  constructor(terminal: Terminal, nowMs: () => number) {
    this.#terminal = terminal;
    this.#nowMs = nowMs;
    this.#terminal.draw(hideCursor);
    this.#offResize = terminal.onResize(() => {
      this.#last = "";
      if (this.#pending !== undefined) this.#schedule(0);
    });
  }

  show(view: RunView): void {
    this.#pending = view;
    this.#schedule(Math.max(0, this.#drawnAtMs + frameMs - this.#nowMs()));
  }

  /** A line of its own above the tree, which stays. */
  note(text: string): void {
    this.#terminal.draw(`${this.#erase()}${visibleButPaint(text)}\n`);
    this.#widths = [];
    this.#last = "";
    this.#draw();
  }

  /** Draws the last view in full and leaves it on the screen. */
  end(view: RunView | undefined): void {
    clearTimeout(this.#timer);
    this.#offResize();
    if (view !== undefined) this.#pending = view;
    this.#draw();
    this.#terminal.draw(showCursor);
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#draw(), delayMs);
    this.#timer.unref();
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending === undefined) return;
    const { columns, rows } = this.#terminal.size();
    // The last column and row stay free: writing there makes some terminals wrap or scroll.
    const lines = treeLines(
      { ...this.#pending },
      { columns: Math.max(20, columns - 1), rows: Math.max(3, rows - 1) },
      painter(this.#terminal.colorErr),
    );
    const frame = visibleButPaint(`${lines.join("\n")}\n`);
    this.#drawnAtMs = this.#nowMs();
    if (frame === this.#last) return;
    this.#terminal.draw(`${beginFrame}${this.#erase()}${frame}${endFrame}`);
    this.#last = frame;
    this.#widths = lines.map((line) => stripVTControlCharacters(line).length);
  }

  /** Back to the first line of the last frame. A narrower terminal has wrapped its lines: they count as they stand now. */
  #erase(): string {
    const { columns } = this.#terminal.size();
    const height = this.#widths.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / Math.max(1, columns))), 0);
    return height === 0 ? "" : `\u001b[${height}A\r\u001b[J`;
  }
}
