import { describe, expect, it } from "vitest";
import type { NodeStatus } from "../../../src/api/status.ts";
import type { NodeSpec } from "../../../src/api/types.ts";
import type { RunView } from "../../../src/cli/render/run-view.ts";
import { oneLine, painter } from "../../../src/cli/render/style.ts";
import { age, elapsed } from "../../../src/ui/figures.ts";
import { treeLines } from "../../../src/cli/render/tree.ts";
import { exitCodeOf } from "../../../src/cli/outcome.ts";
import { status } from "../local/harness.ts";

const plain = painter(false);
const started = "2026-01-01T00:00:00.000Z";

function view(
  nodes: readonly Pick<NodeSpec, "name" | "dependsOn">[],
  rows: readonly NodeStatus[],
  extra: Partial<RunView> = {},
): RunView {
  return {
    run: {
      key: { namespace: "default", name: "brief" },
      uid: "u",
      resourceVersion: "1",
      generation: 1,
      createdAtMs: 0,
      object: {
        apiVersion: "oao.dev/v1alpha1",
        kind: "Execution",
        metadata: { name: "brief" },
        spec: { task: "t", nodes: nodes as NodeSpec[] },
      },
      status: { ...status("Running"), nodes: rows, progress: "1/3", startedAt: started },
    },
    tokens: { recorded: 1234, lost: 0, limit: 50_000 },
    live: new Map(),
    nowMs: Date.parse(started) + 12_000,
    ...extra,
  };
}

describe("the tree of a run", () => {
  it("puts a node below the dependency that comes last, and says what it is doing", () => {
    const nodes = [
      { name: "a" },
      { name: "b", dependsOn: ["a"] },
      { name: "c", dependsOn: ["a"] },
      { name: "d", dependsOn: ["b", "c"] },
    ];
    const rows: NodeStatus[] = [
      { name: "a", state: "Succeeded", attempt: 1, steps: 1 },
      { name: "b", state: "Running", attempt: 2, startedAt: started },
      { name: "c", state: "Failed", attempt: 1, reason: "ToolFailure", message: "no\nsuch host" },
      { name: "d", state: "Pending" },
    ];
    const live = new Map([["b", { steps: 3, tokens: 1_500, tool: "search" }]]);
    expect(treeLines(view(nodes, rows, { live }), { columns: 100 }, plain)).toEqual(
      [
        "default/brief  Running  1/3 nodes  1,234 of 50,000 tokens  12s",
        "✔ a     Succeeded  1 step",
        "├─ ● b  Running    attempt 2  3 steps  1,500 tokens  12s  ▸ search",
        "└─ ✘ c  Failed     ToolFailure: no such host",
        "   └─ · d  Pending",
      ].map(
        (line) =>
          expect.stringMatching(
            new RegExp(`^${line.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll(/ +/g, " +")}$`),
          ) as string,
      ),
    );
  });

  it("shows tokens that were lost beside those that are recorded", () => {
    const header = (tokens: RunView["tokens"]) => treeLines(view([], [], { tokens }), { columns: 100 }, plain)[0];
    expect(header({ recorded: 1_256, lost: 519, limit: undefined })).toContain("  1,256 tokens, 519 lost  ");
    expect(header({ recorded: 1_256, lost: 519, limit: 2_000 })).toContain("  1,256 of 2,000 tokens, 519 lost  ");
  });

  it("says the reason of a node once, also where its message begins with it", () => {
    const row = (message: string): NodeStatus => ({ name: "a", state: "Failed", reason: "PolicyViolation", message });
    const line = (message: string) => treeLines(view([{ name: "a" }], [row(message)]), { columns: 100 }, plain)[1];
    const exceeded = "Max Token Limit Exceeded: budget b";
    expect(line(`PolicyViolation: ${exceeded}`)).toMatch(/Failed +PolicyViolation: Max Token/);
    expect(line(exceeded)).toMatch(/Failed +PolicyViolation: Max Token/);
  });

  it("shows what runs and what failed first when not all fits, and counts the rest", () => {
    const nodes = Array.from({ length: 200 }, (_, index) => ({ name: `n${index}` }));
    const rows = nodes.map(
      ({ name }, index): NodeStatus => ({
        name,
        state: index === 150 ? "Failed" : index === 199 ? "Running" : index < 100 ? "Succeeded" : "Pending",
      }),
    );
    const lines = treeLines(view(nodes, rows), { columns: 80, rows: 6 }, plain);
    expect(lines).toHaveLength(6);
    expect(lines[1]).toContain("n150");
    expect(lines[2]).toContain("n199");
    expect(lines.at(-1)).toMatch(/^… and 196 more: 100 Succeeded, 96 Pending$/);
  });

  it("names items in full where they stand alone", () => {
    const rows: NodeStatus[] = [
      {
        name: "rate",
        state: "Running",
        itemCount: 9,
        items: [
          { index: 0, state: "Succeeded" },
          { index: 7, state: "Failed" },
        ],
      },
    ];
    const lines = treeLines(
      view([{ name: "rate" }, { name: "z1" }, { name: "z2" }], rows),
      { columns: 80, rows: 4 },
      plain,
    );
    expect(lines[1]).toMatch(/^✘ rate\[7\] +Failed/);
    expect(lines[2]).toMatch(/^● rate +Running +1\/9 items/);
  });

  it("never writes beyond the width, however deep, and draws a chain of 1,000 without recursion", () => {
    const nodes = Array.from({ length: 1_000 }, (_, index) => ({
      name: `node-${index}`,
      ...(index === 0 ? {} : { dependsOn: [`node-${index - 1}`] }),
    }));
    const lines = treeLines(view(nodes, []), { columns: 60 }, plain);
    expect(lines).toHaveLength(1_001);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(60);
    expect(lines.at(-1)).toContain("node-999");
  });

  it("lets no text of a model or tool move the cursor", () => {
    expect(oneLine("a\u001b[2Jb\r\nc\u0007\u2028d\u009b31m")).toBe("ab c d");
    expect(oneLine("a\u202eb\u2066c\u200fd\u0085e")).toBe("a\\u202eb\\u2066c\\u200fd e");
  });
});

describe("times", () => {
  it("are short", () => {
    expect([420, 12_300, 185_000, 7_620_000, 345_600_000].map(elapsed)).toEqual([
      "0.4s",
      "12s",
      "3m05s",
      "2h07m",
      "4d",
    ]);
    expect([45_000, 300_000, 10_800_000, 259_200_000].map(age)).toEqual(["45s", "5m", "3h", "3d"]);
  });
});

describe("exit codes", () => {
  it.each([
    ["Succeeded", "Succeeded", 0],
    ["Failed", "NodeFailed", 1],
    ["Failed", "PolicyViolation", 3],
    ["Failed", "InfrastructureLost", 7],
    ["Failed", "DurabilityLost", 7],
    ["Failed", "DeadlineExceeded", 1],
    ["Cancelled", "Cancelled", 4],
    ["Suspended", "Suspended", 6],
  ] as const)("%s for %s is %i", (phase, reason, code) => {
    expect(
      exitCodeOf({
        ...status(phase),
        conditions: [{ type: "Succeeded", status: "False", reason, message: "", lastTransitionTime: started }],
      }),
    ).toBe(code);
  });
});
