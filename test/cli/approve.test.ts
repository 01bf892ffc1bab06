import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Workplace, workplace } from "./harness.ts";

let place: Workplace;
beforeAll(() => {
  place = workplace();
  writeFileSync(
    join(place.folder, "note.mjs"),
    `import { appendFileSync, existsSync, writeFileSync } from "node:fs";
export const draft = () => ({ title: "Heat pumps" });
export const publish = ({ by }) => "published, approved by " + by;
// Kills its own process the first time, right after it has taken effect.
export const pay = () => { appendFileSync("paid", "x"); if (!existsSync("died")) { writeFileSync("died", ""); process.kill(process.pid, "SIGKILL"); } return "paid"; };
`,
  );
  writeFileSync(
    join(place.folder, "brief.yaml"),
    `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: brief }
spec:
  task: t
  tools:
    - { name: draft, module: { path: note.mjs } }
    - { name: publish, module: { path: note.mjs } }
  nodes:
    - { name: draft, tool: { ref: draft } }
    - { name: sign-off, dependsOn: [draft], approval: { message: "Publish $(nodes.draft.output.title)?" } }
    - { name: publish, dependsOn: [sign-off], tool: { ref: publish, arguments: { by: "$(nodes['sign-off'].output.by)" } } }
`,
  );
  writeFileSync(
    join(place.folder, "pay.yaml"),
    `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: pay }
spec:
  task: t
  tools: [{ name: pay, module: { path: note.mjs } }]
  nodes: [{ name: pay, tool: { ref: pay } }]
---
apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: ask, labels: { oao.dev/default: "true" } }
spec: { onInDoubt: Ask }
`,
  );
});
afterAll(() => place.end());

const requestIn = (text: string) => /oao approve \S+ (\S+)/.exec(text)?.[1] ?? "";

describe("an approval node", () => {
  it("ends the process with exit 6 and the command that answers; approved, the run goes on with who said so", async () => {
    const asked = await place.oao(["run", "brief.yaml"]);
    expect(asked.code).toBe(6);
    expect(asked.stderr).toMatch(/Awaiting approval\n +sign-off asks: Publish Heat pumps\?/);
    expect(await place.oao(["get", "brief"])).toMatchObject({ stdout: expect.stringContaining("AwaitingApproval") });
    // Nobody has answered yet.
    expect(await place.oao(["resume", "brief"])).toMatchObject({ code: 6 });
    expect(await place.oao(["approve", "brief", "other"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`oao approve brief ${requestIn(asked.stderr)}`),
    });
    expect(await place.oao(["approve", "brief"])).toMatchObject({ code: 0 });
    const ended = await place.oao(["resume", "brief"]);
    expect(ended).toMatchObject({ code: 0, stdout: `published, approved by ${userInfo().username}\n` });
    expect(await place.oao(["approve", "brief"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("waits for no approval (it is Succeeded)"),
    });
    expect((await place.oao(["trace", "brief"])).stdout).toMatch(/sign-off +approval/);
  });

  it("that is rejected fails the run", async () => {
    expect(await place.oao(["run", "brief.yaml", "--name", "no"])).toMatchObject({ code: 6 });
    expect(await place.oao(["approve", "no", "--reject"])).toMatchObject({ code: 0 });
    const ended = await place.oao(["resume", "no"]);
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("sign-off: Rejected: rejected by") });
  });
});

describe("a NonIdempotent call that a crash left in doubt, under onInDoubt: Ask", () => {
  it("waits for a person, is made again only once approved, and the answer is in the trace", async () => {
    const asked = await place.oao(["run", "pay.yaml"]);
    expect(asked.code).toBe(6);
    expect(asked.stderr).toMatch(/pay asks: tool pay is NonIdempotent and was called before a crash/);
    expect(await place.oao(["approve", "pay"])).toMatchObject({ code: 0 });
    expect(await place.oao(["resume", "pay"])).toMatchObject({ code: 0, stdout: "paid\n" });
    expect((await place.oao(["trace", "pay"])).stdout).toMatch(/pay +approval/);
    const steps = JSON.parse((await place.oao(["trace", "pay", "-o", "json"])).stdout) as {
      kind: string;
      output: unknown;
    }[];
    expect(steps).toMatchObject([
      { kind: "approval", output: { decision: "Approved" } },
      { kind: "tool", output: "paid" },
    ]);
  });
});
