/** No flag is taken and ignored: of every command, each that means nothing where it stands is refused. */
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { cliExitCodes } from "../../../src/api/exit-codes.ts";
import { CliError } from "../../../src/cli/errors.ts";
import { buildProgram } from "../../../src/cli/program.ts";
import { misplacedRules } from "../../../src/cli/program/misplaced.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "oao-flags-"));
afterAll(() => rmSync(folder, { recursive: true }));
let told = "";
const terminal: Terminal = {
  env: { OAO_HOME: join(folder, "home"), KUBECONFIG: join(folder, "none") },
  cwd: folder,
  out: (text) => void (told += text),
  write: async (text) => void (told += text),
  body: (text) => void (told += text),
  err: (text) => void (told += text),
  draw: (text) => void (told += text),
  interactive: false,
  colorOut: false,
  colorErr: false,
  size: () => ({ columns: 80, rows: 24 }),
  onResize: () => () => undefined,
};
const program = () => buildProgram(terminal, () => undefined);

/** What `oao ARGS` is refused with. */
async function refusal(...args: string[]): Promise<CliError> {
  const error: unknown = await program()
    .parseAsync(args, { from: "user" })
    .catch((thrown: unknown) => thrown);
  if (error instanceof CliError) return error;
  throw new Error(`oao ${args.join(" ")} was not refused: ${String(error)} ${told}`);
}

/** As many arguments as it needs. */
const needed = (args: readonly { readonly required: boolean }[]) =>
  args.filter(({ required }) => required).map(() => "brief");

describe("of every command", () => {
  const values: Readonly<Record<string, string>> = {
    "--redis": "redis://h",
    "--server": "https://h",
    "--operator-namespace": "n",
  };
  const commands = program().commands.flatMap((command) =>
    command.options
      .map(({ long }) => long ?? "")
      .filter((flag) => flag in values)
      .map((flag) => [command.name(), flag, needed(command.registeredArguments)] as const),
  );

  test("there are some", () => expect(commands.length).toBeGreaterThan(15));

  test.each(commands)("%s refuses %s at the place that does not know it", async (name, flag, args) => {
    const place = flag === "--redis" ? "cluster" : "local";
    const refused = await refusal(name, ...args, flag, values[flag] ?? "", "--on", place);
    expect(refused.exitCode).toBe(cliExitCodes.usage);
    expect(refused.message).toContain(flag);
    expect(refused.hints).not.toEqual([]);
  });

  test("the rules are about commands and flags that there are", () => {
    const flagsOf = new Map(
      program().commands.map((each) => [each.name(), each.options.map((one) => one.attributeName())]),
    );
    for (const { flags, commands: names = [...flagsOf.keys()] } of misplacedRules)
      for (const flag of flags) expect(names.flatMap((name) => flagsOf.get(name) ?? [])).toContain(flag);
  });
});

test.each<readonly [string, readonly string[]]>([
  ...["trace", "export", "verify"].flatMap((command) =>
    [
      ["--redis", "redis://h"],
      ["--server", "https://h"],
      ["--operator-namespace", "n"],
      ["--on", "local"],
      ["--context", "c"],
      ["--kubeconfig", "f"],
      ["--namespace", "n"],
    ].map(([flag = "", value = ""]): [string, string[]] => [flag, [command, "a.jsonl", flag, value]]),
  ),
  ["--redis", ["diff", "a.jsonl", "./b", "--redis", "redis://h"]],
  ["--server", ["replay", "a.jsonl", "--strict", "--policy", "p.yaml", "--server", "https://h"]],
  ["--server", ["replay", "brief", "--server", "https://h"]],
  ["--operator-namespace", ["replay", "brief", "--from-step", "2", "--policy", "p.yaml", "--operator-namespace", "n"]],
  ["--policy", ["run", "f.yaml", "--on", "cluster", "--policy", "p.yaml"]],
  ["--policy", ["hash", "f.yaml", "--context", "c", "--policy", "p.yaml"]],
  ["--limit", ["get", "brief", "--limit", "3"]],
  ["--all-namespaces", ["get", "brief", "-A"]],
  ["--namespace", ["get", "-A", "-n", "a"]],
  ["--all-namespaces", ["ui", "-A"]],
  ["--set", ["hash", "brief", "--set", "task=x"]],
  ["--floor", ["hash", "brief", "--floor", "none"]],
  ["--explain", ["hash", "a.yaml", "b.yaml", "--explain"]],
  ["--output", ["trace", "brief", "--canonical", "-o", "json"]],
  ["--all", ["trace", "brief", "--canonical", "--all"]],
  ["--output", ["policies", "p", "--delete", "-o", "json"]],
])("%s of oao %s has no meaning", async (flag, args) => {
  const refused = await refusal(...args);
  expect(refused.exitCode).toBe(cliExitCodes.usage);
  expect(refused.message).toContain(`${flag} has no meaning here: it `);
  expect(refused.hints).not.toEqual([]);
});

