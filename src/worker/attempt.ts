/** From an order to a claimed, resumed, watched attempt: everything a node's work needs, and how it is put away. */
import type { FinallySpec, ModelSpec, NodeSpec } from "../api/execution.ts";
import type { ToolSpec } from "../api/tool.ts";
import { OaoError, PolicyViolationError } from "../core/errors/errors.ts";
import { auditLimitMessage, stopText } from "../core/policy/messages.ts";
import { executionLimits, nodeLimits } from "../core/policy/limits.ts";
import type { EffectivePolicy } from "../core/policy/types.ts";
import { redactor } from "../core/policy/redact.ts";
import { plannedSpec } from "../core/replay/strict.ts";
import { itemName } from "../core/protocol/names.ts";
import type { EntryDraft } from "../core/steps/chain.ts";
import type { Finished, Snapshot } from "../core/steps/format.ts";
import type { Clock } from "../ports/clock.ts";
import type { WorkerExit, WorkerOrder } from "../ports/cluster.ts";
import type { JournalStore } from "../ports/store.ts";
import type { Tool } from "../ports/tool.ts";
import { BodyReader } from "./body-reader.ts";
import { Lease } from "./lease.ts";
import { Lifeline } from "./lifeline.ts";
import type { NodeContext } from "./node-context.ts";
import { iso } from "./recorder.ts";
import { readReuse } from "./reuse.ts";
import { Session } from "./session.ts";
import { checkSameProgram, checkSameTools, type Program, startDraft } from "./start-entry.ts";
import { readHistory, readSnapshot } from "./stored-attempt.ts";

