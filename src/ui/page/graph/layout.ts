/**
 * Places for the nodes of a graph: columns from left to right, a node right of all that it waits for. Pure, and made for
 * 1,000 nodes: O(rounds × (nodes + edges)) and no search.
 *
 * 1. A node's rank is the longest way to it; `finally` nodes begin right of all others.
 * 2. Inside a rank, nodes are sorted by where their neighbours are, from left to right and back, a few times.
 * 3. A rank that is too tall is broken into several columns.
 * 4. Heights follow the neighbours as far as the order and the distance allow; columns of a broken rank stand side by side.
 */
import type { GraphNodeInfo } from "../../wire.ts";

export const box = { width: 176, height: 34, gapX: 56, gapY: 12 } as const;

export interface Placed {
  readonly name: string;
  readonly index: number;
  /** Left upper corner. */
  readonly x: number;
  readonly y: number;
  readonly rank: number;
}

/** From the right side of one node to the left side of another, by index. */
export type Edge = readonly [from: number, to: number];

export interface Layout {
  /** In the order of the input. */
  readonly nodes: readonly Placed[];
  readonly edges: readonly Edge[];
  readonly width: number;
  readonly height: number;
}

const rounds = 4;
const pitch = box.height + box.gapY;

export function layoutGraph(nodes: readonly Pick<GraphNodeInfo, "name" | "dependsOn" | "isFinally">[]): Layout {
  const place = new Map(nodes.map(({ name }, index) => [name, index]));
  const before = nodes.map(({ dependsOn }) => dependsOn.flatMap((name) => place.get(name) ?? []));
  const after: number[][] = nodes.map(() => []);
  const edges: Edge[] = [];
  for (const [to, froms] of before.entries()) {
    for (const from of froms) {
      after[from]?.push(to);
      edges.push([from, to]);
    }
  }
  const ranks = ranksOf(nodes, before);
  const ordered = orderRanks(groups(ranks), before, after);
  const parts = ordered.map((rank) => broken(rank, rowsMax(nodes.length)));
  const columns = parts.flat();
  const y = heights(parts, before, after);
  const top = Math.min(0, ...y);
  const placed: Placed[] = [];
  for (const [column, members] of columns.entries()) {
    for (const index of members) {
      const x = column * (box.width + box.gapX);
      placed[index] = { name: nodes[index]?.name ?? "", index, x, y: (y[index] ?? 0) - top, rank: ranks[index] ?? 0 };
    }
  }
  return {
    nodes: placed,
    edges,
    width: Math.max(0, ...placed.map(({ x }) => x + box.width)),
    height: Math.max(0, ...placed.map(({ y: at }) => at + box.height)),
  };
}

/** About as high as wide, on a wide screen. */
function rowsMax(count: number): number {
  return Math.min(48, Math.max(14, Math.ceil(Math.sqrt(count) * 1.2)));
}

/** Nodes are in canonical order, so what a node waits for stands before it; what does not (a cycle) counts as rank 0. */
function ranksOf(
  nodes: readonly Pick<GraphNodeInfo, "isFinally">[],
  before: readonly (readonly number[])[],
): readonly number[] {
  const ranks: number[] = [];
  let mainRanks = 0;
  for (const [index, node] of nodes.entries()) {
    const own = (before[index] ?? []).reduce((rank, from) => Math.max(rank, (ranks[from] ?? -1) + 1), 0);
    ranks[index] = node.isFinally ? Math.max(own, mainRanks) : own;
    if (!node.isFinally) mainRanks = Math.max(mainRanks, own + 1);
  }
  return ranks;
}

function groups(ranks: readonly number[]): number[][] {
  const found: number[][] = [];
  for (const [index, rank] of ranks.entries()) (found[rank] ??= []).push(index);
  return Array.from(found, (each) => each ?? []);
}

