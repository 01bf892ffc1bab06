import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { errorText } from "../../src/cli/errors.ts";
import { modelAt, program, sample, serveModel, traceFields, type Workplace, workplace } from "./harness.ts";

let place: Workplace;
let model: string;
const file = (name: string, text: string) => {
  writeFileSync(join(place.folder, name), text);
  return name;
};
const minimal = (metadata: string, spec = "") => `apiVersion: oao.dev/v1alpha1
kind: Execution
${metadata}spec:
  task: t
${spec}  models: [{ name: main, provider: openai, model: gpt-5-mini, baseURL: "${model}" }]
  agents: [{ name: greeter, model: main, systemPrompt: You greet }]
  nodes: [{ name: greet, agent: { ref: greeter, prompt: "Hello $(has(input.who) ? input.who : 'world')" } }]
`;
const policy = (name: string, spec: string) => `apiVersion: oao.dev/v1alpha1
kind: GovernancePolicy
metadata: { name: ${name} }
spec: ${spec}
`;

beforeAll(async () => {
  place = workplace();
  model = await serveModel(place, sample("small.model.yaml"));
});
afterAll(() => place.end());

it("a manifest that is not UTF-8 is read by no command, with the line", async () => {
  const latin1 = Buffer.from(minimal("metadata: { name: latin }\n").replace("You greet", "Vous \u00eates"), "latin1");
  writeFileSync(join(place.folder, "latin1.yaml"), latin1);
  for (const command of ["lint", "run", "hash"])
    expect(await place.oao([command, "latin1.yaml"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: cannot read latin1\.yaml: line 7 is not UTF-8\n {2}save it as UTF-8/),
    });
});

describe("oao run", () => {
  it("prints the result to stdout and progress to stderr, without colours or cursor movements in a pipe", async () => {
    const { code, stdout, stderr } = await place.oao([
      "run",
      file("plain.yaml", minimal("metadata: { name: plain }\n")),
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "Done: Hello world!\n" });
    expect(stderr).toMatch(/^\d\d:\d\d:\d\d {2}greet {2}Starting$/m);
    expect(stderr).not.toContain("\u001b");
  });

  it("prints the finished Execution with -o yaml", async () => {
    const { code, stdout } = await place.oao([
      "run",
      file("as-yaml.yaml", minimal("metadata: { name: as-yaml }\n")),
      "--input",
      "who=you",
      "-o",
      "yaml",
    ]);
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({
      kind: "Execution",
      metadata: { name: "as-yaml", namespace: "default" },
      spec: { input: { who: "you" } },
      status: { phase: "Succeeded", progress: "1/1" },
    });
  });

  it("takes the file's name where the manifest has none, and -n for the namespace", async () => {
    const path = file("Nameless_Run.v2.yaml", minimal("metadata: {}\n"));
    expect(await place.oao(["run", path, "-n", "team-a"])).toMatchObject({ code: 0 });
    expect((await place.oao(["get", "-A"])).stdout).toMatch(/team-a +nameless-run-v2 +Succeeded +1\/1/);
    const elsewhere = { code: 2, stderr: expect.stringContaining("add -n team-a") as string };
    expect(await place.oao(["get", "nameless-run-v2"])).toMatchObject(elsewhere);
    // Also where something in the folder has that name.
    mkdirSync(join(place.folder, "nameless-run-v2"));
    expect(await place.oao(["get", "nameless-run-v2"])).toMatchObject(elsewhere);
  });

  it("is governed by a policy of another file, and stores it for later runs of the namespace", async () => {
    const path = file(
      "governed.yaml",
      minimal("metadata: { name: governed }\n", "  policyRef: { name: none-allowed }\n"),
    );
    const refused = await place.oao(["run", path]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("names GovernancePolicy none-allowed") });
    expect(refused.stderr).toContain("--policy");
    const deny = file("deny.yaml", policy("none-allowed", "{ models: { deny: ['*'] } }"));
    const { code, stderr } = await place.oao(["run", path, "--policy", deny]);
    expect(stderr).toContain("PolicyViolation");
    expect(code).toBe(3);
    expect(await place.oao(["run", path, "--name", "governed-2"])).toMatchObject({ code: 3 });
  });

  it("says which stored default policies govern it too; oao policies lists, shows and deletes them", async () => {
    const path = file("bounded.yaml", minimal("metadata: { name: bounded, namespace: bounds }\n"));
    const label = 'labels: { "oao.dev/default": "true" }';
    const bound = file(
      "bound.yaml",
      policy("bound", "{ limits: { maxSteps: 50 } }").replace("name: bound", `name: bound, ${label}`),
    );
    const first = await place.oao(["run", path, "--policy", bound]);
    expect(first).toMatchObject({ code: 0, stderr: expect.not.stringContaining("also governed") });
    const second = await place.oao(["run", path, "--name", "bounded-2"]);
    expect(second.stderr).toContain("also governed by the stored default policy bound");
    expect((await place.oao(["policies", "-n", "bounds"])).stdout).toMatch(/^bound +every run +Enforce/m);
    expect(parse((await place.oao(["policies", "bound", "-n", "bounds", "-o", "yaml"])).stdout)).toMatchObject({
      kind: "GovernancePolicy",
      spec: { limits: { maxSteps: 50 } },
    });
    expect(await place.oao(["policies", "bund", "-n", "bounds"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("did you mean bound?"),
    });
    expect(await place.oao(["policies", "--delete", "-n", "bounds"])).toMatchObject({ code: 2 });
    expect(await place.oao(["policies", "bound", "--delete", "-n", "bounds"])).toMatchObject({ code: 0 });
    const third = await place.oao(["run", path, "--name", "bounded-3"]);
    expect(third).toMatchObject({ code: 0, stderr: expect.not.stringContaining("also governed") });
  });

  it("starts nothing when a file has errors, and says all of them", async () => {
    const path = file(
      "wrong.yaml",
      minimal("metadata: { name: wrong }\n").replace("ref: greeter", "ref: greter").replace("task: t", "tusk: t"),
    );
    const { code, stdout, stderr } = await place.oao(["run", path]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^wrong\.yaml:5:3 {2}spec\.tusk /m);
    expect(stderr).toContain('did you mean "greeter"?');
    expect(stderr).toContain("3 errors; nothing was started");
    expect(await place.oao(["get", "wrong"])).toMatchObject({ code: 2 });
  });

  it.each([
    [["run", "absent.yaml"], "cannot read absent.yaml: there is no such file"],
    [["run", "plain.yaml", "--set", "models.other.model=x"], "the list has no entry other; it has main"],
    [["run", "plain.yaml", "--input", "topic"], "expected name=value"],
    [["run", "plain.yaml", "-o", "xml"], "-o xml is not one of table, json, yaml"],
    [["run", "plain.yaml", "--redis", "127.0.0.1"], "--redis"],
    [["get", "plian"], "did you mean plain?"],
    [["rnu", "plain.yaml"], "Did you mean run?"],
    [["explain", "execution.spec.nodes.wen"], "did you mean execution.spec.nodes.when"],
    [["completion", "tcsh"], "there is for bash, zsh, fish"],
    [["logs"], "missing required argument 'name'"],
    [["ui", "--port", "99999"], "a port is 0 to 65535"],
  ])("%j is refused with exit code 2 and a hint", async (args, message) => {
    const { code, stderr } = await place.oao(args);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });
});

