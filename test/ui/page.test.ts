/** The page as a person uses it, in a real Chromium. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stage, stage } from "./page.ts";
import { type SeedStep, specOf } from "./seed.ts";

const hostile =
  "<img src=x onerror=\"window.hacked='img'\"><script>window.hacked='script'</script><svg onload=\"window.hacked='svg'\">";
const oddNode = "<b onmouseover=window.hacked=1>a\u202Eb&amp;\"'[0]";

const steps: readonly SeedStep[] = [
  {
    kind: "model",
    name: "main",
    input: [
      { role: "system", content: "You are careful." },
      { role: "user", content: "Find facts." },
    ],
    output: { role: "assistant", content: "", note: "asks the tool" },
    toolCalls: [{ name: "search", arguments: { q: "heat pumps" } }],
    tokens: 120,
  },
  { kind: "tool", name: "search", input: { q: "heat pumps" }, output: { facts: ["one", "two"] } },
  { kind: "model", name: "main", input: "And now?", output: `Look: ${hostile}`, tokens: 480 },
];

let on: Stage;
beforeAll(async () => {
  on = await stage();
  const nodes = [{ name: "gather" }, { name: oddNode, dependsOn: ["gather"] }, { name: "write", dependsOn: [oddNode] }];
  await on.home.add({
    name: "brief",
    spec: { ...specOf(nodes), task: `Write a brief ${hostile}` },
    status: {
      phase: "Failed",
      completedAt: "2026-03-01T09:00:09.000Z",
      nodeCounts: { Succeeded: 1, Failed: 1, Skipped: 1 },
      usage: {
        inputTokens: 600,
        outputTokens: 0,
        totalTokens: 600,
        lostTokens: 0,
        overshootTokens: 0,
        modelCalls: 2,
        toolCalls: 1,
      },
      conditions: [
        {
          type: "Succeeded",
          status: "False",
          reason: "NodeFailed",
          message: `it said ${hostile}`,
          lastTransitionTime: "2026-03-01T09:00:09.000Z",
        },
      ],
    },
    rows: [
      { name: "gather", state: "Succeeded", attempt: 1, steps: 3 },
      { name: oddNode, state: "Failed", attempt: 1, steps: 1, reason: "ToolFailure", message: hostile },
      { name: "write", state: "Skipped" },
    ],
    journals: [
      { node: "gather", steps },
      {
        node: oddNode,
        steps: [
          {
            kind: "tool",
            name: hostile,
            input: { [hostile]: hostile },
            output: null,
            error: { class: "ToolFailure", message: hostile },
          },
        ],
      },
    ],
    tokenLimit: 1_000,
  });
  await on.home.add({
    name: "other",
    namespace: "team-a",
    spec: specOf([{ name: "a" }]),
    status: { phase: "Running" },
    rows: [{ name: "a", state: "Running", attempt: 1 }],
  });
});
afterAll(() => on.end());

const steps_ = (page: Page) => page.getByRole("grid", { name: "Steps" });

/** A page that goes elsewhere forgets what was done to it: to be asked before. */
async function expectUnharmed(page: Page): Promise<void> {
  expect(await page.evaluate(() => (globalThis as { hacked?: unknown }).hacked)).toBeUndefined();
  expect(await page.locator("main img, main script:not([src]), main svg[onload]").count()).toBe(0);
}

