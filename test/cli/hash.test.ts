import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sha256Hex } from "../../src/core/digest/digest.ts";
import { type Workplace, workplace } from "./harness.ts";

let place: Workplace;
const zeros = `sha256:${"0".repeat(64)}`;
const parts = ["task", "policy", "agents", "tools", "runtime"];

interface Told {
  readonly executionHash: string;
  readonly hashParts: Readonly<Record<string, string>>;
  readonly policies: readonly string[];
  readonly explained: Readonly<Record<string, string>>;
}

function write(name: string, text: string): string {
  writeFileSync(join(place.folder, name), text);
  return name;
}

const manifest = (spec: string, name = "greet") => `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: ${name} }
spec:
  task: Say hello
  tools: [{ name: hello, module: { path: hello.mjs } }]
  nodes: [{ name: say, tool: { ref: hello } }]
${spec}`;
const policy = (spec: string) => `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: strict, labels: { oao.dev/default: "true" } }
spec: ${spec}
`;

async function hashOf(...args: string[]): Promise<Told> {
  const { code, stdout, stderr } = await place.oao(["hash", ...args, "-o", "json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Told;
}

beforeAll(() => {
  place = workplace();
  write("hello.mjs", "export const hello = () => 'hi';");
  write("greet.yaml", manifest(""));
  write("strict.yaml", policy("{ maxTokens: 500 }"));
});
afterAll(() => place.end());

describe("oao hash", () => {
  test("of a file is that of its run with the same policies, and --explain shows the very bytes", async () => {
    const planned = await hashOf("greet.yaml", "--policy", "strict.yaml", "--explain");
    expect(planned.policies).toEqual(["strict"]);
    for (const part of parts)
      expect(planned.hashParts[part]).toBe(`sha256:${sha256Hex(planned.explained[part] ?? "")}`);
    // The whole is over the parts, with their names in order.
    const over = Object.fromEntries(Object.entries(planned.hashParts).sort(([a], [b]) => (a < b ? -1 : 1)));
    expect(planned.executionHash).toBe(`sha256:${sha256Hex(JSON.stringify(over))}`);
    expect((await place.oao(["run", "greet.yaml", "--policy", "strict.yaml"])).code).toBe(0);
    expect(await hashOf("greet", "--explain")).toEqual(planned);
    expect((await place.oao(["get", "greet"])).stdout).toContain(`hash: ${planned.executionHash}`);
    // The policy that the run stored governs what comes next, too.
    expect((await hashOf("greet.yaml")).executionHash).toBe(planned.executionHash);
    const { status } = JSON.parse((await place.oao(["get", "greet", "-o", "json"])).stdout) as { status: object };
    expect(status).toMatchObject({
      policies: [{ name: "strict", generation: 1 }],
      policyHash: planned.hashParts["policy"],
    });
  });

  test("of two says which parts and fields differ, with exit code 1", async () => {
    write("other.yaml", manifest("  finally: [{ name: clean, tool: { ref: hello } }]"));
    const { code, stdout } = await place.oao(["hash", "greet.yaml", "other.yaml"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^PART +FIELD +greet.yaml +other.yaml\ntask +sha256:\w{12}… +sha256:\w{12}…\n +\$\.finally\.clean +\(absent\)/,
    );
    write("renamed.yaml", `# the same\n${manifest("  parallelism: 3\n", "renamed")}`);
    expect((await place.oao(["hash", "greet.yaml", "renamed.yaml"])).code).toBe(0);
  });

  test("of a name without a run, a run that was never opened and three names is refused with what to do", async () => {
    expect(await place.oao(["hash", "nobody"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no Execution") as string,
    });
    write("waits.yaml", manifest("  policyRef: { name: absent }", "waits"));
    const waits = await place.oao(["hash", "waits.yaml"]);
    expect(waits).toMatchObject({ code: 2, stderr: expect.stringContaining("--policy POLICY.yaml") as string });
    expect((await place.oao(["hash", "greet", "greet", "greet"])).code).toBe(2);
  });
});

describe("spec.expectedHash", () => {
  test("of a part that the file itself settles is checked by lint and by run, and oao hash still says what it is", async () => {
    const file = write("drifted.yaml", manifest(`  expectedHash: { task: "${zeros}" }`, "drifted"));
    const { hashParts } = await hashOf(file);
    const linted = await place.oao(["lint", file]);
    expect(linted).toMatchObject({ code: 2, stdout: expect.stringContaining(`write ${hashParts["task"]}`) as string });
    expect(linted.stdout).toContain("drifted.yaml:8:25  spec.expectedHash.task  task is sha256:");
    expect((await place.oao(["run", file])).code).toBe(2);
    write("pinned.yaml", manifest(`  expectedHash: { task: "${hashParts["task"]}" }`, "pinned"));
    expect((await place.oao(["lint", "pinned.yaml"])).code).toBe(0);
  });

  test("of the policy is checked when the run is opened: Failed, nothing done, the part and both digests named", async () => {
    write("guarded.yaml", manifest(`  expectedHash: { policy: "${zeros}" }`, "guarded"));
    expect((await place.oao(["lint", "guarded.yaml"])).code).toBe(0);
    const refused = await place.oao(["run", "guarded.yaml"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /HashMismatch: policy is sha256:\w{12}…, expected sha256:000000000000…; see what was hashed: oao hash/,
    );
    const { hashParts, executionHash } = await hashOf("guarded", "--explain");
    write(
      "sure.yaml",
      manifest(`  expectedHash: { hash: "${executionHash}", policy: "${hashParts["policy"]}" }`, "sure"),
    );
    expect((await place.oao(["run", "sure.yaml"])).code).toBe(0);
  });
});