export interface AttemptIo extends Program {
  readonly store: JournalStore;
  /** Ends the attempt from outside (SIGTERM, the parent's death). */
  readonly terminate: AbortSignal;
  readonly leaseTtlMs: number;
  readonly heartbeatIntervalMs: number;
  readonly suspendGraceMs: number;
  /** Told once: what the node needs is loaded, its work begins. */
  readonly ready?: () => void;
  /** Builds the tools a node may call; throws OAO_INVALID_SPEC, OAO_MISSING_SECRET. */
  readonly createTools: (specs: readonly ToolSpec[], snapshot: Snapshot) => Promise<ReadonlyMap<string, Tool>>;
  readonly apiKey: (model: ModelSpec) => string | undefined;
  /** What model clients send with; absent = the runtime's own fetch. */
  readonly modelFetch?: (policy: EffectivePolicy) => Promise<typeof globalThis.fetch>;
  /** Every known secret value out of a text. */
  readonly mask: (text: string) => string;
  readonly log: (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;
}

export interface Attempt {
  readonly context: NodeContext;
  readonly snapshot: Snapshot;
  readonly node: NodeSpec & FinallySpec;
  /** Makes the node's tools. Throws OAO_INVALID_SPEC, OAO_MISSING_SECRET, and OAO_SNAPSHOT_MISMATCH for tools or code of OAO other than the first attempt's. */
  prepare(): Promise<void>;
  close(): Promise<void>;
}

/** A module's own top-level code holds the thread for this long at most, as its loader sees to where it can. */
const moduleLoadMs = 30_000;
/** Of an error's message in the journal. */
const messageUnitsMax = 4_096;

/** J2. Claim, read and check the journal, start the lease. `exit` = there is nothing left to do. */
export async function openAttempt(order: WorkerOrder, io: AttemptIo): Promise<Attempt | { exit: WorkerExit }> {
  const snapshot = await readSnapshot(order, io.store);
  const { nodes, finally: last = [] } = plannedSpec(snapshot);
  const node = [...nodes, ...last].find((candidate) => candidate.name === order.node);
  if (node === undefined) throw new OaoError("OAO_SNAPSHOT_MISMATCH", `the snapshot has no node ${order.node}`);
  const execution = executionLimits(snapshot.policy);
  const own = nodeLimits(snapshot.policy, node);
  const redact = redactor(snapshot.policy.recording.redact, io.mask);
  const waiting: EntryDraft[] = [];
  const audited = new Set<string>();
  const audit = (message: string, path: string): void => {
    waiting.push(auditDraft(order, io.clock, message, path));
    audited.add(message);
  };
  const auditPassed = (limit: string): void => {
    audit(auditLimitMessage(limit, snapshot.policy.limitNames), limit);
  };
  const lease = new Lease(io.leaseTtlMs, io.heartbeatIntervalMs, io.clock);
  const toolSpecs = toolsOf(snapshot, node);
  const loaded = toolSpecs.some((tool) => tool.module !== undefined) ? lease.lend(moduleLoadMs) : () => undefined;
  let lifeline: Lifeline | undefined;
  const session = new Session({
    store: io.store,
    clock: io.clock,
    uid: order.uid,
    key: order,
    attempt: order.attempt,
    try: order.try,
    phase: order.phase,
    ...own,
    known: order.known,
    lease,
    signal: io.terminate,
    onReply: (control, crossed) => {
      lifeline?.observe(control);
      for (const limit of crossed) auditPassed(limit);
    },
  });
  const claimed = await session.claim();
  if ("finished" in claimed)
    return { exit: (JSON.parse(claimed.finished) as Finished).outcome === "Succeeded" ? "done" : "failed" };
  const { history, outputs } = await readHistory(order, io.store, session.length);
  const uids = [order.uid, ...(snapshot.replay?.lineage ?? [])];
  const bodies = (ahead: readonly string[]) => new BodyReader(io.store, uids, ahead);
  const reused = await readReuse(snapshot, order, io.store, bodies);
  session.resumeAt(history.stepCount + (reused?.reference?.steps ?? 0));
  for (const message of history.audited) audited.add(message);
  const live: { tool?: string; tokens?: number } = {};
  lifeline = new Lifeline({
    ...io,
    lease,
    uid: order.uid,
    identity: session.identity,
    phase: order.phase,
    live: () => JSON.stringify(live),
  });
  lifeline.observe(claimed.control);
  const line = lifeline;
  const onTerminate = (): void => line.terminate(String(io.terminate.reason ?? "the process was asked to end"));
  io.terminate.addEventListener("abort", onTerminate, { once: true });
  if (io.terminate.aborted) onTerminate();
  const endLifeline = await line.start();
  let tools: ReadonlyMap<string, Tool> = new Map();
  let nonIdempotent = history.madeNonIdempotentCall;
  const context: NodeContext = {
    uid: order.uid,
    key: order,
    item: itemName(order),
    attempt: order.attempt,
    try: order.try,
    predecessorMayLive: order.predecessorMayLive === true,
    answers: order.answers ?? {},
    session,
    history,
    bodies: bodies([...(reused?.outputs ?? []), ...outputs]),
    reused,
    policy: snapshot.policy,
    accountLimits: [execution.limits, own.limits],
    clock: io.clock,
    stop: line.signal,
    settled: () => line.settled(),
    redact,
    maskText: (text) => io.mask(text).slice(0, messageUnitsMax).toWellFormed(),
    budgetViolation: (stop) => {
      const { message, path } = stopText(stop, own.limitNames);
      return new PolicyViolationError(message, path);
    },
    tool: (name) => {
      const tool = tools.get(name);
      if (tool === undefined)
        throw new OaoError(
          "OAO_INVALID_SPEC",
          `node ${order.node} may not call tool ${name}: it is not in its agent's tools`,
        );
      return tool;
    },
    lend: (timeoutMs) => lease.lend(timeoutMs),
    showLive: (shown) => {
      delete live.tool;
      delete live.tokens;
      Object.assign(live, shown);
    },
    waiting,
    audit,
    audited,
    auditPassed,
    values: new Map(),
    callCounts: new Map(),
    noteNonIdempotentCall: () => {
      nonIdempotent = true;
    },
    madeNonIdempotentCall: () => nonIdempotent,
    log: io.log,
  };
  return {
    context,
    snapshot,
    node,
    prepare: async () => {
      try {
        tools = await io.createTools(toolSpecs, snapshot);
      } finally {
        loaded();
        waiting.unshift(startDraft(order, io, tools, reused?.reference));
      }
      checkSameProgram(history.firstStart, io);
      checkSameTools(history.firstStart?.tools, tools);
    },
    close: async () => {
      io.terminate.removeEventListener("abort", onTerminate);
      await endLifeline();
    },
  };
}

/** Only the tools this node can reach: it gets no other secrets and loads no other code. */
function toolsOf(snapshot: Snapshot, node: NodeSpec): ToolSpec[] {
  const agent = snapshot.spec.agents?.find((candidate) => candidate.name === node.agent?.ref);
  const names = new Set([...(agent?.tools ?? []), ...(node.tool === undefined ? [] : [node.tool.ref])]);
  return (snapshot.spec.tools ?? []).filter((tool) => names.has(tool.name));
}

function auditDraft(order: WorkerOrder, clock: Clock, message: string, path: string): EntryDraft {
  return {
    type: "violation",
    attempt: order.attempt,
    try: order.try,
    enforcement: "Audit",
    message,
    path,
    at: iso(clock.nowMs()),
  };
}
