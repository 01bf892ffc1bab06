/** All runs, newest first. */
import { useComputed, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Phase } from "../../api/status.ts";
import { endedPhases, type RunList, type RunSummary, runsMax } from "../wire.ts";
import { get } from "./client.ts";
import { age, between, grouped, plural, visible } from "./format.ts";
import { follow, load, session } from "./load.ts";
import { Name, NodeBar, ProblemBox, State, useNow } from "./parts.tsx";
import { navigate, runPath, select, selection } from "./route.ts";
import { Cell, VirtualList } from "./virtual-list.tsx";

const firstRuns = 500;
const filters = ["All", "Active", ...endedPhases] as const;
type Filter = (typeof filters)[number];

export function RunsView(): VNode {
  const limit = useSignal(firstRuns);
  const runs = useMemo(() => load((signal) => get<RunList>(`runs?limit=${limit.value}`, signal)), [limit.value]);
  useEffect(() => () => runs.stop(), [runs]);
  useEffect(() => follow("events", runs.again, runs.again), [runs]);
  const active = useSignal(-1);
  const text = selection.value["q"] ?? "";
  const filter = (filters.find((each) => each === selection.value["phase"]) ?? "All") satisfies Filter;
  const shown = useComputed(() => {
    const [q, phase] = [(selection.value["q"] ?? "").toLowerCase(), selection.value["phase"] ?? "All"];
    return (runs.value.value?.runs ?? []).filter((run) => isOf(run.phase, phase) && matches(run, q));
  });
  const list = shown.value;
  const busy = list.some(({ phase }) => phase === "Running");
  const nowMs = useNow(busy);
  const open = (index: number) => {
    const run = list[index];
    if (run !== undefined) navigate(runPath(run));
  };
  const problem = runs.problem.value;
  return (
    <main class="runs" id="main" tabIndex={-1}>
      <div class="bar">
        <h1>Runs</h1>
        <label class="search">
          <span class="hidden">Filter runs</span>
          <input
            type="search"
            placeholder="Filter by name, task or reason"
            value={text}
            onInput={(event) => select({ q: event.currentTarget.value || undefined })}
            onKeyDown={(event) => {
              if (event.key === "ArrowDown") document.getElementById("runs")?.focus();
            }}
          />
        </label>
        <div class="segments" role="group" aria-label="Phase">
          {filters.map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={each === filter}
              onClick={() => select({ phase: each === "All" ? undefined : each })}
            >
              {each}
            </button>
          ))}
        </div>
        <span class="muted grow right" aria-live="polite">
          {plural(list.length, "run")}
          {runs.value.value?.more === true && limit.value < runsMax ? (
            <button type="button" class="quiet" onClick={() => (limit.value = runsMax)}>
              Load older
            </button>
          ) : null}
        </span>
      </div>
      {problem === undefined ? null : <ProblemBox problem={problem} />}
      <VirtualList
        id="runs"
        label="Runs"
        columns="run-columns"
        head={["Name", "Phase", "Nodes", "Steps", "Tokens", "Time", "Age", "Task"]}
        count={list.length}
        rowHeight={34}
        active={Math.min(active.value, list.length - 1)}
        onActive={(index) => (active.value = index)}
        onOpen={open}
        row={(index) => <RunRow run={list[index] as RunSummary} nowMs={nowMs} />}
        empty={runs.value.value === undefined ? "Reading…" : <NoRuns filtered={text !== "" || filter !== "All"} />}
      />
    </main>
  );
}

function RunRow({ run, nowMs }: { run: RunSummary; nowMs: number }): VNode {
  const showNamespace = run.namespace !== "default";
  return (
    <>
      <Cell class="first">
        <a href={runPath(run)} tabIndex={-1}>
          {showNamespace ? <span class="muted mono">{visible(run.namespace)}/</span> : null}
          <Name text={run.name} />
        </a>
        {run.replayOf === undefined ? null : <span class="tag">replay of {visible(run.replayOf)}</span>}
      </Cell>
      <Cell>
        <State state={run.phase} note={run.unhosted ? "(no process)" : undefined} />
      </Cell>
      <Cell class="nodes">
        <NodeBar counts={run.nodeCounts} total={run.nodeCount} label={countsText(run)} />
        <span class="num">{run.progress}</span>
      </Cell>
      <Cell class="num">{run.steps === 0 ? "" : grouped(run.steps)}</Cell>
      <Cell class="num">{run.tokens.used === 0 ? "" : grouped(run.tokens.used)}</Cell>
      <Cell class="num">{between(run.startedAt, run.completedAt, nowMs)}</Cell>
      <Cell class="num muted">{age(run.createdAt, nowMs)}</Cell>
      <Cell class="clip">
        {run.reason === undefined ? (
          <span class="muted">{visible(run.task.slice(0, 300))}</span>
        ) : (
          <span class={run.phase === "Failed" ? "bad" : "warn"}>{visible(run.reason)}</span>
        )}
      </Cell>
    </>
  );
}

function NoRuns({ filtered }: { filtered: boolean }): VNode {
  if (filtered) return <p>No run matches the filter.</p>;
  return (
    <p>
      No runs yet. Start one:{" "}
      <code>{session.value?.place.kind === "cluster" ? "oao submit FILE" : "oao run FILE"}</code>
    </p>
  );
}

function countsText({ nodeCounts }: RunSummary): string {
  return Object.entries(nodeCounts)
    .map(([state, count]) => `${grouped(count)} ${state}`)
    .join(", ");
}

function isOf(phase: Phase, filter: string): boolean {
  if (filter === "All") return true;
  if (filter === "Active") return !endedPhases.includes(phase);
  return phase === filter;
}

function matches(run: RunSummary, text: string): boolean {
  if (text === "") return true;
  return [`${run.namespace}/${run.name}`, run.task, run.reason ?? "", run.phase].some((each) =>
    each.toLowerCase().includes(text),
  );
}
