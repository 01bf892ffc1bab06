/** The steps of a run in canonical order, with when they ran and what they cost. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { RunKey, StepPage, StepSummary } from "../wire.ts";
import { get } from "./client.ts";
import { elapsed, grouped, plural, visible } from "./format.ts";
import { Paged } from "./paged.ts";
import { Meter, Name, ProblemBox, State } from "./parts.tsx";
import { runApi, select, selection } from "./route.ts";
import { Cell, VirtualList } from "./virtual-list.tsx";

interface Props {
  readonly runKey: RunKey;
  /** Token budget of the run. */
  readonly limit: number | undefined;
  readonly recorded: number;
  readonly isOver: boolean;
}

const filterPauseMs = 150;

export function Steps({ runKey, limit, recorded, isOver }: Props): VNode {
  const node = selection.value["node"];
  const text = useSignal("");
  const applied = useDelayed(text.value);
  const query = new URLSearchParams();
  if (node !== undefined) query.set("node", node);
  if (applied !== "") query.set("text", applied);
  const address = `${runApi(runKey)}/steps?${query.toString()}`;
  const steps = useMemo(() => new Paged<StepPage, StepSummary>(address, (page) => page.steps), [address]);
  useEffect(() => () => steps.stop(), [steps]);
  useEffect(() => {
    if (recorded > 0) steps.again();
  }, [recorded, isOver]);
  const { marked, choose } = useMarked(steps, address);
  const page = steps.latest.value;
  const total = page?.total ?? 0;
  const span = spanOf(page);
  const problem = steps.problem.value;
  return (
    <section class="pane" aria-label="Steps">
      <div class="pane-head">
        <h2>Steps</h2>
        <label class="search">
          <span class="hidden">Filter steps</span>
          <input
            type="search"
            placeholder="Filter by name, state or error"
            value={text.value}
            onInput={(event) => (text.value = event.currentTarget.value)}
          />
        </label>
        {node === undefined ? null : (
          <button type="button" class="chip" onClick={() => select({ node: undefined })}>
            only node <span class="mono">{visible(node)}</span> <span aria-hidden="true">✕</span>
            <span class="hidden">, show all</span>
          </button>
        )}
        <span
          class="muted grow right"
          aria-live="polite"
          title={isOver ? undefined : "Steps are numbered when the run has ended"}
        >
          {page === undefined ? "" : plural(total, "step")}
          {isOver ? "" : " so far"}
        </span>
      </div>
      {problem === undefined ? (
        <VirtualList
          id="steps"
          label="Steps"
          columns="step-columns"
          head={[
            "#",
            "Node",
            "Kind",
            "Name",
            "State",
            "Tokens",
            limit === undefined ? "In all" : "Of budget",
            "Time",
            "When",
          ]}
          count={total}
          rowHeight={28}
          active={marked}
          onActive={choose}
          onOpen={() => document.getElementById("step-panel")?.focus()}
          rowClass={(index) => classOf(steps.at(index))}
          row={(index) => <StepCells step={steps.at(index)} span={span} limit={limit} />}
          empty={emptyText(page, node, applied)}
        />
      ) : (
        <ProblemBox problem={problem} />
      )}
    </section>
  );
}

function noteOf({ error, reused }: StepSummary): string | undefined {
  if (error !== null) return visible(error);
  return reused ? "from the record" : undefined;
}

function classOf(step: StepSummary | undefined): string {
  return step === undefined ? "" : `${step.state} ${step.reused ? "reused" : ""}`;
}

function emptyText(page: StepPage | undefined, node: string | undefined, text: string): string {
  if (page === undefined) return "Reading…";
  if (page.nothing !== undefined) return `${page.nothing.charAt(0).toUpperCase()}${page.nothing.slice(1)}.`;
  if (text !== "") return "No step matches the filter.";
  return node === undefined ? "No steps are recorded yet." : "This node has recorded no steps.";
}

