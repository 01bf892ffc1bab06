/** One worker as a child process: started with the least environment, watched, ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { isWorkerExitCode, workerExitOf } from "../../api/exit-codes.ts";
import type { WorkerExit, WorkerFailure, WorkerOrder, WorkerView } from "../../ports/cluster.ts";
import { lastWords, WorkerLog } from "./worker-log.ts";

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
  /** Every known secret value out of a text. */
  readonly mask: (text: string) => string;
  /** Called once: the program is loaded and about to do its work, or has ended. */
  readonly onReady: () => void;
  /** Called once, after the process is gone. */
  readonly onExit: () => void;
}

/** Nothing that the program did or said led to these. */
const fromOutside: ReadonlySet<NodeJS.Signals> = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"]);
/** A program that says nothing for this long is taken for loaded. */
const loadTimeoutMs = 10_000;

export class WorkerProcess {
  readonly order: WorkerOrder;
  readonly #start: WorkerStart;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #end: Pick<WorkerView, "exit" | "failure" | "detail"> | undefined;
  #isSpawned = false;
  #isReady = false;
  #loading: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(start: WorkerStart) {
    this.order = start.order;
    this.#start = start;
  }

  /** Once; nothing when it was stopped before. Never throws: a program that cannot be started is a worker that exited with `infrastructure`. */
  spawn(): void {
    if (this.exited) return;
    const { program, env, logPath } = this.#start;
    const log = new WorkerLog(logPath);
    // A process group of its own: Ctrl-C on the terminal is for the host, which lets calls in flight end.
    const child = spawn(program.execPath, program.args, {
      env,
      stdio: ["ignore", log.fd, log.fd, "ipc"],
      detached: true,
      cwd: env["OAO_BASE_DIR"],
    });
    this.#child = child;
    child.once("spawn", () => (this.#isSpawned = true));
    child.once("message", () => this.#ready());
    this.#loading = setTimeout(() => this.#ready(), loadTimeoutMs);
    this.#loading.unref();
    // Errors of the channel (the child closed its end) and failed starts; the latter have no "exit".
    child.on("error", (error) => this.#failed(`cannot start the worker: ${error.message}`));
    child.once("exit", (code, signal) => this.#over(code, signal));
    this.#ended = once(child, "exit").then(
      () => log.close(),
      () => log.close(),
    );
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get exited(): boolean {
    return this.#end !== undefined;
  }

  view(): WorkerView {
    const { node, item, attempt } = this.order;
    const state = this.exited ? "Exited" : this.#isSpawned ? "Running" : "Starting";
    return { node, item, attempt, state, ...this.#end };
  }

  /** SIGTERM now, SIGKILL after `graceMs`; 0 = SIGKILL now. A repeat is a no-op. Resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    if (this.exited) return;
    if (this.#child === undefined) return this.#leave({ exit: "stopped", detail: "stopped before it was started" });
    if (graceMs === 0) this.kill();
    else if (this.#grace === undefined) {
      this.#child.kill("SIGTERM");
      this.#grace = setTimeout(() => this.kill(), graceMs);
    }
    await this.#ended;
  }

  /** At once. A repeat is a no-op. */
  kill(): void {
    if (this.#child === undefined) return this.#leave({ exit: "stopped", detail: "stopped before it was started" });
    if (!this.exited) this.#child.kill("SIGKILL");
  }

  #over(code: number | null, signal: NodeJS.Signals | null): void {
    const how = signal === null ? `exit code ${code}` : `ended by ${signal}`;
    if (isWorkerExitCode(code)) return this.#leave({ exit: workerExitOf(code), detail: how });
    if (signal !== null && fromOutside.has(signal)) return this.#leave({ exit: "infrastructure", detail: how });
    const words = lastWords(this.#start.logPath, this.#start.mask);
    const failure: WorkerFailure = "Crashed";
    this.#leave({ exit: "infrastructure", failure, detail: words === "" ? how : `${how}: ${words}` });
  }

  #failed(detail: string): void {
    const child = this.#child;
    // An error of a process that runs (a broken channel) is not its end: "exit" will come.
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) return;
    this.#leave({ exit: "infrastructure", detail });
  }

  #ready(): void {
    if (this.#isReady || this.#child === undefined) return;
    this.#isReady = true;
    clearTimeout(this.#loading);
    this.#start.onReady();
  }

  #leave(end: Pick<WorkerView, "exit" | "failure" | "detail"> & { readonly exit: WorkerExit }): void {
    if (this.exited) return;
    this.#end = end;
    clearTimeout(this.#grace);
    this.#ready();
    this.#child = undefined;
    this.#start.onExit();
  }
}
