import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { tree } from "./tree.ts";

const hack = (name: string) => JSON.stringify(fileURLToPath(new URL(`../../../hack/${name}`, import.meta.url)));

const LAUNCHER = `import { relaunch } from ${hack("relaunch.mjs")};
relaunch(process.execPath, process.argv.slice(2));
`;

/** Prints its pid, and then ends with the code 40 + the number of the signal that it gets. */
const CHILD = `import { constants } from "node:os";
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => process.exit(40 + constants.signals[name]));
setInterval(() => {}, 1000);
console.log(process.pid);
`;

async function startChild(): Promise<{ launcher: ChildProcess; childPid: number }> {
  const root = tree({ "launcher.mjs": LAUNCHER, "child.mjs": CHILD });
  const launcher = spawn(process.execPath, [join(root, "launcher.mjs"), join(root, "child.mjs")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: launcher.stdout }), "line");
  return { launcher, childPid: Number(line) };
}

/** The pipe of the launcher's output closes when the last process that holds it is gone. */
async function closed(launcher: ChildProcess): Promise<[number | null, string | null]> {
  const [code, signal] = await once(launcher, "close");
  return [code, signal];
}

describe("relaunch", () => {
  it("ends with the exit code of the child, and hands the arguments on", () => {
    const root = tree({ "launcher.mjs": LAUNCHER, "child.mjs": "process.exit(Number(process.argv[2]));\n" });
    const result = spawnSync(process.execPath, [join(root, "launcher.mjs"), join(root, "child.mjs"), "37"]);
    expect(result.status).toBe(37);
  });

  it("ends by the signal that ended the child", () => {
    const root = tree({ "launcher.mjs": LAUNCHER, "child.mjs": 'process.kill(process.pid, "SIGKILL");\n' });
    const result = spawnSync(process.execPath, [join(root, "launcher.mjs"), join(root, "child.mjs")]);
    expect(result.signal).toBe("SIGKILL");
  });

  it.each([
    ["SIGINT", 42],
    ["SIGTERM", 55],
    ["SIGHUP", 41],
  ] as const)("hands %s on to the child", async (signal, code) => {
    const { launcher } = await startChild();
    launcher.kill(signal);
    expect(await closed(launcher)).toEqual([code, null]);
  });

  it("takes the child along when it is killed by SIGKILL", async () => {
    const { launcher, childPid } = await startChild();
    expect(childPid).not.toBe(launcher.pid);
    launcher.kill("SIGKILL");
    expect(await closed(launcher)).toEqual([null, "SIGKILL"]);
  });
});

describe("withLock", () => {
  const APPEND = `import { appendFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { withLock } from ${hack("lock.mjs")};
await withLock(process.argv[2], async () => {
  appendFileSync(process.argv[3], "in ");
  await setTimeout(100);
  appendFileSync(process.argv[3], "out ");
});
`;

  async function runTogether(root: string, processes: number): Promise<string> {
    const args = [join(root, "append.mjs"), join(root, "state/lock"), join(root, "log")];
    const children = Array.from({ length: processes }, () => spawn(process.execPath, args, { stdio: "inherit" }));
    await Promise.all(children.map((child) => once(child, "close")));
    return readFileSync(join(root, "log"), "utf8");
  }

  it("lets one process in at a time, and leaves nothing behind", async () => {
    const root = tree({ "append.mjs": APPEND });
    expect(await runTogether(root, 4)).toBe("in out ".repeat(4));
    expect(existsSync(join(root, "state/lock"))).toBe(false);
  });

  it("takes the lock over from a process that is gone, once", async () => {
    const root = tree({ "append.mjs": APPEND, "state/lock": "" });
    const gone = spawnSync(process.execPath, ["--eval", "0"]);
    writeFileSync(join(root, "state/lock"), `${gone.pid} ${hostname()}`);
    expect(await runTogether(root, 3)).toBe("in out ".repeat(3));
  });
});

describe("ensureInstalled", () => {
  const source = (name: string) =>
    readFileSync(fileURLToPath(new URL(`../../../hack/${name}`, import.meta.url)), "utf8");
  const one = { version: "1.0.0", integrity: "sha512-one" };
  const mine = {
    version: "1.0.0",
    integrity: "sha512-mine",
    optional: true,
    os: [process.platform],
    cpu: [process.arch],
  };
  const locked = {
    "": { name: "checkout" },
    "node_modules/one": one,
    "node_modules/mine": mine,
    "node_modules/other": { ...mine, integrity: "sha512-other", os: ["plan9"] },
  };
  /** A checkout in which `there` is what npm says that it has installed; without npm, so installing fails. */
  const start = (there: object) => {
    const root = tree({
      "hack/setup.mjs": source("setup.mjs"),
      "hack/lock.mjs": source("lock.mjs"),
      "start.mjs": 'import { ensureInstalled } from "./hack/setup.mjs";\nawait ensureInstalled();\n',
      "package-lock.json": JSON.stringify({ packages: locked }),
      "node_modules/.package-lock.json": JSON.stringify({ packages: there }),
    });
    return spawnSync(process.execPath, [join(root, "start.mjs")], { env: { PATH: "" }, encoding: "utf8" });
  };

  it("takes what npm ci has installed, and installs it no second time", () => {
    expect(start({ "node_modules/one": one, "node_modules/mine": mine })).toMatchObject({ status: 0, stderr: "" });
  });

  it.each([
    ["another version", { "node_modules/one": { ...one, version: "0.9.0" }, "node_modules/mine": mine }],
    ["a package less", { "node_modules/mine": mine }],
    ["none for this kind of machine", { "node_modules/one": one }],
    ["a package more", { "node_modules/one": one, "node_modules/mine": mine, "node_modules/two": one }],
  ])("installs where there is %s", (_, there) => {
    const { status, stderr } = start(there);
    expect(stderr).toContain("node_modules is not what package-lock.json says: running npm ci");
    expect(status).toBe(1);
  });
});