it("a port that is taken is the machine's fault, for oao ui as for oao mock-model: exit code 7", async () => {
  const { code, stderr } = await place.oao(["ui", "--no-open", "--port", new URL(model).port]);
  expect(stderr).toMatch(/^error: port \d+ of 127\.0\.0\.1 is taken\n/);
  expect(code).toBe(7);
});

describe("a disk that is full", () => {
  it("is told in words where the output went there", () => {
    const full = openSync("/dev/full", "w");
    const args = [program, "explain", "execution.spec.nodes"];
    const { status, stderr } = spawnSync(process.execPath, args, { stdio: ["ignore", full, "pipe"], encoding: "utf8" });
    closeSync(full);
    expect(stderr).toMatch(/^error: cannot write to stdout: .*ENOSPC.*\n$/);
    expect(status).toBe(7);
  });
});

describe("local state that cannot be used", () => {
  it("is named with its path", async () => {
    const broken = join(place.folder, "broken");
    mkdirSync(broken);
    writeFileSync(join(broken, "index.db"), "this is no database, and it is long enough to be looked at");
    const { code, stderr } = await place.oao(["get"], { OAO_HOME: broken });
    expect(stderr).toContain(`the local state in ${broken} cannot be used`);
    expect(code).toBe(7);
  });

  it("and that cannot be written is told with what to do", () => {
    const path = join(place.folder, "read-only.db");
    new DatabaseSync(path).close();
    const database = new DatabaseSync(path, { readOnly: true });
    const write = () => {
      try {
        return database.exec("CREATE TABLE a (b)");
      } catch (error) {
        return errorText(error);
      } finally {
        database.close();
      }
    };
    expect(write()).toMatch(
      /^error: attempt to write a readonly database\n {2}the folder of local state .* must be writable/,
    );
  });

  it("is refused when it is a file", async () => {
    file("a-file", "x");
    expect(await place.oao(["get"], { OAO_HOME: "a-file" })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("a-file is a file, not the folder of local state"),
    });
  });
});

