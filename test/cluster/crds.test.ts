import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { parse, stringify } from "yaml";
import { lintManifest } from "../../src/core/manifest/lint.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const samples = readdirSync(`${root}/config/samples`).filter((file) => /^(?!.*\.model\.).*\.yaml$/.test(file));

const zeros = `sha256:${"0".repeat(64)}`;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function kubectl(args: readonly string[], input?: string): Ended {
  const flags = ["kubectl", "--kubeconfig", inject("kubeconfig"), ...args];
  const { status, stdout, stderr } = spawnSync(inject("kube"), flags, {
    cwd: root,
    encoding: "utf8",
    input,
    maxBuffer: 16_777_216,
  });
  return { code: status, stdout, stderr };
}

function execution(name: string, spec: object): string {
  const base = { task: "t", tools: [{ name: "hello", http: { method: "GET", url: "https://example.test/" } }] };
  return stringify({
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name },
    spec: { ...base, nodes: [{ name: "a", tool: { ref: "hello" } }], ...spec },
  });
}

beforeAll(() => {
  const applied = kubectl(["apply", "--server-side", "--force-conflicts", "-f", "crds/"]);
  if (applied.code !== 0 || applied.stderr !== "") throw new Error(`crds/ was not taken as it is: ${applied.stderr}`);
  const waited = kubectl(["wait", "--for=condition=Established", "--timeout=60s", "-f", "crds/"]);
  if (waited.code !== 0) throw new Error(waited.stderr);
});