/**
 * The row of the selected step, and how another is selected. A row that was gone to before it was read is selected when it
 * comes. A step that an address names, that a filter moved, or that others were recorded before, is looked for.
 */
function useMarked(
  steps: Paged<StepPage, StepSummary>,
  address: string,
): { readonly marked: number; readonly choose: (index: number) => void } {
  const active = useSignal(-1);
  const isWanted = useRef(false);
  const selected = selection.value["step"];
  const choose = (index: number) => {
    active.value = index;
    const step = steps.at(index);
    isWanted.current = step === undefined;
    if (step !== undefined) select({ step: step.id });
  };
  useEffect(() => {
    active.value = -1;
    isWanted.current = false;
  }, [steps]);
  useEffect(() => {
    if (isWanted.current) return choose(active.value);
    if (selected === undefined || (active.value >= 0 && steps.at(active.value)?.id === selected)) return;
    const stop = new AbortController();
    get<StepPage>(`${address}&at=${encodeURIComponent(selected)}&limit=1`, stop.signal).then(
      ({ from, steps: found }) => (active.value = found.length === 0 ? -1 : from),
      () => undefined, // the list itself tells why it cannot be read
    );
    return () => stop.abort();
  }, [steps, steps.version.value, selected]);
  return { marked: selected === undefined && !isWanted.current ? -1 : active.value, choose };
}

interface Span {
  readonly startedMs: number;
  readonly completedMs: number;
}

function spanOf(page: StepPage | undefined): Span | undefined {
  if (page?.startedAt === undefined || page.completedAt === undefined) return undefined;
  return { startedMs: Date.parse(page.startedAt), completedMs: Date.parse(page.completedAt) };
}

interface CellsProps {
  readonly step: StepSummary | undefined;
  readonly span: Span | undefined;
  readonly limit: number | undefined;
}

function StepCells({ step, span, limit }: CellsProps): VNode {
  if (step === undefined) return <Cell class="muted">…</Cell>;
  const [from, to] = [Date.parse(step.startedAt), Date.parse(step.completedAt)];
  return (
    <>
      <Cell class="num muted">{step.number ?? ""}</Cell>
      <Cell class="first">
        <Name text={step.node} />
      </Cell>
      <Cell class="muted">{step.kind}</Cell>
      <Cell class="clip">
        <Name text={step.name} />
      </Cell>
      <Cell class="clip">
        <State state={step.state} note={noteOf(step)} />
      </Cell>
      <Cell class="num">{step.tokens === null ? "" : grouped(step.tokens)}</Cell>
      <Cell class="budget">
        {limit === undefined ? (
          <span class="num muted">{step.tokensSoFar === 0 ? "" : grouped(step.tokensSoFar)}</span>
        ) : (
          <Meter
            value={step.tokensSoFar / limit}
            label={`${grouped(step.tokensSoFar)} of ${grouped(limit)} tokens up to here`}
          />
        )}
      </Cell>
      <Cell class="num muted">{elapsed(to - from)}</Cell>
      <Cell class="when">
        {span === undefined || to < span.startedMs ? null : <When from={from} to={to} span={span} />}
      </Cell>
    </>
  );
}

function When({ from, to, span }: { from: number; to: number; span: Span }): VNode {
  const length = Math.max(1, span.completedMs - span.startedMs);
  const left = ((from - span.startedMs) / length) * 100;
  const width = Math.max(0.6, ((to - from) / length) * 100);
  return (
    <span class="when-bar" style={{ left: `${Math.min(99.4, left)}%`, width: `${Math.min(width, 100 - left)}%` }} />
  );
}

/** The text once typing has paused. */
function useDelayed(text: string): string {
  const applied = useSignal(text);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    timer.current = setTimeout(() => (applied.value = text), filterPauseMs);
    return () => clearTimeout(timer.current);
  }, [text]);
  return applied.value;
}
