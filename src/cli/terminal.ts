/** Where output goes: data to stdout, everything for people's eyes to stderr. */
import type { WriteStream } from "node:tty";

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly out: (text: string) => void;
  /** The same, waiting until the reader has taken what it holds: for output of any size. */
  readonly write: (text: string) => Promise<void>;
  readonly err: (text: string) => void;
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

export function processTerminal(): Terminal {
  const { env } = process;
  const plain = (env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb";
  const stderr: WriteStream = process.stderr;
  return {
    env,
    cwd: process.cwd(),
    out: (text) => void process.stdout.write(text),
    write: async (text) => {
      // Not events.once, which rejects: what a reader that went away means is decided in main.ts.
      if (!process.stdout.write(text)) await new Promise((resolve) => process.stdout.once("drain", resolve));
    },
    err: (text) => void process.stderr.write(text),
    interactive: stderr.isTTY === true && env["TERM"] !== "dumb" && (env["CI"] ?? "") === "",
    colorOut: process.stdout.isTTY === true && !plain,
    colorErr: stderr.isTTY === true && !plain,
    columnsOut: process.stdout.isTTY === true ? process.stdout.columns : undefined,
    size: () => ({ columns: stderr.columns ?? 120, rows: stderr.rows ?? 40 }),
    onResize: (listener) => {
      stderr.on("resize", listener);
      return () => void stderr.off("resize", listener);
    },
  };
}
