/** Small pieces that several views show. */
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Problem, RunSummary, TokenSummary } from "../wire.ts";
import { grouped, visible } from "./format.ts";

/** A state's sign, colour and word. */
export function State({ state, note }: { state: string; note?: string | undefined }): VNode {
  return (
    <span class={`state ${state}`}>
      <span class="dot" aria-hidden="true" />
      {state}
      {note === undefined ? null : <span class="muted"> {note}</span>}
    </span>
  );
}

/** `1,234 of 50,000`, with a bar where there is a limit. */
export function Tokens({ tokens: { used, lost, limit } }: { tokens: TokenSummary }): VNode {
  const spent = used + lost;
  return (
    <span class="tokens">
      <span>
        <b>{grouped(used)}</b>
        {limit === undefined ? null : ` of ${grouped(limit)}`} tokens{lost === 0 ? "" : `, ${grouped(lost)} lost`}
      </span>
      {limit === undefined || limit === 0 ? null : (
        <Meter value={spent / limit} label={`${grouped(spent)} of ${grouped(limit)} tokens spent`} />
      )}
    </span>
  );
}

/** How many nodes are in which state, as one bar. */
export function NodeBar({
  counts,
  total,
  label,
}: {
  counts: RunSummary["nodeCounts"];
  total: number;
  label: string;
}): VNode {
  const order = [
    "Succeeded",
    "Failed",
    "Cancelled",
    "Running",
    "Starting",
    "Retrying",
    "AwaitingApproval",
    "Skipped",
  ] as const;
  return (
    <span class="meter node-bar" role="img" aria-label={label} title={label}>
      {order.map((state) =>
        counts[state] === undefined ? null : (
          <span
            key={state}
            class={`part ${state}`}
            style={{ width: `${(counts[state] / Math.max(1, total)) * 100}%` }}
          />
        ),
      )}
    </span>
  );
}

/** `value` from 0 to 1. */
export function Meter({ value, label }: { value: number; label: string }): VNode {
  const share = Math.min(1, Math.max(0, value));
  const level = share >= 1 ? "full" : share >= 0.8 ? "high" : "";
  return (
    <span
      class="meter"
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
      title={label}
    >
      <span class={`fill ${level}`} style={{ width: `${share * 100}%` }} />
    </span>
  );
}

export function ProblemBox({ problem, children }: { problem: Problem; children?: ComponentChildren }): VNode {
  return (
    <div class="problem" role="alert">
      <b>{problem.title}</b>
      <p>{problem.detail}</p>
      {(problem.hints ?? []).map((hint) => (
        <p key={hint} class="mono">
          {hint}
        </p>
      ))}
      {children}
    </div>
  );
}

export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ComponentChildren])[] }): VNode {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function CopyButton({ text, label }: { text: () => string; label: string }): VNode {
  const [said, setSaid] = useState("");
  const copy = () =>
    navigator.clipboard.writeText(text()).then(
      () => setSaid("Copied"),
      () => setSaid("Not allowed"),
    );
  useEffect(() => {
    if (said === "") return;
    const timer = setTimeout(() => setSaid(""), 1_500);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <button type="button" class="quiet" onClick={() => void copy()}>
      <span aria-live="polite">{said === "" ? label : said}</span>
    </button>
  );
}

/** A name from a manifest or a model, on one line. */
export function Name({ text }: { text: string }): VNode {
  const shown = visible(text);
  return (
    <span class="mono" title={shown}>
      {shown}
    </span>
  );
}

/** The time now, so that ages and durations go on: once a second while something is at work, else once a minute. */
export function useNow(isBusy: boolean): number {
  const [nowMs, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), isBusy ? 1_000 : 60_000);
    return () => clearInterval(timer);
  }, [isBusy]);
  return nowMs;
}
