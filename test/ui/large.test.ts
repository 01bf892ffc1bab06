/** 1,000 nodes and 10,000 steps: the document holds what is in sight, and the page answers at once. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "playwright-core";
import { largeRun, stepCount } from "./large-run.ts";
import { type Stage, stage } from "./page.ts";
import { specOf } from "./seed.ts";

/** Of a page that shows everything, tens of thousands. */
const elementsMax = 1_500;

let on: Stage;
let page: Page;
beforeAll(async () => {
  on = await stage();
  await on.home.add(largeRun("large"));
  for (let index = 0; index < 300; index += 1) {
    on.home.list({ name: `run-${index}`, spec: specOf([{ name: "a" }]), status: { phase: "Succeeded" }, rows: [] });
  }
  page = await on.open("runs/default/large");
});
afterAll(() => on.end());

const elements = () => page.evaluate(() => document.querySelectorAll("*").length);
const steps = () => page.getByRole("grid", { name: "Steps" });

describe("a run of 1,000 nodes and 10,000 steps", () => {
  it("is shown whole with a bounded document", async () => {
    await expect.poll(() => page.getByRole("application", { name: /Graph of 1,000 nodes/ }).count()).toBe(1);
    await steps().locator(".row").first().waitFor();
    await expect.poll(() => steps().getAttribute("aria-rowcount")).toBe("10001");
    expect(await elements()).toBeLessThan(elementsMax);
  });

  it("keeps it bounded when the graph is near, and at the end of the steps", async () => {
    await page.getByRole("application").focus();
    for (let press = 0; press < 14; press += 1) await page.keyboard.press("+");
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.locator("g.node.selected").count()).toBe(1);
    expect(await elements()).toBeLessThan(elementsMax);
    await page.keyboard.press("Escape");
    await expect.poll(() => page.locator("g.node.selected").count()).toBe(0);
    await expect.poll(() => steps().getAttribute("aria-rowcount")).toBe(String(stepCount + 1));
    await steps().focus();
    await page.keyboard.press("End");
    await expect.poll(() => page.getByRole("heading", { name: "Step 10000" }).count()).toBe(1);
    await expect.poll(() => page.getByText("answer 999").count()).toBe(1);
    expect(await elements()).toBeLessThan(elementsMax);
  });

  it("goes to the step that the address names, wherever it is", async () => {
    await page.reload();
    const marked = steps().locator(".row[aria-selected=true]");
    await expect.poll(() => marked.getAttribute("aria-rowindex")).toBe(String(stepCount + 1));
    await expect.poll(() => marked.innerText()).toMatch(/^10000/);
  });

  it("filters 10,000 steps", async () => {
    await page.getByRole("searchbox").fill("node-0003");
    await expect.poll(() => steps().getAttribute("aria-rowcount")).toBe("1001");
  });

  it("shows 1,000 nodes as a table of what is in sight", async () => {
    await page.getByRole("button", { name: "Table" }).click();
    await page.getByRole("grid", { name: "Nodes" }).focus();
    await page.keyboard.press("End");
    await expect.poll(() => page.getByRole("heading", { name: "Node node-0999" }).count()).toBe(1);
    expect(await elements()).toBeLessThan(elementsMax);
  });

  it("folds a conversation of 400 messages, until all of it is asked for", async () => {
    const messages = Array.from({ length: 400 }, (_, index) => ({ role: "user", content: `message ${index}` }));
    await on.home.add({
      name: "long",
      spec: specOf([{ name: "a" }]),
      status: { phase: "Succeeded" },
      rows: [{ name: "a", state: "Succeeded", attempt: 1 }],
      journals: [{ node: "a", steps: [{ kind: "model", name: "main", input: messages, output: "yes" }] }],
    });
    await page.goto(new URL("/runs/default/long", page.url()).href);
    await steps().locator(".row").first().click();
    const side = page.getByRole("complementary", { name: "Details" });
    await expect.poll(() => side.getByRole("listitem").filter({ hasText: "message" }).count()).toBe(42);
    expect(await side.getByRole("button", { name: "Copy what is shown" }).count()).toBe(1);
    await side.getByRole("button", { name: "359 messages more" }).click();
    await expect.poll(() => side.getByText(/^message \d+$/).count()).toBe(400);
    expect(await side.getByRole("button", { name: "Copy JSON" }).count()).toBe(1);
  });

  it("lists hundreds of runs the same way", async () => {
    await page.getByRole("link", { name: "Runs" }).click();
    const runs = page.getByRole("grid", { name: "Runs" });
    await expect.poll(() => runs.getAttribute("aria-rowcount")).toBe("303");
    expect(await elements()).toBeLessThan(elementsMax);
    expect(on.complaints).toEqual([]);
  });
});
