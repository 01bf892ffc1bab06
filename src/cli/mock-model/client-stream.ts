/** One response as a stream that knows when its client left, waits for slow readers and keeps at most one timer. */
import type { ServerResponse } from "node:http";

export class ClientStream {
  readonly #response: ServerResponse;
  #closed = false;
  #wake: (() => void) | undefined;
  #onLeft: (() => void) | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.once("close", () => {
      this.#closed = true;
      if (!response.writableFinished) this.#onLeft?.();
      this.#wake?.();
    });
    // A write after the client left: the close event tells it.
    response.on("error", () => undefined);
  }

  /** Run `listener` at the moment the socket closes before the answer was written whole; now if that is past. */
  onLeft(listener: () => void): void {
    this.#onLeft = listener;
    if (this.#closed) listener();
  }

  /** No more can be written. */
  get closed(): boolean {
    return this.#closed;
  }

  writeHead(status: number, headers: Record<string, string>): void {
    this.#response.writeHead(status, headers);
  }

  /** Hand over `text`. Resolves when the client's side has room for more, or is closed. */
  write(text: string): Promise<void> | undefined {
    if (this.#closed || this.#response.write(text)) return undefined;
    return this.#until((wake) => {
      this.#response.once("drain", wake);
      return () => void this.#response.off("drain", wake);
    });
  }

  /** Resolves after `ms` (rounded up to whole milliseconds), or as soon as the client leaves. */
  sleep(ms: number): Promise<void> {
    return this.#until((wake) => {
      const timer = setTimeout(wake, Math.ceil(ms));
      return () => clearTimeout(timer);
    });
  }

  /** Let other work of the process run, the news that this client left included. */
  yield(): Promise<void> {
    return this.#until((wake) => {
      const immediate = setImmediate(wake);
      return () => clearImmediate(immediate);
    });
  }

  /** End the answer; `text` is its last part. */
  end(text = ""): void {
    this.#response.end(text);
  }

  /** Close the socket in the middle of the answer, after all that was written is on its way. */
  async cut(): Promise<void> {
    if (!this.#response.headersSent) return void this.#response.destroy();
    await this.#until((wake) => {
      this.#response.write("", wake);
      return () => undefined;
    });
    this.#response.destroy();
  }

  #until(start: (wake: () => void) => () => void): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wake = undefined;
        cancel();
        resolve();
      };
      const cancel = start(wake);
      this.#wake = wake;
    });
  }
}
