/**
 * Where output goes: data to stdout, everything for people's eyes to stderr. The one way to the screen: whatever records, files and
 * arguments hold, it does nothing to a terminal but colour, while a pipe gets stdout byte by byte.
 */
import type { WriteStream } from "node:tty";
import { visible, visibleButPaint } from "./render/style.ts";

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly out: (text: string) => void;
  /** The same, waiting until the reader has taken what it holds: for output of any size. */
  readonly write: (text: string) => Promise<void>;
  /** A text that is not ours, such as a run's result: a terminal gets no colour of it either. */
  readonly body: (text: string) => void;
  readonly err: (text: string) => void;
  /** To stderr as it is: for what moves the cursor. Texts within it have been through `visibleButPaint`. */
  readonly draw: (text: string) => void;
  /** stderr is a terminal that can be redrawn. */
  readonly interactive: boolean;
  /** Colour on stdout / stderr: a terminal, NO_COLOR unset or empty. */
  readonly colorOut: boolean;
  readonly colorErr: boolean;
  /** Of stdout; absent where it is no terminal, so that what reads it gets all of a text. */
  readonly columnsOut?: number | undefined;
  /** Of stderr; a guess when it is no terminal. */
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly onResize: (listener: () => void) => () => void;
}

export type Streams = Pick<NodeJS.Process, "stdout" | "stderr" | "env" | "cwd">;

export function processTerminal(streams: Streams = process): Terminal {
  const { env, stdout } = streams;
  const plain = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
  const stderr: WriteStream = streams.stderr;
  const shown = (text: string) => (stdout.isTTY === true ? visibleButPaint(text) : text);
  return {
    env,
    cwd: streams.cwd(),
    out: (text) => void stdout.write(shown(text)),
    write: async (text) => {
      // Not events.once, which rejects: what a reader that went away means is decided in main.ts.
      if (!stdout.write(shown(text))) await new Promise((resolve) => stdout.once("drain", resolve));
    },
    body: (text) => void stdout.write(stdout.isTTY === true ? visible(text) : text),
    err: (text) => void stderr.write(visibleButPaint(text)),
    draw: (text) => void stderr.write(text),
    interactive: stderr.isTTY === true && env["TERM"] !== "dumb" && (env["CI"] ?? "") === "",
    colorOut: stdout.isTTY === true && !plain,
    colorErr: stderr.isTTY === true && !plain,
    columnsOut: stdout.isTTY === true ? stdout.columns : undefined,
    size: () => ({ columns: stderr.columns ?? 120, rows: stderr.rows ?? 40 }),
    onResize: (listener) => {
      stderr.on("resize", listener);
      return () => void stderr.off("resize", listener);
    },
  };
}
