/** A machine of the cluster is gone at once: kubelet, runtime and containers. */
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { killContainerNode } from "../../hack/cluster/container-nodes.ts";
import { layoutOf } from "../../hack/cluster/layout.ts";
import { applySample, done, ended, isAtWork, kubectl, nodeOf, podAtWork, until } from "./runs.ts";
import { nodes } from "./setup.ts";

const name = inject("clusterName");
const [stays, goes] = ["node-1", "node-2"];
const cordon = (node: string) => done(kubectl(["cordon", node]));
const uncordon = (node: string) => done(kubectl(["uncordon", node]));

describe.skipIf(name === "")("a node that is lost", () => {
  beforeAll(() => {
    cordon(stays);
  });
  afterAll(async () => {
    uncordon(stays);
    await nodes(layoutOf(name), 2);
  });

  test("takes nothing with it: its work goes on elsewhere long before Kubernetes evicts its pods", async () => {
    applySample("market-brief.yaml", "node-lost", "slow");
    const run = await until("node-lost", isAtWork("research-demand"));
    expect((await podAtWork(run, "research-demand")).spec.nodeName).toBe(goes);
    uncordon(stays);
    const lostAt = performance.now();
    await killContainerNode(layoutOf(name), goes);
    const end = await until("node-lost", ended);
    console.log(`ended ${((performance.now() - lostAt) / 1000).toFixed(1)} s after the loss`);
    expect(end.status).toMatchObject({ phase: "Succeeded", progress: "5/5" });
    // The scheduler may have sent the second attempt to the lost node, which nobody knew of yet.
    expect([2, 3]).toContain(nodeOf(end, "research-demand")?.attempt);
  });
});
