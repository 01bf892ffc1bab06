/** The health scripts of Argo CD, run by a real Lua. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { root, run } from "./chart.ts";

const lua = ["lua5.4", "lua5.1", "lua", "luajit"].find((name) => spawnSync(name, ["-v"]).status === 0);

/** A value as a Lua table: what Argo CD's interpreter is given. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(literal).join(",")}}`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, each]) => `[${JSON.stringify(key)}]=${literal(each)}`)}}`;
}

function health(kind: "Execution" | "GovernancePolicy", object: object): string {
  const script = `obj = ${literal(object)}
    local health = dofile(${JSON.stringify(`${root}config/argocd/health/oao.dev_${kind}.lua`)})
    io.write(health.status, ": ", health.message)`;
  const ended = run(lua ?? "", ["-"], script);
  if (ended.code !== 0) throw new Error(ended.stderr);
  return ended.stdout;
}

const condition = (type: string, status: string, reason: string, message = "") => ({ type, status, reason, message });
const over = condition("Reconciling", "False", "Ended");
const execution = (status: object) => ({ metadata: { generation: 2 }, status: { observedGeneration: 2, ...status } });
const overspent = "PolicyViolation: Max Token Limit Exceeded";

describe.skipIf(lua === undefined)(`health in Argo CD (${lua ?? "no Lua interpreter: apt-get install lua5.4"})`, () => {
  test.each([
    ["no status yet", { metadata: { generation: 1 } }, "Progressing: Waiting for the operator"],
    ["unseen", execution({ observedGeneration: -1 }), "Progressing: Waiting for the operator"],
    [
      "an older version seen",
      execution({ observedGeneration: 1, phase: "Succeeded" }),
      "Progressing: Waiting for the operator",
    ],
    ["Pending", execution({ phase: "Pending" }), "Progressing: Pending"],
    ["Queued", execution({ phase: "Queued" }), "Progressing: Queued"],
    ["Running", execution({ phase: "Running", progress: "3/5", conditions: [] }), "Progressing: Running, 3/5 nodes"],
    ["Suspended", execution({ phase: "Suspended" }), "Suspended: Suspended"],
    ["AwaitingApproval", execution({ phase: "AwaitingApproval" }), "Suspended: AwaitingApproval"],
    [
      "Succeeded",
      execution({ phase: "Succeeded", conditions: [condition("Succeeded", "True", "Succeeded"), over] }),
      "Healthy: Succeeded",
    ],
    [
      "Failed",
      execution({ phase: "Failed", conditions: [condition("Succeeded", "False", "PolicyViolation", overspent), over] }),
      `Degraded: ${overspent}`,
    ],
    [
      "Cancelled",
      execution({ phase: "Cancelled", conditions: [condition("Succeeded", "False", "Cancelled"), over] }),
      "Degraded: Cancelled",
    ],
    [
      "Failed, while what runs finally is at work",
      execution({ phase: "Failed", conditions: [condition("Reconciling", "True", "Finalizing")] }),
      "Progressing: Finalizing",
    ],
    [
      "stalled before it ended",
      execution({ phase: "Pending", conditions: [condition("Stalled", "True", "InvalidSpec", "a cycle")] }),
      "Degraded: a cycle",
    ],
  ])("of an Execution, %s", (_, object, expected) => {
    expect(health("Execution", object)).toBe(expected);
  });

  test.each([
    ["unseen", { metadata: { generation: 1 } }, "Progressing: Waiting for the operator"],
    [
      "an older version seen",
      {
        metadata: { generation: 2 },
        status: { observedGeneration: 1, conditions: [condition("Ready", "True", "Valid")] },
      },
      "Progressing: Waiting for the operator",
    ],
    ["valid", execution({ conditions: [condition("Ready", "True", "Valid", "3 rules")] }), "Healthy: 3 rules"],
    [
      "invalid",
      execution({ conditions: [condition("Ready", "False", "Invalid", "budgets: two named call")] }),
      "Degraded: budgets: two named call",
    ],
  ])("of a GovernancePolicy, %s", (_, object, expected) => {
    expect(health("GovernancePolicy", object)).toBe(expected);
  });
});
