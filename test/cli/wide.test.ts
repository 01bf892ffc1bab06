/** Wide runs, and tools that do not give their thread back, through the built program. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeStatus } from "../../src/api/status.ts";
import { type Workplace, workplace } from "./harness.ts";

const tools = `
export const quick = async ({ i }) => ({ i });
export const loop = () => { for (;;); };
export const floating = async () => { Promise.reject(new Error("nobody waits for this")); await new Promise(() => {}); };
export const exits = async () => process.exit(3);
export const third = async ({ i }) => { if (i === 2) throw new Error("two is too much"); return i; };
`;
let place: Workplace;
beforeEach(() => {
  place = workplace();
  writeFileSync(join(place.folder, "tools.mjs"), tools);
});
afterEach(() => place.end());

interface Ran {
  readonly metadata: { readonly resourceVersion: string };
  readonly status: { readonly phase: string; readonly nodes: readonly NodeStatus[] };
}

async function run(name: string, rest: string): Promise<Ran & { readonly code: number | null }> {
  const manifest = `apiVersion: oao.dev/v1alpha1\nkind: Execution\nmetadata: { name: ${name} }\nspec:\n  task: test\n${rest}`;
  writeFileSync(join(place.folder, `${name}.yaml`), manifest);
  const { code, stdout, stderr } = await place.oao(["run", `${name}.yaml`, "-o", "json"]);
  expect(stdout, stderr).not.toBe("");
  return { ...(JSON.parse(stdout) as Ran), code };
}

const tool = (name: string, effect: string, more = "") =>
  `  tools: [{ name: ${name}, effect: ${effect}, ${more}module: { path: tools.mjs } }]\n`;

describe("a run that is wider than the machine", () => {
  it("succeeds without losing a worker, and its status is written at most 2 + 2n times", async () => {
    const width = 200;
    const nodes = Array.from(
      { length: width },
      (_, i) => `    - { name: n-${i}, tool: { ref: quick, arguments: { i: ${i} } } }`,
    );
    const { code, status, metadata } = await run(
      "wide",
      `  parallelism: 100\n${tool("quick", "NonIdempotent")}  nodes:\n${nodes.join("\n")}\n`,
    );
    expect([code, status.phase]).toEqual([0, "Succeeded"]);
    expect(status.nodes.filter((node) => node.restarts !== undefined)).toEqual([]);
    expect(Number(metadata.resourceVersion)).toBeLessThanOrEqual(2 + 2 * width);
  });
});

describe("a module tool that never gives the thread back", () => {
  it.each([
    ["ReadOnly", "Timeout"],
    ["NonIdempotent", "InDoubt"],
  ])("is ended soon after its timeoutSeconds when it is %s, as %s", async (effect, reason) => {
    const startedMs = performance.now();
    const { code, status } = await run(
      "loops",
      `${tool("loop", effect, "timeoutSeconds: 1, ")}  nodes: [{ name: a, tool: { ref: loop } }]\n`,
    );
    expect(code).toBe(1);
    expect(status.nodes[0]).toMatchObject({ state: "Failed", attempt: 1, reason });
    expect(status.nodes[0]?.message).toContain("tool loop did not end within its timeoutSeconds");
    // Far less than a lease of this machine, which is what a worker that is merely late would have.
    expect(performance.now() - startedMs).toBeLessThan(60_000);
  });
});

describe("a worker that its own tool ends", () => {
  it.each([
    ["floating", "exit code 1: Error: nobody waits for this"],
    ["exits", "exit code 3"],
  ])("by %s is told with what it said last where its call is in doubt", async (name, cause) => {
    const { status } = await run(
      name,
      `${tool(name, "NonIdempotent")}  nodes: [{ name: a, tool: { ref: ${name} } }]\n`,
    );
    expect(status.nodes[0]).toMatchObject({ state: "Failed", reason: "InDoubt", restarts: 1 });
    expect(status.nodes[0]?.message).toContain(`its worker was lost (Crashed: ${cause})`);
  });

  it("again and again poisons its node, and the last cause is named", async () => {
    const policy = `---\napiVersion: oao.dev/v1alpha1\nkind: GovernancePolicy\nmetadata: { name: p, labels: { oao.dev/default: "true" } }\nspec: { infrastructure: { maxRestarts: 1 } }\n`;
    const { status } = await run(
      "dies",
      `${tool("exits", "ReadOnly")}  nodes: [{ name: a, tool: { ref: exits } }]\n${policy}`,
    );
    expect(status.nodes[0]).toMatchObject({
      state: "Failed",
      reason: "Poisoned",
      message: "its worker died 2 times (policy infrastructure.maxRestarts 1); last: Crashed: exit code 3",
    });
  });
});

describe("a forEach node that fails", () => {
  it("shows how many of its items had succeeded", async () => {
    const { code } = await run(
      "each",
      `  parallelism: 1\n${tool("third", "ReadOnly")}  nodes: [{ name: a, forEach: { items: "[0, 1, 2, 3]" }, tool: { ref: third, arguments: { i: "$(item)" } } }]\n`,
    );
    expect(code).toBe(1);
    expect((await place.oao(["tree", "each"])).stdout).toContain("2/4 items");
  });
});
