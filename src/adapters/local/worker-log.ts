import { closeSync, copyFileSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";

export const workerLogBytesMax = 5 * 1024 * 1024;
const lookIntervalMs = 500;

/** `<home>/logs/<uid>/<node>[item]#attempt.log`; a worker that writes more has its earlier lines in `….log.1`. */
export function workerLogPath(home: string, uid: string, worker: NodeKey & { readonly attempt: number }): string {
  return join(home, "logs", uid, `${itemName(worker)}#${worker.attempt}.log`);
}

const tailBytes = 8_192;
const lastWordsChars = 256;
/** Lines that say nothing about why: blank ones, OAO's own JSON, stack frames, the runtime's name, the caret under a line of source. */
const wordless = /^\s*$|^\{.*\}$|^\s+at |^Node\.js v|^\s*\^+$|^[{}]$/;

/** The last line of a log that says why its process died, masked, then cut; "" when there is none. Of an uncaught error its first line. */
export function lastWords(path: string, mask: (text: string) => string): string {
  const lines = mask(tail(path)).split("\n");
  const thrown = lines.findLast((line) =>
    /^(FATAL ERROR\b|(Uncaught )?\[?\w*Error\b|\[UnhandledPromiseRejection)/.test(line),
  );
  const words = thrown ?? lines.findLast((line) => !wordless.test(line)) ?? "";
  const text = words.trim();
  return text.length <= lastWordsChars ? text : `${text.slice(0, lastWordsChars - 1)}…`.toWellFormed();
}

function tail(path: string): string {
  try {
    const file = openSync(path, "r");
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, tailBytes));
      readSync(file, bytes, 0, bytes.length, size - bytes.length);
      const text = bytes.toString("utf8");
      // Half a line may hold half a secret, which nobody would recognise.
      return bytes.length < size ? text.slice(text.indexOf("\n") + 1) : text;
    } finally {
      closeSync(file);
    }
  } catch {
    return "";
  }
}

/**
 * The file that a worker's stdout and stderr go to. A file and not a pipe: what a worker says after its host was killed
 * is kept, and no write of it can fail or wait for a reader.
 */
export class WorkerLog {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #timer: NodeJS.Timeout;
  #file: number;

  constructor(path: string, bytesMax = workerLogBytesMax) {
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#bytesMax = bytesMax;
    // Appending: after a truncation the worker goes on at the file's new end.
    this.#file = openSync(path, "a", 0o600);
    this.#timer = setInterval(() => this.bound(), lookIntervalMs);
    this.#timer.unref();
  }

  /** For the worker's stdio. */
  get fd(): number {
    return this.#file;
  }

  /** A full file becomes the `.1` file and begins anew; lines written at that very moment may be lost. Looked at twice a second. */
  bound(): void {
    try {
      if (fstatSync(this.#file).size <= this.#bytesMax) return;
      copyFileSync(this.#path, `${this.#path}.1`);
      ftruncateSync(this.#file, 0);
    } catch {
      // A log that cannot be bounded (a full disk, a removed folder) never stops a run.
    }
  }

  /** Repeat: no-op. */
  close(): void {
    if (this.#file < 0) return;
    clearInterval(this.#timer);
    this.bound();
    closeSync(this.#file);
    this.#file = -1;
  }
}
