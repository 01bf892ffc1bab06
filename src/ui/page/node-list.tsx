/** The nodes as a table: what the graph shows, for those who read lists. */
import type { VNode } from "preact";
import type { NodeRow } from "../wire.ts";
import { between, visible } from "./format.ts";
import type { NodesProps } from "./graph/graph.tsx";
import { Name, State, useNow } from "./parts.tsx";
import { Cell, VirtualList } from "./virtual-list.tsx";

export function NodeList({ nodes, rows, selected, onSelect, onOpen }: NodesProps): VNode {
  const nowMs = useNow([...rows.values()].some(({ state }) => state === "Running"));
  return (
    <VirtualList
      id="nodes"
      label="Nodes"
      columns="node-columns"
      head={["Node", "State", "Steps", "Attempt", "Time", "Says"]}
      count={nodes.length}
      rowHeight={28}
      active={nodes.findIndex(({ name }) => name === selected)}
      onActive={(index) => onSelect(nodes[index]?.name)}
      onOpen={onOpen}
      row={(index) => {
        const node = nodes[index];
        const row = node === undefined ? undefined : rows.get(node.name);
        if (node === undefined) return null;
        return (
          <>
            <Cell class="first">
              <Name text={node.name} />
            </Cell>
            <Cell>
              <State state={row?.state ?? "Pending"} note={items(row)} />
            </Cell>
            <Cell class="num">{row?.steps ? row.steps : ""}</Cell>
            <Cell class="num">{row !== undefined && row.attempt > 1 ? row.attempt : ""}</Cell>
            <Cell class="num">{between(row?.startedAt, row?.completedAt, nowMs)}</Cell>
            <Cell class="clip muted">{visible(row?.doing ?? row?.reason ?? "")}</Cell>
          </>
        );
      }}
      empty="This run has no nodes."
    />
  );
}

function items(row: NodeRow | undefined): string | undefined {
  return row?.items === undefined ? undefined : `${row.items.done}/${row.items.count}`;
}
