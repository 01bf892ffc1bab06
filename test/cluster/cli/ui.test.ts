/** oao ui of a cluster's runs: what the API server knows, with the caller's rights. No operator: the test writes the status. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { RunDetail, RunList, SessionInfo, StepPage } from "../../../src/ui/wire.ts";
import { type Workplace, workplace } from "../../cli/harness.ts";
import { adminClient, installKinds, makeNamespace, removeNamespace } from "../adapter/api-server.ts";
import { patienceMs } from "../../support/patience.ts";
import { applyFile, canI, kubectl, person, until } from "./harness.ts";

const manifest = `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: brief }
spec:
  task: Write
  tools: [{ name: t, module: { path: t.mjs } }]
  nodes: [{ name: one, tool: { ref: t } }, { name: two, dependsOn: [one], tool: { ref: t } }]
`;

let admin: KubeClient;
let namespace: string;
let folder: string;
let place: Workplace;
let viewer: string;
beforeAll(async () => {
  admin = adminClient();
  await installKinds(admin);
  applyFile("config/rbac/users.yaml");
  namespace = await makeNamespace(admin);
  folder = mkdtempSync(join(tmpdir(), "oao-ui-"));
  place = workplace();
  viewer = await person(admin, namespace, folder, "viewer", ["view"]);
  await until(() => canI(viewer, "list", "executions.oao.dev"));
  writeFileSync(join(folder, "brief.yaml"), manifest);
  kubectl("apply", "-n", namespace, "-f", join(folder, "brief.yaml"));
});
afterAll(async () => {
  await place.end();
  await removeNamespace(admin, namespace);
  rmSync(folder, { recursive: true, force: true });
  admin.close();
});

describe("oao ui --on cluster", () => {
  test("shows a viewer the runs, and tells of changes", async () => {
    const started = place.start(["ui", "--no-open", "--on", "cluster", "-n", namespace], { KUBECONFIG: viewer });
    await started.said("Ctrl-C ends it");
    const [, origin = "", token = ""] = /(http:\S+\/)#(\S+)/.exec(started.text()) ?? [];
    const ask = (path: string) =>
      fetch(`${origin}api/${path}`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(patienceMs),
      });
    const read = async <T>(path: string) => (await (await ask(path)).json()) as T;

    const session = await read<SessionInfo>("session");
    expect(session).toMatchObject({ place: { kind: "cluster" }, canReplay: true });
    const { runs } = await read<RunList>("runs");
    expect(runs.map(({ name, phase, unhosted }) => [name, phase, unhosted])).toEqual([["brief", "Pending", false]]);
    const graph = await read<{ nodes: readonly { name: string; dependsOn: readonly string[] }[] }>(
      `runs/${namespace}/brief/graph`,
    );
    expect(graph.nodes.map(({ name, dependsOn }) => [name, ...dependsOn])).toEqual([["one"], ["two", "one"]]);
    const steps = `runs/${namespace}/brief/steps`;
    expect(await read<StepPage>(steps)).toEqual({ from: 0, total: 0, steps: [], nothing: "no steps are recorded yet" });
    expect((await ask(`runs/${namespace}/nothing`)).status).toBe(404);

    const chunks = (await ask(`events?run=${namespace}/brief`)).body?.values();
    const decoder = new TextDecoder();
    let told = "";
    const tellsOfRuns = async (times: number) => {
      while (told.split("event: runs").length <= times) {
        const { value, done } = (await chunks?.next()) ?? { done: true };
        if (done === true) throw new Error(`the events ended with ${told}`);
        told += decoder.decode(value, { stream: true });
      }
    };
    await tellsOfRuns(1); // the run as it is
    const path = resourcePath(resources.executions, { namespace, name: "brief", subresource: "status" });
    const status = {
      observedGeneration: 1,
      phase: "Running",
      conditions: [],
      progress: "1/2",
      nodeCounts: { Succeeded: 1, Running: 1 },
      nodes: [
        { name: "one", state: "Succeeded", attempt: 1, steps: 1 },
        { name: "two", state: "Running", attempt: 1 },
      ],
    };
    await admin.request({ method: "PATCH", patch: "Merge", path, body: { status } });
    await tellsOfRuns(2);
    await chunks?.return?.();
    await until(async () => (await read<RunDetail>(`runs/${namespace}/brief`)).phase === "Running");
    const detail = await read<RunDetail>(`runs/${namespace}/brief`);
    expect(detail.nodes.map(({ name, state }) => [name, state])).toEqual([
      ["one", "Succeeded"],
      ["two", "Running"],
    ]);
    started.child.kill("SIGINT");
    expect((await started.ended).code).toBe(0);
  });

  test("says what right is missing before a page opens", async () => {
    const nobody = await person(admin, namespace, folder, "nobody", []);
    const { code, stderr } = await place.oao(["ui", "--no-open", "--on", "cluster", "-n", namespace], {
      KUBECONFIG: nobody,
    });
    expect(code).not.toBe(0);
    expect(stderr).toContain("list");
  });
});
