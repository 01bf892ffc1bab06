/** Two runs side by side: which steps are the same, where they first part, and in what a pair differs. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Json } from "../../core/digest/json.ts";
import type {
  DiffDetail,
  DiffPage,
  DiffRow,
  DiffVerdict,
  RunDetail,
  RunKey,
  ServerEvent,
  StepSummary,
} from "../wire.ts";
import { get } from "./client.ts";
import { elapsed, grouped, plural, visible } from "./format.ts";
import { JsonView } from "./json-view.tsx";
import { follow, load } from "./load.ts";
import { Paged } from "./paged.ts";
import { Name, ProblemBox, State } from "./parts.tsx";
import { diffPath, runApi, runPath, select, selection } from "./route.ts";
import { changedText } from "./text-change.ts";
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

const verdicts: Readonly<Record<DiffVerdict, { readonly sign: string; readonly text: string }>> = {
  Same: { sign: "=", text: "same" },
  Alike: { sign: "≈", text: "same but for the provider's ids" },
  Changed: { sign: "≠", text: "changed" },
  OnlyA: { sign: "−", text: "only left" },
  OnlyB: { sign: "+", text: "only right" },
};

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
        key={chosen}
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

function Differences({ address, isFirst, none }: { address: string; isFirst: boolean; none: boolean }): VNode {
  const detail = useMemo(() => (none ? undefined : load((signal) => get<DiffDetail>(address, signal))), []);
  useEffect(() => () => detail?.stop(), []);
  const found = detail?.value.value;
  const problem = detail?.problem.value;
  const body = useRef<HTMLDivElement>(null);
  return (
    <section class="pane" aria-label="What differs">
      <div class="pane-head">
        <h2>{isFirst ? "First divergence" : "Pair"}</h2>
        {found === undefined ? null : <PairTitle row={found.row} />}
      </div>
      <div class="side-body" id="differences" ref={body} tabIndex={-1}>
        {problem === undefined ? null : <ProblemBox problem={problem} />}
        {found === undefined ? null : <DifferenceList detail={found} />}
      </div>
    </section>
  );
}

function PairTitle({ row: { left, right, verdict } }: { row: DiffRow }): VNode {
  const number = (step: StepSummary | undefined) =>
    step === undefined ? "none" : step.number === null ? step.path : `step ${step.number}`;
  return (
    <span class="muted">
      <span class="mono">{visible((left ?? right)?.node ?? "")}</span> · {number(left)} ↔ {number(right)} ·{" "}
      {verdicts[verdict].text}
    </span>
  );
}

function DifferenceList({ detail: { row, differences, since } }: { detail: DiffDetail }): VNode {
  if (row.verdict === "Same")
    return <p class="muted">Both steps are the same: request, answer, tool calls and tokens.</p>;
  if (row.verdict !== "Changed" && row.verdict !== "Alike")
    return <p class="muted">This step is {verdicts[row.verdict].text}: the other run has none at its place.</p>;
  return (
    <>
      {row.verdict === "Alike" ? (
        <p class="muted">Only ids and metadata differ that the provider makes anew for each answer.</p>
      ) : null}
      {since === undefined ? null : (
        <p class="notice">
          Earlier messages of this request differ too, since step {since} of the left run; they are shown there.
        </p>
      )}
      {differences
        .toSorted((a, b) => placeOf(a.path) - placeOf(b.path))
        .map(({ path, left, right }) => (
          <Field key={path} path={path} left={left} right={right} />
        ))}
      {differences.length === 0 && since === undefined ? (
        <p class="muted">Only digests differ; the contents were not kept.</p>
      ) : null}
    </>
  );
}

/** What was asked, then what was answered, then what it cost. */
const order = ["$.state", "$.error", "$.input", "$.tool_calls", "$.output", "$.token_usage"];

function placeOf(path: string): number {
  const place = order.findIndex((start) => path.startsWith(start));
  return place < 0 ? 0 : place;
}

function Field({ path, left, right }: { path: string; left: Json | undefined; right: Json | undefined }): VNode {
  const isText = typeof left === "string" && typeof right === "string";
  const parts = isText ? changedText(left, right) : undefined;
  return (
    <div class="field">
      <div class="field-path mono">{visible(path)}</div>
      <div class="sides">
        <div class="value removed">{parts === undefined ? <Value value={left} /> : <Changed parts={parts.left} />}</div>
        <div class="value added">{parts === undefined ? <Value value={right} /> : <Changed parts={parts.right} />}</div>
      </div>
    </div>
  );
}

function Value({ value }: { value: Json | undefined }): VNode {
  return value === undefined ? <span class="muted">(absent)</span> : <JsonView value={value} />;
}

/** What both sides share, and between that what is this side's own. */
function Changed({ parts: [before, own, after] }: { parts: readonly [string, string, string] }): VNode {
  const isLong = useSignal(own.length > ownShown);
  return (
    <span class="text">
      <span class="muted">{before}</span>
      <mark>{isLong.value ? own.slice(0, ownShown) : own}</mark>
      {isLong.value ? (
        <button type="button" class="fold" onClick={() => (isLong.value = false)}>
          … show all {grouped(own.length)} characters
        </button>
      ) : (
        <span class="muted">{after}</span>
      )}
    </span>
  );
}

const ownShown = 1_500;