describe("the CRDs on a real API server", () => {
  test.each(samples)("accept config/samples/%s without a warning", (file) => {
    const verb = file.startsWith("openai") ? "create" : "apply";
    expect(kubectl([verb, "--dry-run=server", "-f", `config/samples/${file}`])).toMatchObject({ code: 0, stderr: "" });
  });

  test("have short names, a category and documented fields", () => {
    expect(kubectl(["create", "-f", "-"], execution("named", {})).code).toBe(0);
    expect(kubectl(["get", "oaox", "named", "-o", "name"]).stdout).toBe("execution.oao.dev/named\n");
    expect(kubectl(["get", "oao", "-o", "name"]).stdout).toContain("execution.oao.dev/named");
    expect(kubectl(["get", "gpol"]).code).toBe(0);
    expect(kubectl(["explain", "execution.spec.nodes.forEach"]).stdout).toContain("Runs the node once per item");
    expect(kubectl(["delete", "oaox", "named"]).code).toBe(0);
  });

  test("a spec does not change, but for desiredState, and Cancelled is one-way", () => {
    expect(kubectl(["create", "-f", "-"], execution("fixed", { input: { x: 1 } })).code).toBe(0);
    const patch = (spec: object): Ended =>
      kubectl(["patch", "oaox", "fixed", "--type=merge", "-p", JSON.stringify({ spec })]);
    for (const change of [
      { task: "other" },
      { input: { x: 2 } },
      { input: null },
      { parallelism: 3 },
      { expectedHash: { task: zeros } },
    ]) {
      const refused = patch(change);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(`spec.${Object.keys(change)[0]}`);
      expect(refused.stderr).toContain("create a new Execution");
    }
    expect(patch({ desiredState: "Suspended" }).code).toBe(0);
    expect(patch({ desiredState: "Cancelled" }).code).toBe(0);
    expect(patch({ desiredState: "Running" }).code).toBe(1);
    expect(patch({ desiredState: null }).code).toBe(1);
    expect(kubectl(["delete", "oaox", "fixed"]).code).toBe(0);
  });

  test.each([
    ["an unknown tool", { nodes: [{ name: "a", tool: { ref: "nope" } }] }, "spec.nodes"],
    ["a node without a kind", { nodes: [{ name: "a" }] }, "spec.nodes"],
    [
      "a dependency that is no node",
      { nodes: [{ name: "a", dependsOn: ["b"], tool: { ref: "hello" } }] },
      "spec.nodes",
    ],
    [
      "a node that depends on itself",
      { nodes: [{ name: "a", dependsOn: ["a"], tool: { ref: "hello" } }] },
      "spec.nodes",
    ],
    [
      "two nodes of one name",
      {
        nodes: [
          { name: "a", tool: { ref: "hello" } },
          { name: "a", tool: { ref: "hello" } },
        ],
      },
      "spec.nodes",
    ],
    ["an unknown field", { tusk: "t" }, "spec.tusk"],
    ["a digest that is none", { expectedHash: { task: "sha256:0" } }, "spec.expectedHash.task"],
    ["an expectation of nothing", { expectedHash: {} }, "spec.expectedHash"],
  ])("refuse %s and name the field", (_, spec, field) => {
    const refused = kubectl(["create", "--dry-run=server", "-f", "-"], execution("bad", spec));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(field);
  });

  describe("store", () => {
    /** As lint sees it. */
    const lintOf = (text: string) =>
      lintManifest(text, "big.yaml").problems.map(({ message, hint }) => `${message}: ${hint}`);
    const nodesOf = (count: number, dependencies: number, values: number) => {
      const name = (at: number) => `n${String(at).padStart(8, "0")}`;
      return Array.from({ length: count }, (_node, at) => ({
        name: name(at),
        tool: {
          ref: "hello",
          arguments: Object.fromEntries(Array.from({ length: values }, (_, i) => [`k${i}`, i % 10])),
        },
        dependsOn: Array.from({ length: Math.min(dependencies, at) }, (_dependency, back) => name(at - back - 1)),
      }));
    };
    const asJson = (nodes: object[]) => JSON.stringify(parse(execution("big", { nodes })));
    const apply = (text: string) => kubectl(["apply", "--server-side", "-f", "-"], text);
    afterEach(() => kubectl(["delete", "oaox", "big", "--ignore-not-found"]));

    test.each([
      ["1,000 nodes with 50 dependencies each", nodesOf(1_000, 50, 2)],
      ["60,000 small values", nodesOf(1_000, 0, 60)],
    ])("what lint lets pass, with the largest status beside it: %s", (_, nodes) => {
      const text = asJson(nodes);
      expect(text.length).toBeGreaterThan(500_000);
      expect(lintOf(text)).toEqual([expect.stringMatching(/: use kubectl apply --server-side$/)]);
      expect(apply(text)).toMatchObject({ code: 0, stderr: "" });
      const status = {
        observedGeneration: 1,
        nodes: nodes.map(({ name }) => ({
          name: name.padEnd(63, "x"),
          state: "Succeeded",
          steps: 1_000,
          try: 1,
          restarts: 10,
        })),
      };
      const read = JSON.parse(kubectl(["get", "oaox", "big", "-o", "json"]).stdout) as object;
      const replaced = kubectl(["replace", "--subresource=status", "-f", "-"], JSON.stringify({ ...read, status }));
      expect(replaced).toMatchObject({ code: 0, stderr: "" });
    });

    test("not what lint warns of: so many small values that noting who set each is too much", () => {
      const text = asJson(nodesOf(1_000, 0, 78));
      expect(text.length).toBeLessThan(700_000);
      expect(lintOf(text)).toEqual([expect.stringMatching(/^an API server would store 1[0-9]{6} bytes/)]);
      expect(apply(text).stderr).toContain("request is too large");
    });
  });

  test("hold their cost at 1,000 nodes with 50 dependencies each", () => {
    const nodes = Array.from({ length: 1_000 }, (_node, at) => ({
      name: `n-${at}`,
      tool: { ref: "hello" },
      dependsOn: Array.from({ length: Math.min(50, at) }, (_dependency, back) => `n-${at - back - 1}`),
    }));
    const created = kubectl(["create", "--dry-run=server", "-f", "-"], execution("wide", { nodes }));
    expect(created).toMatchObject({ code: 0, stderr: "" });
  });
});
