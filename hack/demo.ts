// npm run demo: the main job, for a stranger. Real worker processes, a real streaming model server with scripted answers,
// real SIGKILLs. Every claim is checked; the exit code is 1 when one fails.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { MockCall } from "../src/cli/mock-model/calls.ts";
import { loadScript } from "../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../src/cli/mock-model/server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const samples = join(root, "config/samples");
const home = mkdtempSync(join(tmpdir(), "oao-demo-"));
const children = new Set<ChildProcess>();
const startedAt = performance.now();
const bold =
  process.stdout.isTTY && process.env["NO_COLOR"] === undefined
    ? (text: string) => `\u001b[1m${text}\u001b[0m`
    : (text: string) => text;
let failedClaims = 0;

const say = (text = "") => process.stdout.write(`${text}\n`);
const title = (text: string) => say(`\n${bold(text)}`);

function claim(holds: boolean, text: string): void {
  if (!holds) failedClaims += 1;
  say(`  ${holds ? "✔" : "✘ FAILED:"} ${text}`);
}

interface Status {
  readonly phase: string;
  readonly completedAt: string;
  readonly usage: { readonly totalTokens: number; readonly lostTokens: number; readonly modelCalls: number };
  readonly conditions: readonly {
    readonly type: string;
    readonly reason: string;
    readonly message: string;
    readonly lastTransitionTime: string;
  }[];
}

interface Row {
  readonly step_number: number;
  readonly node: string;
  readonly kind: string;
  readonly name: string;
  readonly state: string;
  readonly attempt: number;
  readonly token_usage: { readonly estimated?: { readonly input: number } } | null;
}

/** `oao` as a child process of its own, its progress shown indented. */
function oao(
  args: readonly string[],
  shown = true,
): { child: ChildProcess; ended: Promise<{ code: number | null; stdout: string }> } {
  const child = spawn(process.execPath, [join(root, "hack/oao.mjs"), ...args], {
    cwd: home,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  let stdout = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  if (shown) createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => say(`    ${line}`));
  else child.stderr?.resume();
  const ended = once(child, "close").then(([code]) => {
    children.delete(child);
    return { code: code as number | null, stdout };
  });
  return { child, ended };
}

const json = async <T>(args: readonly string[]): Promise<T> =>
  JSON.parse((await oao([...args, "-o", "json"], false).ended).stdout) as T;
const statusOf = async (name: string) => (await json<{ status: Status }>(["get", name])).status;

/** Worker processes carry their run and node in their title. */
function workers(run: string, node = ""): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`oao worker default/${run} ${node}`)
          ? [Number(pid)]
          : [];
      } catch {
        return []; // gone meanwhile
      }
    });
}

async function serveModel(script: string): Promise<MockModel> {
  return startMockModel({ script: loadScript(readFileSync(join(samples, script), "utf8"), script) });
}

