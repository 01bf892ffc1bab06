/** In what one pair of steps differs, field by field. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Json } from "../../core/digest/json.ts";
import type { DiffDetail, DiffRow, StepSummary } from "../wire.ts";
import { get } from "./client.ts";
import { grouped, visible } from "./format.ts";
import { JsonView } from "./json-view.tsx";
import { load } from "./load.ts";
import { ProblemBox } from "./parts.tsx";
import { changedText } from "./text-change.ts";
import { verdicts } from "./verdicts.ts";

/** Of one own text; more is shown when asked for. */
const ownShown = 1_500;

export function Differences({ address, isFirst, none }: { address: string; isFirst: boolean; none: boolean }): VNode {
  const detail = useMemo(() => (none ? undefined : load((signal) => get<DiffDetail>(address, signal))), []);
  useEffect(() => () => detail?.stop(), []);
  const found = detail?.value.value;
  const problem = detail?.problem.value;
  return (
    <section class="pane" aria-label="What differs">
      <div class="pane-head">
        <h2>{isFirst ? "First divergence" : "Pair"}</h2>
        {found === undefined ? null : <PairTitle row={found.row} />}
      </div>
      <div class="side-body" id="differences" tabIndex={-1}>
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
