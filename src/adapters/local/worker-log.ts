import { closeSync, copyFileSync, fstatSync, ftruncateSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";

export const workerLogBytesMax = 5 * 1024 * 1024;
const lookIntervalMs = 500;

/** `<home>/logs/<uid>/<node>[item]#attempt.log`; a worker that writes more has its earlier lines in `….log.1`. */
export function workerLogPath(home: string, uid: string, worker: NodeKey & { readonly attempt: number }): string {
  return join(home, "logs", uid, `${itemName(worker)}#${worker.attempt}.log`);
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
