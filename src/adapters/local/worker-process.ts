/** One worker as a child process: started with the least environment, watched, ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { workerExitOf } from "../../api/exit-codes.ts";
import type { WorkerExit, WorkerOrder, WorkerView } from "../../ports/cluster.ts";
import { WorkerLog } from "./worker-log.ts";

/** How to start a worker program: `node …args`. */
export interface WorkerProgram {
  readonly execPath: string;
  readonly args: readonly string[];
}

export interface WorkerStart {
  readonly order: WorkerOrder;
  readonly program: WorkerProgram;
  /** All of it: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly logPath: string;
  /** Called once, after the process is gone. */
  readonly onExit: (worker: WorkerProcess) => void;
}

export class WorkerProcess {
  readonly order: WorkerOrder;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #exit: WorkerExit | undefined;
  #detail: string | undefined;
  #spawned = false;
  #grace: NodeJS.Timeout | undefined;

  /** Never throws: a program that cannot be started is a worker that exited with `infrastructure`. */
  constructor(start: WorkerStart) {
    this.order = start.order;
    const log = new WorkerLog(start.logPath);
    // A process group of its own: Ctrl-C on the terminal is for the host, which lets calls in flight end.
    const child = spawn(start.program.execPath, start.program.args, {
      env: start.env,
      stdio: ["ignore", log.fd, log.fd, "ipc"],
      detached: true,
      cwd: start.env["OAO_BASE_DIR"],
    });
    this.#child = child;
    child.once("spawn", () => (this.#spawned = true));
    // Errors of the channel (the child closed its end) and failed starts; the latter have no "exit".
    child.on("error", (error) => this.#over("infrastructure", `cannot start the worker: ${error.message}`, start));
    child.once("exit", (code, signal) => {
      if (signal !== null) this.#over("infrastructure", `ended by ${signal}`, start);
      else this.#over(workerExitOf(code), `exit code ${code}`, start);
    });
    this.#ended = once(child, "exit").then(
      () => log.close(),
      () => log.close(),
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get exited(): boolean {
    return this.#exit !== undefined;
  }

  view(): WorkerView {
    const { node, item, attempt } = this.order;
    const state = this.#exit !== undefined ? "Exited" : this.#spawned ? "Running" : "Starting";
    return { node, item, attempt, state, exit: this.#exit, detail: this.#detail };
  }

  /** SIGTERM now, SIGKILL after `graceMs`. A repeat is a no-op. Resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    if (this.exited) return;
    if (this.#grace === undefined) {
      this.#child.kill("SIGTERM");
      this.#grace = setTimeout(() => this.kill(), graceMs);
    }
    await this.#ended;
  }

  /** At once. A repeat is a no-op. */
  kill(): void {
    if (!this.exited) this.#child.kill("SIGKILL");
  }

  /** Lossy by contract: the worker looks at its store. */
  wake(): void {
    if (this.#child.connected) this.#child.send("wake", () => undefined);
  }

  #over(exit: WorkerExit, detail: string, start: WorkerStart): void {
    if (this.#exit !== undefined) return;
    // An error of a process that runs (a broken channel) is not its end: "exit" will come.
    if (this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) return;
    this.#exit = exit;
    this.#detail = detail;
    clearTimeout(this.#grace);
    start.onExit(this);
  }
}
