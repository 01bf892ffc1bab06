import { expect, test } from "vitest";
import { readFileSync } from "node:fs";
import { run } from "./chart.ts";

test("config/ holds exactly what the chart renders", () => {
  expect(run("node", ["hack/generate-config.ts", "--check"])).toEqual({ code: 0, stdout: "", stderr: "" });
});

test("Argo CD's settings hold both health scripts as they are", () => {
  const text = readFileSync("config/argocd/argocd-cm.yaml", "utf8");
  expect(text).toContain("resource.customizations.health.oao.dev_Execution: |");
  expect(text).toContain("resource.customizations.health.oao.dev_GovernancePolicy: |");
});