function orderRanks(
  ranks: readonly number[][],
  before: readonly (readonly number[])[],
  after: readonly (readonly number[])[],
): number[][] {
  const ordered = ranks.map((each) => [...each]);
  /** Where a node stands in its rank, from 0 to 1, so that ranks of different sizes compare. */
  const at: number[] = [];
  const note = (rank: readonly number[]) => {
    for (const [row, index] of rank.entries()) at[index] = (row + 0.5) / rank.length;
  };
  for (const rank of ordered) note(rank);
  for (let round = 0; round < rounds; round += 1) {
    const [neighbours, way] = round % 2 === 0 ? [before, ordered] : [after, ordered.toReversed()];
    for (const rank of way) {
      const wish = new Map(rank.map((index) => [index, mean(neighbours[index] ?? [], at) ?? at[index] ?? 0]));
      rank.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0) || a - b);
      note(rank);
    }
  }
  return ordered;
}

function broken(rank: readonly number[], rows: number): number[][] {
  const columns = Math.max(1, Math.ceil(rank.length / rows));
  const each = Math.ceil(rank.length / columns);
  return Array.from({ length: columns }, (_, column) => rank.slice(column * each, (column + 1) * each));
}

function heights(
  parts: readonly (readonly (readonly number[])[])[],
  before: readonly (readonly number[])[],
  after: readonly (readonly number[])[],
): number[] {
  const y: number[] = [];
  for (const column of parts.flat())
    for (const [row, index] of column.entries()) y[index] = (row - (column.length - 1) / 2) * pitch;
  for (let round = 0; round < rounds; round += 1) {
    const [neighbours, way] = round % 2 === 0 ? [before, parts] : [after, parts.toReversed()];
    for (const [column, ...more] of way) {
      if (column === undefined || more.length > 0) continue;
      const wishes = column.map((index) => mean(neighbours[index] ?? [], y) ?? y[index] ?? 0);
      for (const [row, value] of spread(wishes).entries()) y[column[row] ?? -1] = value;
    }
  }
  return y;
}

/** Nearest to the wishes (least squares) with a pitch between neighbours: pool adjacent violators. */
function spread(wishes: readonly number[]): number[] {
  const blocks: { sum: number; count: number }[] = [];
  for (const [row, wish] of wishes.entries()) {
    let block = { sum: wish - row * pitch, count: 1 };
    for (let last = blocks.at(-1); last !== undefined && last.sum / last.count >= block.sum / block.count; ) {
      block = { sum: last.sum + block.sum, count: last.count + block.count };
      blocks.pop();
      last = blocks.at(-1);
    }
    blocks.push(block);
  }
  return blocks
    .flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count))
    .map((value, row) => value + row * pitch);
}

function mean(indices: readonly number[], values: readonly number[]): number | undefined {
  if (indices.length === 0) return undefined;
  return indices.reduce((sum, index) => sum + (values[index] ?? 0), 0) / indices.length;
}

/** The node that an arrow key leads to from `index`; the same when there is none. */
export function neighbour(layout: Layout, index: number, key: string): number {
  const from = layout.nodes[index];
  if (from === undefined) return layout.nodes.length > 0 ? 0 : index;
  const along = (choices: readonly number[]) => nearest(layout, from, choices) ?? index;
  switch (key) {
    case "ArrowRight":
      return along(layout.edges.filter(([start]) => start === index).map(([, end]) => end));
    case "ArrowLeft":
      return along(layout.edges.filter(([, end]) => end === index).map(([start]) => start));
    case "ArrowUp":
    case "ArrowDown": {
      const isBelow = key === "ArrowDown";
      const column = layout.nodes.filter(({ x, y }) => x === from.x && (isBelow ? y > from.y : y < from.y));
      return along(column.map((node) => node.index));
    }
    default:
      return index;
  }
}

function nearest(layout: Layout, from: Placed, choices: readonly number[]): number | undefined {
  const distance = (index: number) => Math.abs((layout.nodes[index]?.y ?? 0) - from.y);
  return choices.toSorted((a, b) => distance(a) - distance(b) || a - b)[0];
}
