import { expect, test } from "vitest";
import { defaultResources, resourcesOf } from "../../../src/adapters/kube/pod-resources.ts";

test.each([
  ["says nothing: the installation's", {}, { cpu: "100m", memory: "256Mi" }, { memory: "1Gi" }],
  [
    "names both: its own",
    { requests: { memory: "1Gi" }, limits: { memory: "2Gi", cpu: "1" } },
    { memory: "1Gi" },
    { memory: "2Gi", cpu: "1" },
  ],
  [
    "names a small limit alone: no request above it",
    { limits: { memory: "64Mi" } },
    { cpu: "100m" },
    { memory: "64Mi" },
  ],
  [
    "asks for more than the default limit: that much",
    { requests: { memory: "4096Mi" } },
    { cpu: "100m", memory: "4096Mi" },
    { memory: "4096Mi" },
  ],
  [
    "asks for less, in other units: the default limit",
    { requests: { memory: "500M" } },
    { cpu: "100m", memory: "500M" },
    { memory: "1Gi" },
  ],
])("a node that %s", (_, resources, requests, limits) => {
  expect(resourcesOf({ resources }, defaultResources)).toEqual({ requests, limits });
});
