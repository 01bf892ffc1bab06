/** What is known about a run at one moment, gathered once for every way of showing it. */
import type { NodeState } from "../../api/status.ts";
import { itemName } from "../../core/protocol/names.ts";
import type { Account, ItemRecord, NodeKey } from "../../core/protocol/types.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { JournalStore } from "../../ports/store.ts";

/** Of a node or item at work, from its last heartbeat. */
export interface LiveFigures {
  readonly steps: number;
  /** Charged by this attempt so far. */
  readonly tokens: number;
  readonly tool?: string | undefined;
  /** Tokens of the answer that is being written now. */
  readonly writing?: number | undefined;
}

export interface TokenFigures {
  /** Of recorded calls: `usage.totalTokens` in the status. */
  readonly recorded: number;
  /** Paid for calls whose answer was lost with their process: `usage.lostTokens`. A budget counts both. */
  readonly lost: number;
  readonly limit: number | undefined;
}

export interface RunView {
  readonly run: StoredExecution;
  readonly tokens: TokenFigures | undefined;
  /** By item name. */
  readonly live: ReadonlyMap<string, LiveFigures>;
  readonly nowMs: number;
}

const atWork: readonly NodeState[] = ["Starting", "Running"];
/** More could not be shown anyway. */
const liveItemsMax = 60;

/** Reads the account and the live figures of what is at work. A store that does not answer leaves them out. */
export async function readView(run: StoredExecution, store: JournalStore | undefined, nowMs: number): Promise<RunView> {
  const keys = keysAtWork(run);
  const live = new Map<string, LiveFigures>();
  let tokens = tokensOfStatus(run);
  if (store !== undefined && run.status !== undefined) {
    try {
      const view = await store.view(run.uid, keys);
      tokens = tokensOf(view.execution?.account) ?? tokens;
      for (const [place, key] of keys.entries()) {
        const record = view.items[place];
        if (record !== undefined) live.set(itemName(key), figuresOf(record));
      }
    } catch {
      // Figures for people: the run does not depend on them.
    }
  }
  return { run, tokens, live, nowMs };
}

export function keysAtWork(run: StoredExecution): NodeKey[] {
  const keys = (run.status?.nodes ?? []).flatMap((node): NodeKey[] => {
    if (node.items === undefined) return atWork.includes(node.state) ? [{ node: node.name }] : [];
    return node.items
      .filter((item) => atWork.includes(item.state))
      .map((item) => ({ node: node.name, item: item.index }));
  });
  return keys.slice(0, liveItemsMax);
}

function tokensOf(account: Account | undefined): TokenFigures | undefined {
  if (account === undefined) return undefined;
  return {
    recorded: account.settled.TotalTokens,
    lost: account.lost.TotalTokens,
    limit: account.limits.TotalTokens ?? account.auditLimits.TotalTokens,
  };
}

function tokensOfStatus(run: StoredExecution): TokenFigures | undefined {
  const usage = run.status?.usage;
  return usage === undefined ? undefined : { recorded: usage.totalTokens, lost: usage.lostTokens, limit: undefined };
}

function figuresOf(record: ItemRecord): LiveFigures {
  const shown = parseLive(record.live);
  return { steps: record.steps, tokens: record.ledger.settled.TotalTokens, tool: shown.tool, writing: shown.tokens };
}

/** Written by workers: taken only where it has the expected shape. */
function parseLive(text: string): { tool?: string; tokens?: number } {
  try {
    const value = JSON.parse(text) as { tool?: unknown; tokens?: unknown } | null;
    return {
      ...(typeof value?.tool === "string" ? { tool: value.tool } : {}),
      ...(typeof value?.tokens === "number" ? { tokens: value.tokens } : {}),
    };
  } catch {
    return {};
  }
}