describe("oao get, tree and trace", () => {
  it("read a failed run with exit code 0", async () => {
    expect(await place.oao(["run", sample("finally.yaml"), ...modelAt(model)])).toMatchObject({ code: 1 });
    const get = await place.oao(["get", "finally"]);
    expect(get.code).toBe(0);
    expect(get.stdout).toMatch(/work +Failed/);
    expect(get.stdout).toContain("task: Fail and clean up");
    const tree = await place.oao(["tree", "finally"]);
    expect(tree).toMatchObject({ code: 0, stderr: "" });
    expect(tree.stdout).toMatch(/✘ work +Failed/);
    expect(tree.stdout).toMatch(/✔ clean-up +Succeeded/);
  });

  it("prints the fields of the trace under their public names", async () => {
    await place.oao(["run", sample("structured-output.yaml"), ...modelAt(model)]);
    const { stdout } = await place.oao(["trace", "structured-output", "-o", "json"]);
    const [row] = JSON.parse(stdout) as Record<string, unknown>[];
    for (const field of [...traceFields, "step_key", "attempt", "kind", "hash"]) expect(row).toHaveProperty(field);
    expect(row?.["input"]).toMatchObject({ messages: [{}, {}] });
    expect((await place.oao(["trace", "structured-output"])).stdout).toMatch(/^STEP +NODE +KIND/);
  });

  it("find the folder of a project from below", async () => {
    mkdirSync(join(place.folder, "deep/er"), { recursive: true });
    const below = spawnSync(process.execPath, [program, "get", "finally", "-o", "json"], {
      cwd: join(place.folder, "deep/er"),
      encoding: "utf8",
    });
    expect(below.status).toBe(0);
  });
});

describe("help and completion", () => {
  it("every command's help has an example", async () => {
    const { stdout } = await place.oao(["--help"]);
    const names = [...stdout.matchAll(/^ {2}([a-z-]+)(?: |$)/gm)]
      .map((match) => match[1] ?? "")
      .filter((name) => !["oao", "help"].includes(name));
    expect(names).toEqual([
      "run",
      "submit",
      "replay",
      "resume",
      "cancel",
      "suspend",
      "approve",
      "get",
      "policies",
      "tree",
      "trace",
      "logs",
      "diff",
      "export",
      "import",
      "verify",
      "ui",
      "lint",
      "hash",
      "explain",
      "mock-model",
      "completion",
    ]);
    for (const name of names)
      expect((await place.oao([name, "--help"])).stdout).toMatch(
        name === "mock-model" ? /--example/ : /Examples?:\n {2}\S/,
      );
  });

  it("offers commands, options and names of runs", async () => {
    const words = async (...args: string[]) => (await place.oao(["__complete", ...args])).stdout.trim().split("\n");
    expect(await words("t")).toEqual(["tree", "trace"]);
    expect(await words("trace", "--ca")).toEqual(["--canonical"]);
    expect(await words("trace", "fin")).toEqual(["finally"]);
    expect(await words("get", "-n", "team-a", "")).toEqual(["nameless-run-v2"]);
    expect(await words("lint", "")).toEqual([""]);
  });

  it("works in a real bash", async () => {
    const { stdout: script } = await place.oao(["completion", "bash"]);
    const text = `oao() { ${JSON.stringify(process.execPath)} ${JSON.stringify(program)} "$@"; }\n${script}\nCOMP_WORDS=(oao trace fin); COMP_CWORD=2; _oao; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const bash = spawnSync("bash", ["-c", text], { cwd: place.folder, encoding: "utf8" });
    expect(bash.stdout).toBe("finally\n");
  });
});

describe("a terminal", () => {
  it("shows a tree that is redrawn in place, fits, and leaves the cursor as it was", async () => {
    const flags = [
      ...modelAt(model),
      "--input",
      `cities=${JSON.stringify(Array.from({ length: 12 }, (_, index) => `City${index}`))}`,
      "--set",
      "nodes.greet.forEach.maxParallel=12",
    ];
    const command = [process.execPath, program, "run", sample("for-each.yaml"), ...flags]
      .map((part) => `'${part}'`)
      .join(" ");
    const { status, stdout } = spawnSync("/usr/bin/script", ["-qec", `stty cols 60 rows 8; ${command}`, "/dev/null"], {
      cwd: place.folder,
      encoding: "utf8",
      env: { PATH: process.env["PATH"] ?? "", TERM: "xterm" },
    });
    expect(status).toBe(0);
    const frames = stdout
      .split("\u001b[?2026h")
      .slice(1)
      .map((frame) => frame.slice(0, frame.indexOf("\u001b[?2026l")));
    expect(frames.length).toBeGreaterThan(3);
    const plain = frames.map((frame) => stripVTControlCharacters(frame).replaceAll("\r", "").trim().split("\n"));
    for (const lines of plain) {
      expect(lines.length).toBeLessThanOrEqual(7);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(59);
    }
    expect(plain.some((lines) => lines.some((line) => /… and \d+ more/.test(line)))).toBe(true);
    expect(stdout.lastIndexOf("\u001b[?25h")).toBeGreaterThan(stdout.lastIndexOf("\u001b[?25l"));
    expect(stdout).toContain("Done: Greet City11!");
  });
});
