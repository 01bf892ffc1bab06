/** Runs of this machine: the index and the journals beside it, watched for what other processes write. */
import { systemClock } from "../../adapters/clock/system-clock.ts";
import type { LocalIndex } from "../../adapters/local/local-index.ts";
import type { LocalRun } from "../../adapters/local/local-run.ts";
import { cliExitCodes } from "../../api/exit-codes.ts";
import type { ExecutionSpec } from "../../api/types.ts";
import { isWhole, shownSpec } from "../../core/replay/spec.ts";
import { readRecord } from "../../host/journals.ts";
import type { JournalStore } from "../../ports/store.ts";
import type { GraphNodeInfo, RunDetail, RunKey, RunList, RunSummary, ServerEvent } from "../../ui/wire.ts";
import { CliError } from "../errors.ts";
import { findRun, isHosted } from "../home.ts";
import { hasEnded } from "../outcome.ts";
import { readView } from "../render/run-view.ts";
import { givenRedis, mayHaveJournal, openRunStore, storeUrlOf } from "../store.ts";
import type { Terminal } from "../terminal.ts";
import { JournalSteps } from "./journal-steps.ts";
import type { RunSource, StepSource } from "./run-source.ts";
import { ReplayStarter } from "./start-replay.ts";
import type { ReadableRun } from "./step-reader.ts";
import { graphNodes, runDetail, runSummary } from "./summaries.ts";

const watchIntervalMs = 250;

/** `/home/ada/brief/.oao` as `~/brief/.oao`. */
function fromHome(path: string, home = ""): string {
  return home !== "" && path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

export class LocalSource implements RunSource {
  readonly place;
  readonly steps: StepSource;
  readonly #index: LocalIndex;
  readonly #terminal: Terminal;
  readonly #replays: ReplayStarter;
  /** One connection per store, shared by all its runs. */
  readonly #stores = new Map<string, Promise<JournalStore>>();
  readonly #summaries = new Map<string, { readonly version: string; readonly summary: RunSummary }>();

  /** The index stays the caller's to close. */
  constructor(index: LocalIndex, terminal: Terminal) {
    this.#index = index;
    this.#terminal = terminal;
    this.#replays = new ReplayStarter(index, terminal);
    this.place = { kind: "local", label: fromHome(index.home, terminal.env["HOME"]) } as const;
    this.steps = new JournalSteps((key) => this.#readable(key));
  }

  async list(limit: number): Promise<RunList> {
    const found = this.#index.list({ limit: limit + 1 });
    const runs = await Promise.all(found.slice(0, limit).map((run) => this.#summary(run)));
    return { runs, more: found.length > limit };
  }

  async run(key: RunKey): Promise<RunDetail> {
    const run = this.#find(key);
    const store = mayHaveJournal(run) ? await this.#open(run).catch(() => undefined) : undefined;
    const view = await readView(run, store, systemClock.nowMs());
    return runDetail(view, this.#isUnhosted(run), await this.#spec(run));
  }

  async graph(key: RunKey): Promise<readonly GraphNodeInfo[]> {
    return graphNodes(await this.#spec(this.#find(key)));
  }

  startReplay(key: RunKey, fromStep: number): Promise<RunKey> {
    return this.#replays.start(key, fromStep);
  }

  async watch(focus: RunKey | undefined, listener: (event: ServerEvent) => void): Promise<() => Promise<void>> {
    let version = this.#index.latestVersion();
    const timer = setInterval(() => {
      const { latest, keys } = this.#index.changesSince(version);
      version = latest;
      if (keys.length > 0) listener({ event: "runs", data: { keys } });
    }, watchIntervalMs);
    const endSteps = focus === undefined ? undefined : await this.#watchSteps(focus, listener);
    return async () => {
      clearInterval(timer);
      await endSteps?.();
    };
  }

  async close(): Promise<void> {
    await this.#replays.close();
    for (const opened of this.#stores.values()) await (await opened.catch(() => undefined))?.close();
    this.#stores.clear();
  }

  /** Undefined = it has ended, or its journal is not there yet: the status tells of those. */
  async #watchSteps(key: RunKey, listener: (event: ServerEvent) => void): Promise<(() => Promise<void>) | undefined> {
    const run = this.#index.get(key);
    if (run === undefined || hasEnded(run.status) || !mayHaveJournal(run)) return undefined;
    try {
      const store = await this.#open(run);
      return await store.watch(run.uid, () => listener({ event: "steps", data: key }));
    } catch {
      return undefined;
    }
  }

  /** With all that a replay inherited; as it was asked for where that is not known. */
  async #spec(run: LocalRun): Promise<ExecutionSpec> {
    const asked = shownSpec(run.object, run.status);
    if (isWhole(run.object.spec) || !mayHaveJournal(run)) return asked;
    return this.#open(run).then(
      async (store) => (await readRecord(store, run)).spec,
      () => asked,
    );
  }

  async #summary(run: LocalRun): Promise<RunSummary> {
    const known = this.#summaries.get(run.uid);
    const unhosted = this.#isUnhosted(run);
    if (known?.version === run.resourceVersion && known.summary.unhosted === unhosted) return known.summary;
    const summary = await runSummary(run, unhosted);
    this.#summaries.set(run.uid, { version: run.resourceVersion, summary });
    return summary;
  }

  #find({ namespace, name }: RunKey): LocalRun {
    return findRun(this.#index, name, { namespace }, this.#terminal);
  }

  /** A run that waits for a person needs no process meanwhile. */
  #isUnhosted(run: LocalRun): boolean {
    const phase = run.status?.phase;
    if (hasEnded(run.status) || phase === "Suspended" || phase === "AwaitingApproval") return false;
    return !isHosted(this.#index, run);
  }

  async #readable(key: RunKey): Promise<ReadableRun | { readonly nothing: string }> {
    const run = this.#find(key);
    const ended = hasEnded(run.status);
    if (mayHaveJournal(run)) {
      const store = await this.#open(run);
      return {
        key: run.key,
        uid: run.uid,
        hasEnded: ended,
        record: (snapshot) => readRecord(store, run, snapshot),
      };
    }
    if (!ended) return { nothing: "no steps are recorded yet" };
    throw new CliError(
      "its journal is gone: the time that journalRetentionSeconds gives it is over",
      [],
      cliExitCodes.failed,
    );
  }

  #open(run: LocalRun): Promise<JournalStore> {
    const given = givenRedis(run, undefined, this.#terminal.env);
    const url = storeUrlOf(run, given);
    const opened = this.#stores.get(url) ?? openRunStore(run, given);
    this.#stores.set(url, opened);
    opened.catch(() => this.#stores.delete(url));
    return opened;
  }
}
