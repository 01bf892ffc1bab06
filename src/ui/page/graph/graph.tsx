/**
 * The run's graph. Only what is in sight is in the document: near, a box with its name per node; far, one path per state
 * for all nodes. So 1,000 nodes cost what a screenful costs.
 */
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { NodeState } from "../../../api/status.ts";
import type { GraphNodeInfo, NodeRow } from "../../wire.ts";
import { plural, visible } from "../format.ts";
import { begin, type Camera, fit, legibleFrom, pan, reveal, shows, type Size, zoom } from "./camera.ts";
import { useDrag, useWheel } from "./gestures.ts";
import { box, type Edge, type Layout, layoutGraph, neighbour, type Placed } from "./layout.ts";

/** Of the graph, and of the table that shows the same. */
export interface NodesProps {
  readonly nodes: readonly GraphNodeInfo[];
  readonly rows: ReadonlyMap<string, NodeRow>;
  readonly selected: string | undefined;
  readonly onSelect: (name: string | undefined) => void;
  /** Enter on a node. */
  readonly onOpen: () => void;
}

/** More lines than these are a grey area: those of the selected node are drawn alone. */
const edgesMax = 3_000;
const nameChars = 19;
/** Until somebody moves the drawing, the first node in one of these is in sight. */
const busy: ReadonlySet<NodeState> = new Set(["Starting", "Running", "Retrying", "AwaitingApproval", "Failed"]);

export function Graph({ nodes, rows, selected, onSelect, onOpen }: NodesProps): VNode {
  const layout = useMemo(() => layoutGraph(nodes), [nodes]);
  const frame = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<Size>({ width: 800, height: 320 });
  const index = layout.nodes.findIndex(({ name }) => name === selected);
  const opened = useRef(index);
  const [view, setView] = useState<Camera | "begin" | "all">("begin");
  const cameraOf = (now: typeof view): Camera => {
    if (now === "all") return fit(layout, size);
    if (now !== "begin") return now;
    const at =
      layout.nodes[opened.current] ?? layout.nodes.find(({ name }) => busy.has(rows.get(name)?.state ?? "Pending"));
    const first = begin(layout, size);
    return at === undefined ? first : reveal(first, size, { ...at, ...box });
  };
  const seen = cameraOf(view);
  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, []);
  useWheel(frame, (factor, at) => setView((now) => zoom(cameraOf(now), factor, at)));
  useEffect(() => {
    const node = layout.nodes[index];
    if (node === undefined || (view === "begin" && index === opened.current)) return;
    if (!shows(seen, size, { ...node, ...box })) setView(reveal(seen, size, { ...node, ...box }));
  }, [index]);
  const zoomBy = (factor: number) => setView(zoom(seen, factor, { x: size.width / 2, y: size.height / 2 }));
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Readonly<Record<string, () => void>> = {
      "+": () => zoomBy(1.3),
      "=": () => zoomBy(1.3),
      "-": () => zoomBy(1 / 1.3),
      "0": () => setView("all"),
      Escape: () => onSelect(undefined),
      Enter: onOpen,
    };
    const action = actions[event.key];
    if (action !== undefined) action();
    else if (event.key.startsWith("Arrow")) onSelect(layout.nodes[neighbour(layout, index, event.key)]?.name);
    else return;
    event.preventDefault();
  };
  const [hovered, setHovered] = useState(-1);
  const drag = useDrag((dx, dy) => setView((now) => pan(cameraOf(now), dx, dy)));
  const under = (event: MouseEvent) => {
    const { left, top } = (event.currentTarget as Element).getBoundingClientRect();
    return nodeAt(layout, seen, event.clientX - left, event.clientY - top);
  };
  const pick = (event: MouseEvent) => {
    if (!drag.moved()) onSelect(under(event)?.name);
  };
  const shown = inSight(layout, seen, size);
  const isNear = seen.scale >= legibleFrom;
  const own = layout.edges.filter(([from, to]) => from === index || to === index);
  const edges = visibleEdges(layout, seen, size);
  return (
    <div class="graph">
      <div
        class="canvas"
        ref={frame}
        role="application"
        tabIndex={0}
        aria-label={`Graph of ${plural(nodes.length, "node")}. Arrow keys move between nodes, Enter goes to the steps, plus and minus zoom, 0 shows all.`}
        aria-activedescendant={isNear && shown.some((node) => node.index === index) ? `node-${index}` : undefined}
        onKeyDown={onKeyDown}
        onClick={pick}
        onMouseMove={(event) => setHovered(under(event)?.index ?? -1)}
        onMouseLeave={() => setHovered(-1)}
        {...drag.handlers}
      >
        <svg width={size.width} height={size.height} aria-hidden={!isNear}>
          <g transform={`scale(${seen.scale}) translate(${-seen.x} ${-seen.y})`}>
            <path class={`edges ${isNear ? "" : "many"}`} d={edges.length > edgesMax ? "" : pathOf(layout, edges)} />
            <path class="edges own" d={pathOf(layout, own)} />
            {isNear ? shown.map((node) => near(node, nodes, rows, node.index === index)) : far(shown, rows, index)}
          </g>
        </svg>
      </div>
      <div class="tools">
        {edges.length > edgesMax ? (
          <span class="note">{plural(edges.length, "line")}: select a node to see its own</span>
        ) : null}
        <button type="button" aria-label="Zoom out" title="Zoom out (-)" onClick={() => zoomBy(1 / 1.3)}>
          −
        </button>
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoomBy(1.3)}>
          +
        </button>
        <button type="button" title="Show all (0)" onClick={() => setView("all")}>
          Fit
        </button>
      </div>
      {isNear || hovered < 0 ? null : (
        <div class="hovered clip" aria-hidden="true">
          {spoken(nodes[hovered], rows.get(nodes[hovered]?.name ?? ""))}
        </div>
      )}
      <div class="hidden" aria-live="polite">
        {index < 0 ? "" : spoken(nodes[index], rows.get(selected ?? ""))}
      </div>
    </div>
  );
}

