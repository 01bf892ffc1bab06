/** One run: its graph, its steps, and what is selected of it. */
import { useComputed, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import {
  endedPhases,
  type GraphNodeInfo,
  type NodeRow,
  type RunDetail,
  type RunKey,
  type ServerEvent,
} from "../wire.ts";
import { get } from "./client.ts";
import { CompareButton } from "./compare.tsx";
import { between, grouped, plural, visible } from "./format.ts";
import { Graph } from "./graph/graph.tsx";
import { follow, load, session } from "./load.ts";
import { NodeList } from "./node-list.tsx";
import { NodePanel, RunPanel } from "./panels.tsx";
import { ProblemBox, State, Tokens, useNow } from "./parts.tsx";
import { navigate, runApi, runPath, select, selection } from "./route.ts";
import { StepPanel } from "./step-panel.tsx";
import { Steps } from "./steps.tsx";

export function RunView({ runKey }: { runKey: RunKey }): VNode {
  const api = runApi(runKey);
  const run = useMemo(() => load((signal) => get<RunDetail>(api, signal)), [api]);
  const graph = useMemo(
    () => load((signal) => get<{ nodes: readonly GraphNodeInfo[] }>(`${api}/graph`, signal)),
    [api],
  );
  /** Grows when steps may have been recorded. */
  const recorded = useSignal(0);
  useEffect(() => {
    const changed = () => {
      run.again();
      recorded.value += 1;
    };
    const onEvent = (event: ServerEvent) => {
      const keys = event.event === "runs" ? event.data.keys : [event.data];
      if (keys.some(({ namespace, name }) => namespace === runKey.namespace && name === runKey.name)) changed();
    };
    return follow(`events?run=${encodeURIComponent(`${runKey.namespace}/${runKey.name}`)}`, onEvent, changed);
  }, [run]);
  useEffect(
    () => () => {
      run.stop();
      graph.stop();
    },
    [run, graph],
  );
  const detail = run.value.value;
  const nodes = graph.value.value?.nodes;
  const rows = useComputed(() => new Map((run.value.value?.nodes ?? []).map((row) => [row.name, row])));
  const problem = run.problem.value ?? graph.problem.value;
  if (detail === undefined || nodes === undefined) {
    return (
      <main id="main" tabIndex={-1}>
        {problem === undefined ? <p class="empty">Reading…</p> : <ProblemBox problem={problem} />}
      </main>
    );
  }
  return (
    <main class="run" id="main" tabIndex={-1}>
      <Header run={detail} />
      {problem === undefined ? null : <ProblemBox problem={problem} />}
      <div class="panes">
        <div class="left">
          <Nodes nodes={nodes} rows={rows.value} />
          <Steps
            runKey={runKey}
            limit={detail.tokens.limit}
            recorded={recorded.value}
            isOver={endedPhases.includes(detail.phase)}
          />
        </div>
        <Side runKey={runKey} run={detail} nodes={nodes} rows={rows.value} />
      </div>
    </main>
  );
}

function Header({ run }: { run: RunDetail }): VNode {
  const nowMs = useNow(run.completedAt === undefined);
  return (
    <div class="bar run-bar">
      <h1>
        <span class="muted">{visible(run.namespace)}/</span>
        {visible(run.name)}
      </h1>
      <State state={run.phase} note={run.unhosted ? "(no process)" : undefined} />
      <span>{run.progress} nodes</span>
      <span>{plural(run.steps, "step")}</span>
      <Tokens tokens={run.tokens} />
      <span class="num">{between(run.startedAt, run.completedAt, nowMs)}</span>
      <span class="grow" />
      <CompareButton run={run} />
    </div>
  );
}

function Nodes({ nodes, rows }: { nodes: readonly GraphNodeInfo[]; rows: ReadonlyMap<string, NodeRow> }): VNode {
  const isTable = selection.value["nodes"] === "table";
  const selected = selection.value["node"];
  const onSelect = (node: string | undefined) => select({ node, step: undefined });
  const toSteps = () => document.getElementById("steps")?.focus();
  return (
    <section class="pane" aria-label="Nodes">
      <div class="pane-head">
        <h2>Nodes</h2>
        <div class="segments" role="group" aria-label="Show nodes as">
          <button type="button" aria-pressed={!isTable} onClick={() => select({ nodes: undefined })}>
            Graph
          </button>
          <button type="button" aria-pressed={isTable} onClick={() => select({ nodes: "table" })}>
            Table
          </button>
        </div>
        <span class="muted">{counts(rows)}</span>
      </div>
      {isTable ? (
        <NodeList nodes={nodes} rows={rows} selected={selected} onSelect={onSelect} onOpen={toSteps} />
      ) : (
        <Graph nodes={nodes} rows={rows} selected={selected} onSelect={onSelect} onOpen={toSteps} />
      )}
    </section>
  );
}

function counts(rows: ReadonlyMap<string, NodeRow>): string {
  const found = new Map<string, number>();
  for (const { state } of rows.values()) found.set(state, (found.get(state) ?? 0) + 1);
  return [...found].map(([state, count]) => `${grouped(count)} ${state}`).join(" · ");
}

interface SideProps {
  readonly runKey: RunKey;
  readonly run: RunDetail;
  readonly nodes: readonly GraphNodeInfo[];
  readonly rows: ReadonlyMap<string, NodeRow>;
}

function Side({ runKey, run, nodes, rows }: SideProps): VNode {
  const { step, node } = selection.value;
  const info = nodes.find(({ name }) => name === node);
  return (
    <aside class="pane side" aria-label="Details">
      {step !== undefined ? (
        <StepPanel
          key={step}
          runKey={runKey}
          id={step}
          canReplay={session.value?.canReplay === true && endedPhases.includes(run.phase)}
          onReplayed={(key) => navigate(runPath(key))}
          onClose={() => select({ step: undefined })}
        />
      ) : info !== undefined ? (
        <NodePanel node={info} row={rows.get(info.name)} onClose={() => select({ node: undefined })} />
      ) : (
        <RunPanel run={run} />
      )}
    </aside>
  );
}
