/** One step whole: what went in, what came out, what was called. */
import { useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import type { RunKey, StepDetail } from "../wire.ts";
import { get } from "./client.ts";
import { elapsed, grouped, visible } from "./format.ts";
import { JsonView, Text } from "./json-view.tsx";
import { load } from "./load.ts";
import { Section } from "./panels.tsx";
import { CopyButton, Facts, ProblemBox, State } from "./parts.tsx";
import { ReplayButton } from "./replay.tsx";
import { runApi } from "./route.ts";

interface Props {
  readonly runKey: RunKey;
  readonly id: string;
  readonly canReplay: boolean;
  readonly onReplayed: (key: RunKey) => void;
  readonly onClose: () => void;
}

export function StepPanel({ runKey, id, canReplay, onReplayed, onClose }: Props): VNode {
  const whole = useSignal(false);
  const step = useMemo(() => {
    const query = new URLSearchParams({ id, ...(whole.value ? { whole: "true" } : {}) });
    return load((signal) => get<StepDetail>(`${runApi(runKey)}/step?${query.toString()}`, signal));
  }, [id, whole.value]);
  useEffect(() => () => step.stop(), [step]);
  const detail = step.value.value;
  const problem = step.problem.value;
  const number = detail?.summary.number ?? undefined;
  const title = number === undefined ? "Step" : `Step ${number}`;
  return (
    <>
      <div class="pane-head">
        <h2>{title}</h2>
        <span class="grow" />
        {detail === undefined ? null : (
          <CopyButton
            label={isCut(detail.row.input) ? "Copy what is shown" : "Copy JSON"}
            text={() => JSON.stringify(detail.row, undefined, 2)}
          />
        )}
        {canReplay && number !== undefined ? (
          <ReplayButton runKey={runKey} fromStep={number} onReplayed={onReplayed} />
        ) : null}
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      <div class="side-body" id="step-panel" tabIndex={-1}>
        {problem === undefined ? null : <ProblemBox problem={problem} />}
        {detail === undefined ? (
          problem === undefined ? (
            <p class="empty">Reading…</p>
          ) : null
        ) : (
          <StepBody detail={detail} onWhole={() => (whole.value = true)} />
        )}
      </div>
    </>
  );
}

function StepBody({ detail: { row, dropped }, onWhole }: { detail: StepDetail; onWhole: () => void }): VNode {
  const usage = row.token_usage;
  return (
    <>
      <Facts
        facts={[
          ["Node", <span class="mono">{visible(row.node)}</span>],
          ["State", <State state={row.state} />],
          ["Kind", `${row.kind} ${visible(row.name)}`],
          ["Took", `${elapsed(Date.parse(row.timestamp) - Date.parse(row.started_at))}, ended ${row.timestamp}`],
          ...(usage === null
            ? []
            : [
                [
                  "Tokens",
                  `${grouped(usage.input)} in, ${grouped(usage.output)} out; ${grouped(usage.counted.total)} counted`,
                ] as const,
              ]),
          ...(row.attempt > 1 || row.try > 1 ? [["Attempt", `${row.attempt}, try ${row.try}`] as const] : []),
          ["Path", <span class="mono">{row.path === "" ? "–" : row.path}</span>],
          ["Key", <span class="mono digest">{row.step_key === "" ? "–" : visible(row.step_key)}</span>],
          ["Entry", <span class="mono digest">sha256:{row.hash}</span>],
        ]}
      />
      {dropped ? (
        <p class="notice">The contents were not kept (recording.content: DigestOnly): only digests are left.</p>
      ) : null}
      {row.error === null ? null : (
        <Section title="Error">
          <p class="bad">
            <b>{visible(row.error.class)}</b> <Text text={row.error.message} />
          </p>
        </Section>
      )}
      {row.output === null ? null : (
        <Section title="Output">
          <Message value={row.output} />
        </Section>
      )}
      {row.tool_calls.length === 0 ? null : (
        <Section title="Tool calls">
          {row.tool_calls.map((call, index) => (
            <div key={index} class="call">
              <span class="mono">{visible(call.name)}</span> <JsonView value={call.arguments} />
            </div>
          ))}
        </Section>
      )}
      <Input value={row.input} onWhole={onWhole} />
    </>
  );
}

function Input({ value, onWhole }: { value: Json; onWhole: () => void }): VNode | null {
  if (!isObject(value) || !Array.isArray(value["messages"])) {
    return value === null ? null : (
      <Section title="Input">
        <JsonView value={value} />
      </Section>
    );
  }
  const { messages, ...header } = value;
  return (
    <>
      <Section title="Messages" more={<span class="muted">{grouped((messages as readonly Json[]).length)}</span>}>
        <ol class="messages">
          {(messages as readonly Json[]).map((message, index) => (
            <li key={index}>
              {isOmitted(message) ? (
                <button type="button" class="fold" onClick={onWhole}>
                  … {grouped(message.omitted_messages)} messages more: show all
                </button>
              ) : (
                <Message value={message} />
              )}
            </li>
          ))}
        </ol>
      </Section>
      <Section title="Request">
        <JsonView value={header} depth={1} />
      </Section>
    </>
  );
}

/** Those with a colour of their own. */
const roles: ReadonlySet<string> = new Set(["assistant", "tool"]);

/** A chat message as a person reads it; anything else as JSON. */
function Message({ value }: { value: Json }): VNode {
  if (typeof value === "string") {
    return (
      <div class="message">
        <Text text={value} />
      </div>
    );
  }
  if (!isObject(value) || typeof value["content"] !== "string") return <JsonView value={value} />;
  const { role, content, ...rest } = value;
  const isOnlyText = Object.keys(rest).length === 0;
  return (
    <div class="message">
      {typeof role === "string" ? <span class={`role ${roles.has(role) ? role : ""}`}>{visible(role)}</span> : null}
      {content === "" ? null : <Text text={content} />}
      {isOnlyText ? null : <JsonView value={rest} depth={1} />}
    </div>
  );
}

function isObject(value: Json): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isCut(input: Json): boolean {
  const messages = isObject(input) ? input["messages"] : undefined;
  return Array.isArray(messages) && (messages as readonly Json[]).some(isOmitted);
}

function isOmitted(value: Json): value is { readonly omitted_messages: number } {
  return isObject(value) && typeof value["omitted_messages"] === "number" && Object.keys(value).length === 1;
}
