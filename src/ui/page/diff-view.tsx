/** Two runs side by side: which steps are the same, where they first part, and in what a pair differs. */
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { DiffPage, DiffRow, RunDetail, RunKey, ServerEvent, StepSummary } from "../wire.ts";
import { get } from "./client.ts";
import { Differences } from "./differences.tsx";
import { elapsed, grouped, plural, visible } from "./format.ts";
import { follow, load } from "./load.ts";
import { Paged } from "./paged.ts";
import { Name, ProblemBox, State } from "./parts.tsx";
import { diffPath, runApi, runPath, select, selection } from "./route.ts";
import { verdicts } from "./verdicts.ts";
import { Cell, VirtualList } from "./virtual-list.tsx";

export function DiffView({ left, right }: { left: RunKey; right: RunKey }): VNode {
  const address = useMemo(() => {
    const query = new URLSearchParams({
      left: `${left.namespace}/${left.name}`,
      right: `${right.namespace}/${right.name}`,
    });
    return `diff?${query.toString()}`;
  }, []);
  const pairs = useMemo(() => new Paged<DiffPage, DiffRow>(address, (page) => page.rows), [address]);
  useEffect(() => () => pairs.stop(), [pairs]);
  useEffect(() => {
    const isOurs = (key: RunKey) =>
      [left, right].some(({ namespace, name }) => key.namespace === namespace && key.name === name);
    const onEvent = (event: ServerEvent) => {
      if (event.event === "runs" && event.data.keys.some(isOurs)) pairs.again();
    };
    return follow("events", onEvent, () => pairs.again());
  }, [pairs]);
  void pairs.version.value;
  const page = pairs.latest.value;
  const problem = pairs.problem.value;
  return (
    <main class="diff" id="main" tabIndex={-1}>
      <div class="bar run-bar">
        <h1>Compare</h1>
        <RunName runKey={left} />
        <a class="swap" href={diffPath(right, left)} title="Swap sides" aria-label="Swap sides">
          ⇄
        </a>
        <RunName runKey={right} />
        <span class="grow" />
        {page === undefined ? null : <Counts page={page} />}
      </div>
      {problem === undefined ? null : <ProblemBox problem={problem} />}
      {page === undefined ? (
        problem === undefined ? (
          <p class="empty">Reading…</p>
        ) : null
      ) : (
        <Pairs pairs={pairs} page={page} address={address} />
      )}
    </main>
  );
}

function RunName({ runKey }: { runKey: RunKey }): VNode {
  const run = useMemo(() => load((signal) => get<RunDetail>(runApi(runKey), signal)), []);
  useEffect(() => () => run.stop(), [run]);
  const detail = run.value.value;
  return (
    <span class="run-name">
      <a class="mono" href={runPath(runKey)}>
        {visible(`${runKey.namespace}/${runKey.name}`)}
      </a>
      {detail === undefined ? null : (
        <>
          <State state={detail.phase} />
          <span class="muted num">{grouped(detail.tokens.used)} tokens</span>
        </>
      )}
    </span>
  );
}

function Counts({ page: { counts, different } }: { page: DiffPage }): VNode {
  if (different.length === 0)
    return (
      <span class="same" role="status">
        The same, step by step ({plural(counts.Same + counts.Alike, "step")}
        {counts.Alike > 0 ? ", but for what the provider makes anew" : ""})
      </span>
    );
  const parts = (["Changed", "OnlyA", "OnlyB", "Alike", "Same"] as const).filter((verdict) => counts[verdict] > 0);
  return (
    <span class="muted" role="status">
      {parts.map((verdict) => `${grouped(counts[verdict])} ${verdicts[verdict].text}`).join(" · ")}
    </span>
  );
}

