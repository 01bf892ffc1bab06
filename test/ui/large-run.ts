/** A run as large as the page promises to show: 1,000 nodes, 10,000 steps. */
import { type SeedStep, type Seed, specOf } from "./seed.ts";

export const nodeCount = 1_000;
export const stepCount = 10_000;
const recordingNodes = 10;

/** Ten nodes with 1,000 model calls each; every node but the first 40 waits for three others. `answer`: what call `index` says. */
export function largeRun(name: string, answer = (index: number) => `answer ${index}`): Seed {
  const names = Array.from({ length: nodeCount }, (_, index) => `node-${String(index).padStart(4, "0")}`);
  const nodes = names.map((node, index) => ({
    name: node,
    dependsOn: index < 40 ? [] : [index - 40, index - 37, index - 31].map((at) => names[at] as string),
  }));
  const steps = Array.from({ length: stepCount / recordingNodes }, (_, index): SeedStep => {
    return { kind: "model", name: "main", input: `question ${index}`, output: answer(index), tokens: 10 };
  });
  return {
    name,
    spec: specOf(nodes),
    status: { phase: "Succeeded", completedAt: "2026-03-01T10:00:00.000Z" },
    rows: names.map((node) => ({ name: node, state: "Succeeded" })),
    journals: names.slice(0, recordingNodes).map((node) => ({ node, steps })),
    tokenLimit: 1_000_000,
  };
}
