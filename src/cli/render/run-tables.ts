/** A run as text and as an object, shared by the commands that print one. */
import type { LocalRun } from "../../adapters/local/local-index.ts";
import { canonicalNodeOrder } from "../../core/trace/order.ts";
import { oneLine } from "./style.ts";
import { table } from "./table.ts";
import { elapsed } from "./time.ts";
import { reasonOfRow } from "./tree.ts";

export function nodeTable(run: LocalRun): string {
  const { spec } = run.object;
  const rows = new Map((run.status?.nodes ?? []).map((row) => [row.name, row]));
  return table(
    ["NODE", "STATE", "ATTEMPT", "STEPS", "TIME", "REASON"],
    canonicalNodeOrder(spec.nodes, spec.finally).map((name) => {
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
  );
}

/** As it is typed: the namespace only where it is needed. */
export function nameArguments(run: LocalRun): string {
  return run.key.namespace === "default" ? run.key.name : `-n ${run.key.namespace} ${run.key.name}`;
}

export function objectWithStatus(run: LocalRun): unknown {
  return run.status === undefined ? run.object : { ...run.object, status: run.status };
}
