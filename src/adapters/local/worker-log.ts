import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { itemName } from "../../core/protocol/names.ts";
import type { NodeKey } from "../../core/protocol/types.ts";

export const workerLogBytesMax = 5 * 1024 * 1024;

/** `<home>/logs/<uid>/<node>[item]#attempt.log`; a worker that writes more has its earlier half in `….log.1`. */
export function workerLogPath(home: string, uid: string, worker: NodeKey & { readonly attempt: number }): string {
  return join(home, "logs", uid, `${itemName(worker)}#${worker.attempt}.log`);
}

/** What a worker printed, bounded to twice `bytesMax`: when the file is full it becomes the `.1` file and a new one begins. */
export class WorkerLog {
  readonly #path: string;
  readonly #bytesMax: number;
  #file: number | undefined;
  #bytes: number;

  constructor(path: string, bytesMax = workerLogBytesMax) {
    mkdirSync(join(path, ".."), { recursive: true, mode: 0o700 });
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#file = openSync(path, "a", 0o600);
    this.#bytes = fstatSync(this.#file).size;
  }

  /** At once and in full: what a worker said before it was killed is there. A full disk loses lines, never the run. */
  write(data: Buffer): void {
    if (this.#file === undefined) return;
    try {
      if (this.#bytes > 0 && this.#bytes + data.length > this.#bytesMax) this.#rotate();
      this.#bytes += writeSync(this.#file, data);
    } catch {
      this.close();
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #rotate(): void {
    this.close();
    if (existsSync(this.#path)) renameSync(this.#path, `${this.#path}.1`);
    this.#file = openSync(this.#path, "a", 0o600);
    this.#bytes = 0;
  }
}
