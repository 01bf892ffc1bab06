/** The browser that oao ui starts: what its command line says, which other users of the machine can read. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { program } from "../cli/harness.ts";
import { type Stage, stage } from "./page.ts";
import { specOf } from "./seed.ts";

let on: Stage;
let terminal: ChildProcess;
let told: string;
beforeAll(async () => {
  on = await stage();
  await on.home.add({ name: "brief", spec: specOf([{ name: "a" }]), status: { phase: "Succeeded" }, rows: [] });
  const bin = join(on.place.folder, "bin");
  told = join(on.place.folder, "told");
  mkdirSync(bin);
  writeFileSync(join(bin, "xdg-open"), `#!/bin/sh\nprintf '%s' "$*" > '${told}.new' && mv '${told}.new' '${told}'\n`);
  chmodSync(join(bin, "xdg-open"), 0o755);
  const env = { PATH: `${bin}:${process.env["PATH"] ?? ""}`, HOME: on.place.folder, TERM: "xterm" };
  const command = `'${process.execPath}' '${program}' ui brief --on local`;
  // A terminal of its own: a browser is only opened for somebody who sits at one.
  terminal = spawn("script", ["-qec", command, "/dev/null"], {
    cwd: on.place.folder,
    env,
    stdio: ["pipe", "pipe", "pipe"],
  });
});
afterAll(async () => {
  const ended = once(terminal, "close");
  terminal.kill();
  await ended;
  await on.end();
});

it("is given a code that opens the page once, and no token", async () => {
  await expect.poll(() => existsSync(told)).toBe(true);
  const argument = readFileSync(told, "utf8");
  expect(argument).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/runs\/default\/brief#open:[\w-]{43}$/);
  const page = await on.open();
  await page.goto(argument);
  await expect.poll(() => page.getByRole("application", { name: "Graph of 1 node" }).count()).toBe(1);
  expect(page.url()).not.toContain("#");
  await page.reload();
  await expect.poll(() => page.getByRole("application", { name: "Graph of 1 node" }).count()).toBe(1);
  await page.context().close();

  const { origin } = new URL(argument);
  const code = argument.split("#open:")[1];
  for (const [given, why] of [
    [code, "opened with this code before"],
    ["A".repeat(43), "no such code"],
    [undefined, "no such code"],
  ]) {
    const answer = await fetch(`${origin}/api/open`, { method: "POST", body: JSON.stringify({ code: given }) });
    expect([answer.status, ((await answer.json()) as { detail: string }).detail]).toEqual([
      401,
      expect.stringContaining(why ?? ""),
    ]);
  }
  const asToken = await fetch(`${origin}/api/runs`, { headers: { authorization: `Bearer ${code}` } });
  expect(asToken.status).toBe(401);
});
