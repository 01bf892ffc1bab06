/** A run as text and as an object, shared by the commands that print one. */
import { shownSpec } from "../../core/replay/spec.ts";
import { systemClock } from "../../adapters/clock/system-clock.ts";
import { canonicalNodeOrder } from "../../core/dag/spec-graph.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { oneLine } from "./style.ts";
import { table } from "./table.ts";
import { age, elapsed } from "../../ui/figures.ts";
import { reasonOfRow } from "./tree.ts";

/** One line per run. `phaseOf` says more than the status where the host knows more. */
export function runTable<R extends StoredExecution>(
  runs: readonly R[],
  withNamespace: boolean,
  phaseOf: (run: R) => string = ({ status }) => status?.phase ?? "Pending",
): string {
  const nowMs = systemClock.nowMs();
  const rows = runs.map((run) => [
    ...(withNamespace ? [run.key.namespace] : []),
    run.key.name,
    phaseOf(run),
    run.status?.progress ?? "",
    String(run.status?.steps ?? ""),
    String(run.status?.usage?.totalTokens ?? ""),
    age(nowMs - run.createdAtMs),
  ]);
  return table([...(withNamespace ? ["NAMESPACE"] : []), "NAME", "PHASE", "NODES", "STEPS", "TOKENS", "AGE"], rows);
}

/** `columns`: of the screen it is shown on. */
export function nodeTable(run: StoredExecution, columns: number | undefined): string {
  const spec = shownSpec(run.object, run.status);
  const rows = new Map((run.status?.nodes ?? []).map((row) => [row.name, row]));
  return table(
    ["NODE", "STATE", "ATTEMPT", "STEPS", "TIME", "REASON"],
    canonicalNodeOrder(spec).map((name) => {
      const row = rows.get(name);
      const time =
        row?.startedAt === undefined || row.completedAt === undefined
          ? ""
          : elapsed(Date.parse(row.completedAt) - Date.parse(row.startedAt));
      const items = row?.itemCount === undefined ? "" : ` (${row.itemCount} items)`;
      const reason = row === undefined || row.state === "Succeeded" ? undefined : reasonOfRow(row);
      return [
        name,
        `${row?.state ?? "Pending"}${items}`,
        String(row?.attempt ?? ""),
        String(row?.steps ?? ""),
        time,
        oneLine(reason ?? ""),
      ];
    }),
    { columns, free: [5] },
  );
}

/** As it is typed for a local run: the namespace only where it is needed. */
export function nameArguments(run: Pick<StoredExecution, "key">): string {
  return run.key.namespace === "default" ? run.key.name : `-n ${run.key.namespace} ${run.key.name}`;
}

export function objectWithStatus(run: StoredExecution): unknown {
  return run.status === undefined ? run.object : { ...run.object, status: run.status };
}
