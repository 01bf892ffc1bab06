/**
 * What a person waits for on the page of oao ui, with a run of 1,000 nodes and 10,000 steps: the real program and a Chromium
 * without a GPU. Run: npm run bench -- page. Rounds: OAO_BENCH_ROUNDS (5); each has a server of its own, so nothing is warm.
 */
import { loadavg } from "node:os";
import type { Page } from "playwright-core";
import { largeRun, stepCount } from "../ui/large-run.ts";
import { type Stage, stage } from "../ui/page.ts";
import { percentile, printTable, summary } from "./table.ts";

const rounds = Number(process.env["OAO_BENCH_ROUNDS"] ?? 5);
const framesPerRound = 100;
/** What a display of 60 Hz shows at best. */
const frameMs = 1_000 / 60;

const waits = new Map<string, number[]>();
const frames = new Map<string, number[]>();

function note(kept: Map<string, number[]>, what: string, values: readonly number[]): void {
  kept.set(what, [...(kept.get(what) ?? []), ...values]);
}

async function timed(what: string, work: () => Promise<unknown>): Promise<void> {
  const startedMs = performance.now();
  await work();
  note(waits, what, [performance.now() - startedMs]);
}

/** Time from frame to frame while something happens in each of them. */
async function framesWhile(page: Page, what: string, script: string): Promise<void> {
  const gaps = await page.evaluate<number[]>(`new Promise((resolve) => {
    const act = ${script};
    const gaps = [];
    let last = performance.now();
    const frame = () => requestAnimationFrame(() => {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
      if (gaps.length > ${framesPerRound}) return resolve(gaps.slice(1));
      act(gaps.length);
      frame();
    });
    frame();
  })`);
  note(frames, what, gaps);
}

async function round(): Promise<void> {
  const on: Stage = await stage();
  try {
    await on.home.add(largeRun("large"));
    await on.home.add(largeRun("other", (index) => `answer ${index === 500 ? "otherwise" : index}`));
    const page = await on.open();
    await page.getByRole("grid", { name: "Runs" }).locator(".row").first().waitFor();
    const steps = page.getByRole("grid", { name: "Steps" });
    await timed("run opened: its graph is there", async () => {
      await page.getByRole("link", { name: "large" }).click();
      await page.getByRole("application").locator("path.far").first().waitFor();
    });
    await timed("and its first steps (10,000 entries read, chains checked)", () =>
      steps.locator(".row .num").first().waitFor(),
    );
    await framesWhile(
      page,
      "scrolling steps, a screen a frame",
      `(() => {
      const box = document.querySelector("#steps .scroll");
      return () => { box.scrollTop += 300; };
    })()`,
    );
    await framesWhile(
      page,
      "scrolling steps, from end to end",
      `(() => {
      const box = document.querySelector("#steps .scroll");
      return (frame) => { box.scrollTop = (box.scrollHeight / ${framesPerRound}) * frame; };
    })()`,
    );
    await framesWhile(
      page,
      "zooming the graph, all of it to single nodes and back",
      `(() => {
      const canvas = document.querySelector(".canvas");
      const wheel = (deltaY) => new WheelEvent("wheel", { deltaY, clientX: 400, clientY: 250, cancelable: true });
      return (frame) => canvas.dispatchEvent(wheel(frame < ${framesPerRound / 2} ? -30 : 30));
    })()`,
    );
    await steps.focus();
    await page.keyboard.press("Home");
    await page.getByRole("heading", { name: "Step 1", exact: true }).waitFor();
    await timed("End, until the contents of step 10,000 are there", async () => {
      await page.keyboard.press("End");
      await page.getByRole("heading", { name: `Step ${stepCount}` }).waitFor();
      await page.getByText("answer 999").waitFor();
    });
    await timed("a filter typed, until only its steps are there", async () => {
      await page.getByRole("searchbox").fill("node-0003");
      await page.locator('#steps[aria-rowcount="1001"]').waitFor();
    });
    await timed("two runs compared, until the first divergence is open", async () => {
      await page.goto(new URL("/diff/default/large/default/other", page.url()).href);
      await page.getByText("$.output").first().waitFor();
    });
    const pairs = page.getByRole("grid", { name: "Pairs of steps" });
    await pairs.locator(".row").first().waitFor();
    await framesWhile(
      page,
      "scrolling pairs, a screen a frame",
      `(() => {
      const box = document.querySelector(".diff .scroll");
      return () => { box.scrollTop += 300; };
    })()`,
    );
  } finally {
    await on.end();
  }
}

for (let done = 0; done < rounds; done += 1) await round();
printTable(
  `page: ${rounds} rounds, load ${loadavg()[0]?.toFixed(1)}`,
  ["what", "median (min–max), ms"],
  [...waits].map(([what, values]) => [what, summary(values, 0).text]),
);
printTable(
  `frames, ${rounds * framesPerRound} each; at best one in ${frameMs.toFixed(1)} ms`,
  ["while", "median", "95th", "longest, ms"],
  [...frames].map(([what, values]) => [what, ...[0.5, 0.95, 1].map((share) => percentile(values, share).toFixed(0))]),
);