function Pairs({ pairs, page, address }: { pairs: Paged<DiffPage, DiffRow>; page: DiffPage; address: string }): VNode {
  const onlyDifferent = selection.value["only"] === "different";
  const { different } = page;
  const first = different[0];
  const chosen = Number(selection.value["pair"] ?? first ?? 0);
  const count = onlyDifferent ? different.length : page.total;
  const pairAt = (row: number) => (onlyDifferent ? (different[row] ?? 0) : row);
  const active = onlyDifferent ? different.indexOf(chosen) : chosen;
  const choose = (pair: number | undefined) => {
    if (pair !== undefined) select({ pair: String(pair) });
  };
  const next = different.find((pair) => pair > chosen);
  const previous = different.findLast((pair) => pair < chosen);
  return (
    <div class="diff-panes">
      <section class="pane" aria-label="Steps of both runs">
        <div class="pane-head">
          <h2>Steps</h2>
          <div class="segments" role="group" aria-label="Show">
            <button type="button" aria-pressed={!onlyDifferent} onClick={() => select({ only: undefined })}>
              All
            </button>
            <button type="button" aria-pressed={onlyDifferent} onClick={() => select({ only: "different" })}>
              Different
            </button>
          </div>
          <button type="button" disabled={first === undefined} onClick={() => choose(first)}>
            First divergence
          </button>
          <button type="button" class="quiet" disabled={previous === undefined} onClick={() => choose(previous)}>
            ↑ Previous
          </button>
          <button type="button" class="quiet" disabled={next === undefined} onClick={() => choose(next)}>
            ↓ Next
          </button>
        </div>
        <VirtualList
          id="pairs"
          label="Pairs of steps"
          columns="pair-columns"
          head={["#", "Node", "Step", "State", "Tokens", "Time", "", "Time ", "Tokens ", "State ", "Step ", "# "]}
          count={count}
          rowHeight={28}
          active={active}
          onActive={(row) => choose(pairAt(row))}
          onOpen={() => document.getElementById("differences")?.focus()}
          rowClass={(row) =>
            `${pairs.at(pairAt(row))?.verdict ?? ""} ${pairAt(row) === first ? "first-divergence" : ""}`
          }
          row={(row) => <PairCells pair={pairs.at(pairAt(row))} isFirst={pairAt(row) === first} />}
          empty={onlyDifferent ? "No step differs." : "Neither run has recorded a step."}
        />
      </section>
      <Differences
        key={page.total === 0 ? "none" : chosen}
        address={`${address}&index=${chosen}`}
        isFirst={chosen === first}
        none={page.total === 0}
      />
    </div>
  );
}

function PairCells({ pair, isFirst }: { pair: DiffRow | undefined; isFirst: boolean }): VNode {
  if (pair === undefined) return <Cell class="muted">…</Cell>;
  const { left, right, verdict } = pair;
  const { sign, text } = verdicts[verdict];
  return (
    <>
      <Cell class="num muted">{left?.number ?? ""}</Cell>
      <Cell class="first">
        <Name text={(left ?? right)?.node ?? ""} />
      </Cell>
      <Cell class="clip">{left === undefined ? "" : <What step={left} />}</Cell>
      <Cell>{left === undefined ? "" : <State state={left.state} />}</Cell>
      <Cell class="num">{tokensOf(left)}</Cell>
      <Cell class="num muted">{timeOf(left)}</Cell>
      <Cell class="verdict">
        <span class="sign" title={isFirst ? `${text}, the first divergence` : text}>
          <span aria-hidden="true">{sign}</span>
          <span class="hidden">{isFirst ? `${text}, the first divergence` : text}</span>
        </span>
      </Cell>
      <Cell class="num muted">{timeOf(right)}</Cell>
      <Cell class="num">{tokensOf(right)}</Cell>
      <Cell>
        {right === undefined ? "" : <State state={right.state} note={right.reused ? "recorded" : undefined} />}
      </Cell>
      <Cell class="clip">{right === undefined ? "" : <What step={right} />}</Cell>
      <Cell class="num muted">{right?.number ?? ""}</Cell>
    </>
  );
}

function What({ step }: { step: StepSummary }): VNode {
  return (
    <>
      <span class="muted">{step.kind}</span> <Name text={step.name} />
    </>
  );
}

function tokensOf(step: StepSummary | undefined): string {
  const tokens = step?.tokens ?? undefined;
  return tokens === undefined ? "" : grouped(tokens);
}

function timeOf(step: StepSummary | undefined): string {
  return step === undefined ? "" : elapsed(Date.parse(step.completedAt) - Date.parse(step.startedAt));
}
