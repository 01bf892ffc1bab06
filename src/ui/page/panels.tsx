/** What is known of a run or a node as a whole. */
import type { ComponentChildren, VNode } from "preact";
import type { Json } from "../../core/digest/json.ts";
import type { ReplayStatus } from "../../api/status.ts";
import type { GraphNodeInfo, NodeRow, RunDetail, RunKey } from "../wire.ts";
import { between, grouped, visible } from "./format.ts";
import { JsonView, Text } from "./json-view.tsx";
import { Facts, State, useNow } from "./parts.tsx";
import { diffPath, runPath, select } from "./route.ts";

export function Section({
  title,
  children,
  more,
}: {
  title: string;
  children: ComponentChildren;
  more?: ComponentChildren;
}): VNode {
  return (
    <section class="section">
      <h3>
        {title} {more}
      </h3>
      {children}
    </section>
  );
}

export function RunPanel({ run }: { run: RunDetail }): VNode {
  const { usage } = run;
  const open = run.approvals.filter(({ decision }) => decision === undefined);
  return (
    <>
      <div class="pane-head">
        <h2>Run</h2>
      </div>
      <div class="side-body">
        {run.reason === undefined ? null : (
          <Section title="Reason">
            <p class={run.phase === "Failed" ? "bad" : "warn"}>
              <Text text={run.reason} />
            </p>
          </Section>
        )}
        {open.map(({ request, node, message }) => (
          <Section key={request} title="Waits for an answer">
            <p>
              <b>{visible(node)}</b> asks: <Text text={message} />
            </p>
            <p class="mono command">
              oao approve {run.namespace === "default" ? "" : `-n ${run.namespace} `}
              {visible(run.name)} {visible(request)}
            </p>
          </Section>
        ))}
        {run.replay === undefined ? null : <Replay run={run} replay={run.replay} />}
        <Section title="Task">
          <p>
            <Text text={run.task} />
          </p>
        </Section>
        {run.result === undefined ? null : (
          <Section title="Result">
            <ResultPreview text={run.result} />
          </Section>
        )}
        <Section title="Use">
          <Facts
            facts={[
              ["Model calls", grouped(usage.modelCalls)],
              ["Tool calls", grouped(usage.toolCalls)],
              ["Input tokens", grouped(usage.input)],
              ["Output tokens", grouped(usage.output)],
              ["Policies", run.policies.length === 0 ? "none" : run.policies.map(visible).join(", ")],
            ]}
          />
        </Section>
        {run.conditions.length === 0 ? null : (
          <Section title="Conditions">
            <Facts
              facts={run.conditions.map(({ type, status, reason, message }) => [
                type,
                <span title={visible(message)}>
                  {status} <span class="muted">{visible(reason)}</span>
                </span>,
              ])}
            />
          </Section>
        )}
        <Section title="Digests">
          <Facts
            facts={run.facts.map(({ name, value }) => [name, <span class="mono digest">{visible(value)}</span>])}
          />
        </Section>
      </div>
    </>
  );
}

function Replay({ run, replay }: { run: RunDetail; replay: ReplayStatus }): VNode {
  const parent = run.replayOf === undefined ? undefined : { namespace: run.namespace, name: run.replayOf };
  const cursor = replay.fromStep === undefined ? "" : ` from step ${replay.fromStep}`;
  return (
    <Section title="Replay">
      <Facts
        facts={[
          [
            "Of",
            parent === undefined ? (
              <span class="mono digest">{replay.parentUID}</span>
            ) : (
              <Parent run={run} parent={parent} />
            ),
          ],
          ["Mode", replay.mode + cursor],
          ...(replay.reusedSteps === undefined ? [] : [["Steps", stepsText(replay)] as const]),
          ...divergence(replay.divergedAt),
        ]}
      />
    </Section>
  );
}

function Parent({ run, parent }: { run: RunKey; parent: RunKey }): VNode {
  return (
    <>
      <a href={runPath(parent)}>{visible(parent.name)}</a> · <a href={diffPath(parent, run)}>Compare</a>
    </>
  );
}

function stepsText({ reusedSteps = 0, liveSteps = 0, patchedSteps = 0 }: ReplayStatus): string {
  const patched = patchedSteps === 0 ? "" : `, ${grouped(patchedSteps)} patched`;
  return `${grouped(reusedSteps)} from the record, ${grouped(liveSteps)} made${patched}`;
}

function divergence(at: ReplayStatus["divergedAt"]): (readonly [string, VNode])[] {
  if (at === undefined) return [];
  const place = `${visible(at.node)}${at.step === undefined ? "" : `, step ${at.step}`}`;
  return [
    [
      "Diverged at",
      <span class="bad">
        {place} <span class="mono">{visible(at.field)}</span>
      </span>,
    ],
    ["Recorded", <Text text={at.recorded ?? "–"} />],
    ["Replayed", <Text text={at.replayed ?? "–"} />],
  ];
}

/** JSON that may have been cut. */
function ResultPreview({ text }: { text: string }): VNode {
  try {
    const value: Json = JSON.parse(text);
    return typeof value === "string" ? <Text text={value} /> : <JsonView value={value} />;
  } catch {
    return <Text text={text} />;
  }
}

export function NodePanel({
  node,
  row,
  onClose,
}: {
  node: GraphNodeInfo;
  row: NodeRow | undefined;
  onClose: () => void;
}): VNode {
  const nowMs = useNow(row?.completedAt === undefined && row?.startedAt !== undefined);
  return (
    <>
      <div class="pane-head">
        <h2>
          Node <span class="mono">{visible(node.name)}</span>
        </h2>
        <span class="grow" />
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      <div class="side-body">
        {row?.reason === undefined ? null : (
          <Section title="Reason">
            <p class={row.state === "Failed" ? "bad" : "warn"}>
              <Text text={row.reason} />
            </p>
          </Section>
        )}
        <Section title="State">
          <Facts
            facts={[
              ["State", <State state={row?.state ?? "Pending"} note={row?.doing} />],
              ["Runs", `${node.kind}${node.runs === node.kind ? "" : ` ${visible(node.runs)}`}`],
              ["Steps", grouped(row?.steps ?? 0)],
              ["Attempt", `${row?.attempt || 1}${(row?.try ?? 1) > 1 ? `, try ${row?.try}` : ""}`],
              ["Time", between(row?.startedAt, row?.completedAt, nowMs) || "–"],
              ...(row?.items === undefined ? [] : [["Items", `${row.items.done} of ${row.items.count} done`] as const]),
              ...(node.isFinally ? [["Runs when", "all other nodes have ended (finally)"] as const] : []),
              ...(node.when === undefined ? [] : [["When", <code>{visible(node.when)}</code>] as const]),
              ...(node.forEach === undefined ? [] : [["For each", <code>{visible(node.forEach)}</code>] as const]),
            ]}
          />
        </Section>
        <Section title="Waits for">
          {node.dependsOn.length === 0 ? (
            <p class="muted">nothing</p>
          ) : (
            <ul class="names">
              {node.dependsOn.slice(0, 100).map((name) => (
                <li key={name}>
                  <button type="button" class="link mono" onClick={() => select({ node: name })}>
                    {visible(name)}
                  </button>
                </li>
              ))}
            </ul>
          )}
        </Section>
      </div>
    </>
  );
}