function near(
  placed: Placed,
  nodes: readonly GraphNodeInfo[],
  rows: ReadonlyMap<string, NodeRow>,
  isSelected: boolean,
): VNode {
  const row = rows.get(placed.name);
  const state = row?.state ?? "Pending";
  const node = nodes[placed.index];
  const name = visible(placed.name);
  const side =
    row?.items === undefined ? (row?.steps ? String(row.steps) : "") : `${row.items.done}/${row.items.count}`;
  return (
    <g
      key={placed.name}
      id={`node-${placed.index}`}
      class={`node ${state} ${isSelected ? "selected" : ""}`}
      transform={`translate(${placed.x} ${placed.y})`}
      role="img"
      aria-label={spoken(node, row)}
    >
      <title>{spoken(node, row)}</title>
      <rect width={box.width} height={box.height} rx={6} />
      <path class="mark" d={marks[state]} />
      <text x={30} y={21}>
        {name.length > nameChars ? `${name.slice(0, nameChars - 1)}…` : name}
      </text>
      <text class="side" x={box.width - 9} y={21}>
        {side}
      </text>
    </g>
  );
}

/** One path per state. */
function far(shown: readonly Placed[], rows: ReadonlyMap<string, NodeRow>, selected: number): VNode[] {
  const paths = new Map<NodeState, string[]>();
  let chosen = "";
  for (const { name, index, x, y } of shown) {
    const state = rows.get(name)?.state ?? "Pending";
    const path = `M${x} ${y}h${box.width}v${box.height}h${-box.width}z`;
    if (index === selected) chosen = path;
    const found = paths.get(state);
    if (found === undefined) paths.set(state, [path]);
    else found.push(path);
  }
  return [
    ...[...paths].map(([state, parts]) => <path key={state} class={`far ${state}`} d={parts.join("")} />),
    <path key="selected" class="far chosen" d={chosen} />,
  ];
}

/** A sign per state beside its colour, 16 units wide around (17, 17). */
const marks: Readonly<Record<NodeState, string>> = {
  Pending: "M17 13a4 4 0 1 0 .01 0",
  Starting: "M17 12a5 5 0 1 0 5 5",
  Running: "M14 12.5v9l7.5-4.5z",
  Retrying: "M21 14a5 5 0 1 0 1 4M21.5 11v3.5h-3.5",
  AwaitingApproval: "M14.5 14.5a2.5 2.5 0 1 1 3.6 2.2q-1.1.6-1.1 1.8M17 21.4v.2",
  Succeeded: "M12.5 17.5l3 3 6-7",
  Failed: "M13 13l8 8M21 13l-8 8",
  Skipped: "M12 17h10",
  Cancelled: "M13 13h8v8h-8z",
};

function spoken(node: GraphNodeInfo | undefined, row: NodeRow | undefined): string {
  if (node === undefined) return "";
  const parts = [`${visible(node.name)}: ${row?.state ?? "Pending"}`];
  if (row?.items !== undefined) parts.push(`${row.items.done} of ${plural(row.items.count, "item")}`);
  if ((row?.steps ?? 0) > 0) parts.push(plural(row?.steps ?? 0, "step"));
  parts.push(
    node.dependsOn.length === 0 ? "waits for nothing" : `after ${node.dependsOn.slice(0, 8).map(visible).join(", ")}`,
  );
  if (row?.reason !== undefined) parts.push(visible(row.reason));
  return parts.join(", ");
}

function inSight(layout: Layout, camera: Camera, size: Size): Placed[] {
  const [right, bottom] = [camera.x + size.width / camera.scale, camera.y + size.height / camera.scale];
  return layout.nodes.filter(
    ({ x, y }) => x + box.width >= camera.x && x <= right && y + box.height >= camera.y && y <= bottom,
  );
}

/** Those whose own box touches the view. */
function visibleEdges(layout: Layout, camera: Camera, size: Size): Edge[] {
  const [right, bottom] = [camera.x + size.width / camera.scale, camera.y + size.height / camera.scale];
  return layout.edges.filter(([from, to]) => {
    const [a, b] = [layout.nodes[from], layout.nodes[to]];
    if (a === undefined || b === undefined || a.x > right || b.x + box.width < camera.x) return false;
    return Math.min(a.y, b.y) <= bottom && Math.max(a.y, b.y) + box.height >= camera.y;
  });
}

function pathOf(layout: Layout, edges: readonly Edge[]): string {
  return edges
    .map(([from, to]) => {
      const [a, b] = [layout.nodes[from], layout.nodes[to]];
      if (a === undefined || b === undefined) return "";
      const [x1, y1, x2, y2] = [a.x + box.width, a.y + box.height / 2, b.x, b.y + box.height / 2];
      const bend = Math.max(24, (x2 - x1) / 2);
      return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    })
    .join("");
}

function nodeAt(layout: Layout, camera: Camera, px: number, py: number): Placed | undefined {
  const [x, y] = [camera.x + px / camera.scale, camera.y + py / camera.scale];
  return layout.nodes.find((node) => x >= node.x && x <= node.x + box.width && y >= node.y && y <= node.y + box.height);
}