test.each<readonly [string, readonly string[]]>([
  ["one bundle and a run", ["diff", "a.jsonl", "brief", "--redis", "redis://h"]],
  [
    "what a policy would have stopped of a cluster's run",
    ["replay", "brief", "--strict", "--policy", "p.yaml", "--server", "https://h"],
  ],
  ["the default of --limit", ["get", "brief"]],
])("%s is not refused for its flags", async (_what, args) => {
  expect((await refusal(...args)).message).not.toContain("has no meaning");
});

describe("a file that is no bundle", () => {
  writeFileSync(join(folder, "x.jsonl.gz"), Buffer.from("1f8b0800", "hex"));
  writeFileSync(join(folder, "x.jsonl.zst"), Buffer.from("28b52ffd", "hex"));
  writeFileSync(join(folder, "empty.jsonl"), "");
  writeFileSync(join(folder, "junk.jsonl"), "junk\n");
  mkdirSync(join(folder, "recorded"));
  const at = (name: string) => join(folder, name);

  test.each(
    ["trace", "export", "verify", "import", "diff"].flatMap((command) => [
      [command, "x.jsonl.gz", "compressed with gzip", "gunzip -c"],
      [command, "x.jsonl.zst", "compressed with zstd", "zstd -dc"],
      [command, "empty.jsonl", "line 1: the file ends before the bundle does", "oao export NAME -O FILE"],
      [command, "junk.jsonl", "line 1: it is not JSON", "oao export NAME -O FILE"],
      [command, "recorded", "is a folder", "give the bundle in it"],
      [command, "absent.jsonl", "there is no file", "oao export NAME -O FILE"],
    ]),
  )("oao %s %s says %s, and what to do", async (command, file, why, hint) => {
    const refused = await refusal(command, at(file), ...(command === "diff" ? [at(file)] : []));
    expect(refused.message).toContain(at(file));
    expect(refused.message).toContain(why);
    expect(refused.hints.join()).toContain(hint);
    expect(refused.exitCode).toBe(
      ["junk.jsonl", "empty.jsonl"].includes(file) ? cliExitCodes.tampered : cliExitCodes.usage,
    );
  });

  test("is told by its name alone, without a path before it, and is never looked for as a run", async () => {
    for (const name of ["x.jsonl.gz", "recorded/", "brief.yaml"]) {
      const refused = await refusal("verify", name);
      expect(refused.message).toContain(`there is no file ${name}`);
    }
    expect((await refusal("verify", "recorded")).hints.join()).toContain("recorded is a folder here");
  });

  test("oao hash takes none, packed or not, and no packed manifest", async () => {
    expect((await refusal("hash", at("x.jsonl.gz"))).hints.join()).toContain("oao import FILE");
    writeFileSync(at("packed.yaml"), Buffer.from("1f8b0800", "hex"));
    expect((await refusal("hash", at("packed.yaml"))).message).toContain("compressed with gzip");
  });
});
