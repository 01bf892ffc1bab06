import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { Command } from "commander";
import { describe, expect, it, onTestFinished } from "vitest";
import { mockModelCommand, runMockModel } from "../../../src/cli/mock-model/command.ts";
import { EXAMPLE_SCRIPT } from "../../../src/cli/mock-model/example-script.ts";
import { ask, post, serve } from "./harness.ts";

const entry = new URL("../../../src/cli/mock-model/command.ts", import.meta.url);

async function scriptFile(text: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "oao-mock-model-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "script.yaml");
  await writeFile(file, text);
  return file;
}

async function run(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: -1, out: "", err: "" };
  const io = {
    stdout: (text: string) => void (result.out += text),
    stderr: (text: string) => void (result.err += text),
  };
  const program = new Command("oao").addCommand(mockModelCommand(io, (code) => void (result.code = code)));
  await program.parseAsync(["mock-model", ...args], { from: "user" });
  return result;
}

describe("oao mock-model", () => {
  it("as a process prints its base URL, one line per call, and on a signal cancels all timers and ends with 0", async () => {
    const file = await scriptFile(
      "rules: [{ match: { times: 1 }, name: hello, reply: { text: hello world } }, { reply: { tokens: 9, delayMsPerToken: 3600000 } }]",
    );
    const source = `
      import { mockModelCommand } from ${JSON.stringify(entry.href)};
      const io = { stdout: (t) => process.stdout.write(t), stderr: (t) => process.stderr.write(t) };
      await mockModelCommand(io, (code) => { process.exitCode = code; }).parseAsync(process.argv.slice(1), { from: "user" });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", source, "--", file, "--port", "0"]);
    onTestFinished(() => void child.kill("SIGKILL"));
    const [url] = (await once(createInterface(child.stdout), "line")) as [string];
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    const line = once(createInterface(child.stderr), "line");
    await (await post(`${url}/chat/completions`, ask("x"))).text();
    expect((await line)[0]).toMatch(/^#0 gpt-test rule 1 \(hello\) 200 3 tokens finished \d+ ms$/);
    // Waiting an hour for its second token: the process can only end by itself if that timer is cancelled.
    const open = await post(`${url}/chat/completions`, ask("x", { stream: true }));
    child.kill("SIGTERM");
    await expect(open.text()).rejects.toThrow("terminated");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("prints an example that can be served", async () => {
    const { code, out } = await run(["--example"]);
    expect([code, out]).toEqual([0, EXAMPLE_SCRIPT]);
  });

  it("names every problem of a script and exits with 2", async () => {
    const file = await scriptFile("rules:\n  - reply: { txt: a }\n");
    const { code, err } = await run([file]);
    expect(code).toBe(2);
    expect(err).toContain(`${file}:2: rules[0].reply: unknown field \`txt\` (did you mean \`text\`?)`);
  });

  it("says how to start when the script is missing", async () => {
    expect(await run([])).toMatchObject({ code: 2, err: expect.stringContaining("--example") as string });
    expect(await run(["/nonexistent.yaml"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("ENOENT") as string,
    });
  });

  it("exits with 7 when the port is taken", async () => {
    const taken = await serve({ rules: [{ reply: { text: "x" } }] });
    const file = await scriptFile("rules: [{ reply: { text: x } }]");
    const { code, err } = await run([file, "--port", new URL(taken.url).port]);
    expect(code).toBe(7);
    expect(err).toContain("EADDRINUSE");
  });

  it("ends at once with answers open", async () => {
    const file = await scriptFile("rules: [{ reply: { tokens: 9, stallAfterTokens: 1 } }]");
    const stop = new AbortController();
    const printed = Promise.withResolvers<string>();
    const io = { stdout: printed.resolve, stderr: () => undefined, stop: stop.signal };
    const ended = runMockModel({ script: file, port: 0, host: "127.0.0.1", quiet: true }, io);
    const url = (await printed.promise).trim();
    const response = await post(`${url}/chat/completions`, ask("x", { stream: true }));
    stop.abort();
    await expect(response.text()).rejects.toThrow("terminated");
    expect(await ended).toBe(0);
  });
});
