/** Comparing runs, and replaying one from a step: real runs of the real program. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stage, stage } from "./page.ts";
import { type SeedStep, specOf } from "./seed.ts";

const tools = "export const count = async ({ from }) => ({ next: from + 1 });\n";
const manifest = `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: counted }
spec:
  task: count
  tools: [{ name: count, effect: ReadOnly, module: { path: tools.mjs } }]
  nodes:
    - { name: one, tool: { ref: count, arguments: { from: 0 } } }
    - { name: two, dependsOn: [one], tool: { ref: count, arguments: { from: $(nodes.one.output.next) } } }
`;

const answer = (text: string, tokens: number, id = "chat-1"): SeedStep => {
  return { kind: "model", name: "main", input: "Say it.", output: { role: "assistant", content: text, id }, tokens };
};

let on: Stage;
beforeAll(async () => {
  on = await stage();
  writeFileSync(join(on.place.folder, "tools.mjs"), tools);
  writeFileSync(join(on.place.folder, "counted.yaml"), manifest);
  const { code, stderr } = await on.place.oao(["run", "counted.yaml"]);
  if (code !== 0) throw new Error(stderr);
  const spec = specOf([{ name: "a" }, { name: "b", dependsOn: ["a"] }]);
  const ended = { phase: "Succeeded", completedAt: "2026-03-01T09:00:09.000Z" } as const;
  for (const [name, second] of [
    ["left", answer("It is cold <b>today</b>.", 20)],
    ["right", answer("It is warm <b>today</b>.", 25)],
  ] as const) {
    await on.home.add({
      name,
      spec,
      status: ended,
      rows: [
        { name: "a", state: "Succeeded", attempt: 1 },
        { name: "b", state: "Succeeded", attempt: 1 },
      ],
      journals: [
        { node: "a", steps: [answer("Yes.", 10, `chat-of-${name}`), second] },
        { node: "b", steps: name === "left" ? [answer("Same.", 5), answer("More.", 5)] : [answer("Same.", 5)] },
      ],
    });
  }
});
afterAll(() => on.end());

const pairs = (page: Page) => page.getByRole("grid", { name: "Pairs of steps" });

describe("comparing two runs", () => {
  it("marks the first divergence and shows both sides of what differs", async () => {
    const page = await on.open("diff/default/left/default/right");
    await expect
      .poll(() => page.getByText("1 changed · 1 only left · 1 same but for the provider's ids · 1 same").count())
      .toBe(1);
    await expect.poll(() => pairs(page).locator(".row").count()).toBe(4);
    expect(await pairs(page).locator(".row.first-divergence").getAttribute("aria-rowindex")).toBe("3");
    const differences = page.getByRole("region", { name: "What differs" });
    await expect.poll(() => differences.getByText("$.output.content").count()).toBe(1);
    expect(await differences.locator("mark").allInnerTexts()).toEqual(["cold", "warm"]);
    expect(await differences.locator("b").count()).toBe(0);
    await page.getByRole("button", { name: "Next" }).click();
    await expect.poll(() => differences.getByText("the other run has none at its place").count()).toBe(1);
    await page.getByRole("button", { name: "Different", exact: true }).click();
    await expect.poll(() => pairs(page).locator(".row").count()).toBe(2);
    expect(on.complaints).toEqual([]);
    await page.context().close();
  });

  it("says in what the first pair differs also where it was opened before there was a step", async () => {
    const spec = specOf([{ name: "a" }]);
    const rows = [{ name: "a", state: "Running", attempt: 1 }] as const;
    for (const name of ["early", "late"]) await on.home.add({ name, spec, status: { phase: "Running" }, rows });
    const page = await on.open("diff/default/early/default/late");
    await expect.poll(() => page.getByText("Neither run has recorded a step.").count()).toBe(1);
    for (const name of ["early", "late"]) {
      const run = on.home.index.get({ namespace: "default", name });
      if (run === undefined) throw new Error(`${name} is gone`);
      const journals = [{ node: "a", steps: [answer(name, 1)] }];
      await on.home.record(run, { status: { phase: "Running" }, rows, journals });
    }
    const differences = page.getByRole("region", { name: "What differs" });
    await expect.poll(() => differences.getByText("$.output.content").count()).toBe(1);
    expect(on.complaints).toEqual([]);
    await page.context().close();
  });

  it("is reached from a run by keyboard, and walks through pairs", async () => {
    const page = await on.open("runs/default/left");
    await page.getByRole("button", { name: "Compare" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("combobox").fill("default/right");
    await page.keyboard.press("Enter");
    await expect.poll(() => pairs(page).locator(".row").count()).toBe(4);
    expect(new URL(page.url()).pathname).toBe("/diff/default/right/default/left");
    await pairs(page).focus();
    await page.keyboard.press("Home");
    await expect.poll(() => page.getByText("Only ids and metadata differ").count()).toBe(1);
    await page.context().close();
  });
});

describe("the Replay button", () => {
  it("runs the same as oao replay NAME --from-step N, and leads to the new run", async () => {
    const page = await on.open("runs/default/counted");
    const steps = page.getByRole("grid", { name: "Steps" });
    await steps.locator(".row").nth(1).click();
    await page.getByRole("button", { name: "Replay from here" }).click();
    await expect.poll(() => new URL(page.url()).pathname).toBe("/runs/default/counted-replay-1");
    await expect.poll(() => page.locator(".run-bar").getByText("Succeeded").count()).toBe(1);
    await expect.poll(() => steps.locator(".row").count()).toBe(2);
    expect(await steps.locator(".row").nth(0).innerText()).toContain("from the record");
    await page.getByRole("link", { name: "Compare" }).click();
    await expect.poll(() => page.getByText("The same, step by step (2 steps)").count()).toBe(1);
    expect(on.complaints).toEqual([]);
    await page.context().close();
  });

  it("leads to a run that may have recorded nothing yet, which is no complaint", async () => {
    on.home.create({ name: "new", spec: specOf([{ name: "a" }]) });
    const page = await on.open("runs/default/new");
    await expect.poll(() => page.getByText("No steps are recorded yet.").count()).toBe(1);
    expect(await page.getByRole("alert").count()).toBe(0);
    expect(on.complaints).toEqual([]);
    await page.context().close();
  });

  it("is not there while a run goes on, and a refusal is said", async () => {
    await on.home.add({
      name: "at-work",
      spec: specOf([{ name: "a" }]),
      status: { phase: "Running" },
      rows: [{ name: "a", state: "Running", attempt: 1 }],
      journals: [{ node: "a", steps: [answer("Yes.", 10)] }],
    });
    const page = await on.open("runs/default/at-work");
    await page.getByRole("grid", { name: "Steps" }).locator(".row").first().click();
    await expect.poll(() => page.getByRole("complementary", { name: "Details" }).getByText("Entry").count()).toBe(1);
    expect(await page.getByRole("button", { name: "Replay from here" }).count()).toBe(0);
    await page.context().close();
    const { origin, token } = await on.server();
    const answered = await fetch(`${origin}api/runs/default/counted/replay`, {
      method: "POST",
      body: JSON.stringify({ fromStep: 99 }),
      headers: { authorization: `Bearer ${token}` },
    });
    expect([answered.status, ((await answered.json()) as { detail: string }).detail]).toEqual([
      409,
      expect.stringMatching(/step 99|1 to 2|2 steps/),
    ]);
  });
});