describe("the list of runs", () => {
  it("shows the runs of every namespace with phase, nodes, steps and tokens, and filters them", async () => {
    const page = await on.open();
    const rows = page.getByRole("grid", { name: "Runs" }).locator(".row");
    await expect.poll(() => rows.count()).toBe(2);
    const brief = rows.filter({ hasText: "brief" });
    await expect.poll(() => brief.innerText()).toMatch(/Failed\s+1\/3\s+4\s+600/);
    await page.getByRole("searchbox").fill("team-a/");
    await expect.poll(() => rows.allInnerTexts()).toHaveLength(1);
    expect(page.url()).toContain("q=team-a");
    await page.getByRole("searchbox").fill("");
    await page.getByRole("button", { name: "Failed" }).click();
    await expect.poll(() => rows.count()).toBe(1);
    await page.context().close();
  });

  it("takes the token out of the address, and opens again without it in another tab", async () => {
    const page = await on.open();
    await expect.poll(() => page.getByRole("grid").count()).toBe(1);
    expect(page.url()).not.toContain("#");
    const second = await page.context().newPage();
    await second.goto(page.url());
    await expect.poll(() => second.getByRole("grid").count()).toBe(1);
    await page.context().close();
  });

  it("goes on after a skip to the content, and a reload", async () => {
    const page = await on.open();
    await expect.poll(() => page.getByRole("grid").count()).toBe(1);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("main");
    await page.reload();
    await expect.poll(() => page.getByRole("grid", { name: "Runs" }).locator(".row").count()).toBe(2);
    await page.context().close();
  });

  it("says what to do where the token is missing or another", async () => {
    const { origin } = await on.server();
    const page = await on.open();
    await page.evaluate(() => localStorage.clear());
    await page.goto(origin);
    await expect.poll(() => page.getByRole("alert").getByText("the token is missing").count()).toBe(1);
    await page.goto(`${origin}#${"A".repeat(43)}`);
    await page.reload();
    await expect.poll(() => page.getByRole("alert").getByText("oao ui was started again since").count()).toBe(1);
    await page.context().close();
    on.complaints.splice(0); // the browser's own lines about 401
  });
});

describe("a run", () => {
  it("shows its graph, its steps with tokens and budget, and a step whole", async () => {
    const page = await on.open("runs/default/brief");
    await expect.poll(() => page.getByText("600 of 1,000 tokens").count()).toBe(1);
    await expect.poll(() => page.getByRole("img", { name: /^gather: Succeeded, 3 steps/ }).count()).toBe(1);
    await expect.poll(() => steps_(page).locator(".row").count()).toBe(4);
    await steps_(page).locator(".row").nth(0).click();
    const side = page.getByRole("complementary", { name: "Details" });
    await expect.poll(() => side.getByText("You are careful.").count()).toBe(1);
    await expect.poll(() => side.getByText('"heat pumps"').count()).toBe(1);
    await steps_(page).locator(".row").nth(1).click();
    await expect.poll(() => side.getByText('"two"').count()).toBe(1);
    await page.context().close();
  });

  it("never takes recorded text for markup", async () => {
    const page = await on.open("runs/default/brief");
    const side = page.getByRole("complementary", { name: "Details" });
    await expect.poll(() => side.getByText("it said <img").count()).toBe(1);
    for (let index = 0; index < 4; index += 1) {
      await steps_(page).locator(".row").nth(index).click();
      await expect.poll(() => side.getByText("Entry").count()).toBe(1);
      await expectUnharmed(page);
    }
    await expect.poll(() => side.getByText("ToolFailure").first().count()).toBe(1);
    await page.getByRole("button", { name: "Table" }).click();
    await page.getByRole("grid", { name: "Nodes" }).locator(".row").nth(1).hover();
    await expectUnharmed(page);
    await page.goto(new URL("/", page.url()).href);
    await expect.poll(() => page.getByRole("grid", { name: "Runs" }).count()).toBe(1);
    await expectUnharmed(page);
    expect(on.complaints).toEqual([]);
    await page.context().close();
  });

  it("cannot be made to take text for markup, not even by its own code", async () => {
    const page = await on.open("runs/default/brief");
    await expect.poll(() => page.getByRole("application").count()).toBe(1);
    const refused = await page.evaluate(() =>
      [
        () => (document.createElement("p").innerHTML = "<b>bold</b>"),
        () => document.body.insertAdjacentHTML("beforeend", "<b>bold</b>"),
        () => (document.createElement("script").src = "/assets/app.js"),
      ].map((attempt) => {
        try {
          attempt();
          return "done";
        } catch (error) {
          return (error as Error).name;
        }
      }),
    );
    expect(refused).toEqual(["TypeError", "TypeError", "TypeError"]);
    await page.context().close();
    on.complaints.splice(0); // the browser's own lines about what it refused
  });

  it("shows characters that turn or hide text as what they are", async () => {
    const page = await on.open("runs/default/brief?nodes=table");
    await expect.poll(() => page.getByRole("grid", { name: "Nodes" }).getByText("\\u202e").count()).toBe(1);
    await page.context().close();
  });

  it("hears of what other processes write", async () => {
    const page = await on.open("runs/team-a/other");
    await expect.poll(() => page.getByRole("img", { name: /^a: Running/ }).count()).toBe(1);
    await expect.poll(() => page.getByRole("status").getByText("Live").count()).toBe(1);
    const run = on.home.index.get({ namespace: "team-a", name: "other" });
    if (run?.status === undefined) throw new Error("it is there");
    on.home.index.writeStatus(run, {
      ...run.status,
      phase: "Succeeded",
      nodes: [{ name: "a", state: "Succeeded", attempt: 1 }],
      completedAt: "2026-03-01T09:01:00.000Z",
    });
    await expect.poll(() => page.getByRole("img", { name: /^a: Succeeded/ }).count()).toBe(1);
    await page.context().close();
  });

  it("says what a run that is not there is", async () => {
    const page = await on.open("runs/default/brieff");
    await expect.poll(() => page.getByRole("alert").getByText("did you mean brief?").count()).toBe(1);
    await page.context().close();
    on.complaints.splice(0); // the browser's own line about 404
  });
});