async function serveCatalog(): Promise<string> {
  const child = spawn(process.execPath, [join(samples, "catalog.mjs"), "0"], { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return line;
}

/** How often each question was asked, by the digest of its content. */
function asked(calls: readonly MockCall[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const call of calls) counts.set(call.digest, (counts.get(call.digest) ?? 0) + 1);
  return counts;
}

function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  for (const row of rows)
    say(
      `    ${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}`,
    );
}

async function briefFlags(mock: MockModel, catalog: string): Promise<string[]> {
  return ["--set", `models.main.baseURL=${mock.baseURL}`, "--set", `tools.search.http.url=${catalog}`];
}

async function partA(mock: MockModel, flags: readonly string[]) {
  title(
    "(a) A five-node market brief: two researchers side by side, http and module tools, a rating per fact, a writer",
  );
  say("    oao run config/samples/market-brief.yaml --name undisturbed");
  const { code } = await oao(["run", join(samples, "market-brief.yaml"), "--name", "undisturbed", ...flags]).ended;
  const status = await statusOf("undisturbed");
  const rows = await json<Row[]>(["trace", "undisturbed"]);
  claim(
    code === 0 && status.phase === "Succeeded",
    `it Succeeded: ${rows.length} recorded steps, ${status.usage.totalTokens} tokens, ${mock.calls().length} model calls`,
  );
  return { status, rows, calls: asked(mock.calls()) };
}

async function partB(mock: MockModel, flags: readonly string[], undisturbed: Awaited<ReturnType<typeof partA>>) {
  title("(b) The same run again: kill -9 of a worker mid-stream, then kill -9 of the whole parent, then resume");
  mock.reset();
  const first = oao(["run", join(samples, "market-brief.yaml"), "--name", "killed", ...flags]);
  const reached = (rule: string, tokens: number) =>
    Promise.race([
      mock.waitForCall((call) => call.ruleName === rule && call.tokens >= tokens),
      first.ended.then(() => undefined),
    ]);
  const research = await reached("facts on demand", 15);
  const [researcher] = workers("killed", "research-demand");
  if (researcher !== undefined) process.kill(researcher, "SIGKILL");
  claim(
    researcher !== undefined,
    `killed worker research-demand (pid ${researcher}) after ${research?.tokens} tokens of its second answer`,
  );
  const writing = await reached("the brief", 30);
  if (writing === undefined) return claim(false, "the run reached its last node");
  first.child.kill("SIGKILL");
  await first.ended;
  say(`    killed the parent after ${writing.tokens} tokens of the brief`);
  await mock.waitForCall((call) => call.index === writing.index && call.outcome !== "open");
  const gone = await eventually(() => workers("killed").length === 0);
  claim(gone, "its workers died with it");
  const answered = new Set(mock.calls().flatMap((call) => (call.outcome === "finished" ? [call.digest] : [])));
  const askedBefore = asked(mock.calls());
  say("    oao resume killed");
  const { code } = await oao(["resume", "killed"]).ended;
  const status = await statusOf("killed");
  const rows = await json<Row[]>(["trace", "killed"]);
  claim(code === 0 && status.phase === "Succeeded", "resumed and Succeeded");
  const calls = asked(mock.calls());
  say("    calls to the model server, by question:");
  const names = new Map(mock.calls().map((call) => [call.digest, call.ruleName ?? ""]));
  table([
    ["question", "undisturbed", "killed twice", "why"],
    ...[...calls].map(([digest, count]) => [
      names.get(digest) ?? "",
      String(undisturbed.calls.get(digest) ?? 0),
      String(count),
      count === 1 ? "recorded, not asked again" : "was in mid-stream when killed",
    ]),
  ]);
  const outline = (all: readonly Row[]) =>
    JSON.stringify(all.map(({ step_number, node, kind, name, state }) => [step_number, node, kind, name, state]));
  claim(outline(rows) === outline(undisturbed.rows), `the same ${rows.length} steps in the same canonical order`);
  const repeated = [...answered].filter((digest) => calls.get(digest) !== askedBefore.get(digest));
  claim(repeated.length === 0, `none of the ${answered.size} questions with a recorded answer was asked again`);
  claim(
    status.usage.totalTokens === undisturbed.status.usage.totalTokens,
    `recorded tokens equal the undisturbed run's: ${status.usage.totalTokens}`,
  );
  claim(
    status.usage.lostTokens > 0,
    `the two killed calls stand beside them as lost tokens: ${status.usage.lostTokens}`,
  );
}

async function partC() {
  title("(c) A runaway agent with a budget of 2,000 tokens, on a server that ignores every output cap");
  const mock = await serveModel("runaway.model.yaml");
  try {
    const writtenAt: number[] = [];
    mock.onToken((call) => {
      writtenAt[call.tokens] = performance.timeOrigin + performance.now();
    });
    say("    oao run config/samples/runaway.yaml");
    const { code } = await oao(["run", join(samples, "runaway.yaml"), "--set", `models.main.baseURL=${mock.baseURL}`])
      .ended;
    const status = await statusOf("runaway");
    const call = await mock.waitForCall((candidate) => candidate.closedAt !== undefined);
    const failed = status.conditions.find((condition) => condition.type === "Succeeded");
    claim(code === 3, "exit code 3");
    claim(
      failed?.reason === "PolicyViolation" && failed.message.startsWith("PolicyViolation: Max Token Limit Exceeded"),
      `Succeeded=False, reason ${failed?.reason}: ${failed?.message}`,
    );
    claim(
      call.outcome === "clientClosed" && call.tokens < 10_000,
      `the socket was closed mid-stream after ${call.tokensAtClose} of 1,000,000 tokens`,
    );
    const [row] = await json<Row[]>(["trace", "runaway"]);
    // The prompt counts too: the crossing token is the first that no longer fits beside it.
    const crossing = writtenAt[2_001 - (row?.token_usage?.estimated?.input ?? 0)] ?? Number.NaN;
    const since = (at: number) => `${(at - crossing).toFixed(1)} ms`;
    say(
      `    from the chunk that crossed the budget: socket closed after ${since(call.closedAt ?? Number.NaN)}, Execution Failed after ${since(Date.parse(failed?.lastTransitionTime ?? ""))}`,
    );
    const over = Math.max(0, status.usage.totalTokens + status.usage.lostTokens - 2_000);
    claim(
      over === 0,
      `counted ${status.usage.totalTokens + status.usage.lostTokens} of 2,000 tokens; over budget: ${over}`,
    );
  } finally {
    await mock.close();
  }
}

interface Replayed {
  readonly phase: string;
  readonly traceHash: string;
  readonly usage: { readonly totalTokens: number; readonly modelCalls: number };
  readonly replay: { readonly reusedSteps: number; readonly liveSteps: number };
  readonly conditions: Status["conditions"];
}
const replayOf = async (name: string) => (await json<{ status: Replayed }>(["get", name])).status;

async function partD() {
  title("(d) A run fails at its last step: replay it from there with another prompt, and look at the difference");
  const mock = await serveModel("small.model.yaml");
  try {
    say("    oao run config/samples/fix-a-failure.yaml");
    const first = await oao([
      "run",
      join(samples, "fix-a-failure.yaml"),
      "--set",
      `models.main.baseURL=${mock.baseURL}`,
    ]).ended;
    const parent = await replayOf("fix-a-failure");
    claim(
      first.code === 1 && parent.phase === "Failed",
      "it Failed at step 2, as its answer does not fit its outputSchema",
    );
    const before = mock.calls().length;
    say('    oao replay fix-a-failure --from-step 2 --set agents.reader.systemPrompt="You read invoices."');
    const fix = ["--from-step", "2", "--set", "agents.reader.systemPrompt=You read invoices."];
    const { code } = await oao(["replay", "fix-a-failure", "--name", "fixed", ...fix]).ended;
    const fixed = await replayOf("fixed");
    claim(code === 0 && fixed.phase === "Succeeded", "the replay Succeeded");
    claim(
      mock.calls().length - before === 1 && fixed.replay.reusedSteps === 1 && fixed.replay.liveSteps === 1,
      `${mock.calls().length - before} model call was made; the step before was reused from the record, for 0 of ${fixed.usage.totalTokens} tokens`,
    );
    say("    oao diff fix-a-failure fixed");
    const diff = await oao(["diff", "fix-a-failure", "fixed"], false).ended;
    for (const line of diff.stdout.trimEnd().split("\n")) say(`    ${line}`);
    claim(diff.code === 1 && diff.stdout.includes("You read invoices."), "the prompt is what differs first");
  } finally {
    await mock.close();
  }
}

/** Every server of the run is stopped by now. */
async function partE() {
  title("(e) The market brief of (a) a hundred times more, strictly from its record, with every server stopped");
  const parent = await replayOf("undisturbed");
  say("    oao replay undisturbed --times 100");
  const { code } = await oao(["replay", "undisturbed", "--times", "100", "--name", "again"]).ended;
  const again = await replayOf("again");
  const verified = again.conditions.find(({ type }) => type === "ReplayVerified");
  claim(code === 0 && verified?.reason === "Verified", `ReplayVerified=True: ${verified?.message}`);
  claim(again.traceHash === parent.traceHash, `100 of 100 have one traceHash, the recorded run's: ${parent.traceHash}`);
  claim(again.usage.modelCalls === 0 && again.usage.totalTokens === 0, "0 calls, 0 tokens");
}

async function eventually(holds: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return holds();
}

async function main(): Promise<void> {
  say(
    bold(
      "OAO: record, govern, kill, resume, replay. No key, no cluster; scripted model answers over real HTTP streams.",
    ),
  );
  spawnSync(process.execPath, [join(root, "hack/build.ts"), "--if-stale", "--quiet"], { stdio: "inherit" });
  const mock = await serveModel("market-brief.model.yaml");
  const catalog = await serveCatalog();
  try {
    const flags = await briefFlags(mock, catalog);
    const undisturbed = await partA(mock, flags);
    await partB(mock, flags, undisturbed);
  } finally {
    await mock.close();
  }
  await partC();
  await partD();
  for (const child of children) child.kill("SIGKILL"); // the catalogue
  await partE();
  title(failedClaims === 0 ? "Every claim held" : `${failedClaims} claims failed`);
  say(
    `  ${((performance.now() - startedAt) / 1_000).toFixed(0)} s. Look closer: npx oao --help, docs/getting-started.md, config/samples/`,
  );
}

try {
  await main();
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(home, { recursive: true, force: true });
}
process.exit(failedClaims === 0 ? 0 : 1);