describe("a keyboard", () => {
  it("opens a run, walks through graph and steps, and reads a step", async () => {
    const page = await on.open();
    await expect.poll(() => page.getByRole("grid", { name: "Runs" }).locator(".row").count()).toBe(2);
    await page.getByRole("searchbox").focus();
    await page.keyboard.press("ArrowDown");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("runs");
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    const graph = page.getByRole("application");
    await graph.focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.getByRole("heading", { level: 2, name: "\\u202e" }).count()).toBe(1);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await expect.poll(() => page.getByRole("heading", { level: 2, name: "Node gather" }).count()).toBe(1);
    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("steps");
    await expect.poll(() => steps_(page).locator(".row").count()).toBe(3);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await expect.poll(() => page.getByRole("heading", { level: 2, name: "Step 2" }).count()).toBe(1);
    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("step-panel");
    await page.context().close();
  });

  it("reaches every control by Tab, each with a name and a visible focus", async () => {
    const page = await on.open("runs/default/brief");
    await expect.poll(() => steps_(page).locator(".row").nth(3).count()).toBe(1);
    const seen = new Set<string>();
    for (let press = 0; press < 20; press += 1) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate(() => {
        const element = document.activeElement as HTMLInputElement;
        const { outlineStyle } = getComputedStyle(element);
        const label = element.labels?.[0]?.textContent;
        return {
          name: (element.getAttribute("aria-label") ?? label ?? element.textContent ?? "").trim(),
          isShown: outlineStyle !== "none" || element === document.body,
        };
      });
      expect(focused.isShown, focused.name).toBe(true);
      seen.add(focused.name.split(".")[0] ?? "");
    }
    for (const name of [
      "Skip to content",
      "Runs",
      "Compare…",
      "Graph",
      "Table",
      "Graph of 3 nodes",
      "Zoom in",
      "Fit",
      "Filter steps",
      "Steps",
    ])
      expect([...seen]).toContain(name);
    await page.context().close();
  });
});

describe("colours", () => {
  it.each(["light", "dark"] as const)(
    "are %s where the system is, with enough contrast for text",
    async (colorScheme) => {
      const page = await on.open("runs/default/brief", { colorScheme });
      await steps_(page).locator(".row").nth(0).click();
      await expect.poll(() => page.getByText("You are careful.").count()).toBe(1);
      const { ratio, isDark } = await page.evaluate(() => {
        const channel = (value: number) =>
          value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
        const luminance = (color: string) => {
          const [r = 0, g = 0, b = 0] = (color.match(/\d+/g) ?? []).map(Number);
          return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        };
        const behind = (element: Element | null): string => {
          if (element === null) return getComputedStyle(document.body).backgroundColor;
          const color = getComputedStyle(element).backgroundColor;
          return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color;
        };
        const texts = [...document.querySelectorAll("main *, header *")].filter(
          (element) =>
            element instanceof HTMLElement &&
            [...element.childNodes].some((node) => node.nodeType === 3 && (node.textContent ?? "").trim() !== "") &&
            element.closest(":disabled, .hidden, .skip") === null,
        );
        const ratios = texts.map((element) => {
          const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        });
        return { ratio: Math.min(...ratios), isDark: luminance(getComputedStyle(document.body).backgroundColor) < 0.2 };
      });
      expect(isDark).toBe(colorScheme === "dark");
      expect(ratio).toBeGreaterThanOrEqual(4.5);
      await page.context().close();
    },
  );
});
