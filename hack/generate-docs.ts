// `npm run docs`: writes what of docs/ comes from the sources: cli.md, fields.md, errors.md, openapi.json and the reference in
// http-api.md. With --check it only compares, and fails on a difference.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Argument, Command, Option } from "commander";
import { cliExitCodes, workerExitCodes } from "../src/api/exit-codes.ts";
import { type Kind, kinds } from "../src/api/json-schema.ts";
import { mockModelCommand } from "../src/cli/mock-model/command.ts";
import { buildProgram } from "../src/cli/program.ts";
import type { Terminal } from "../src/cli/terminal.ts";
import { catalogue } from "../src/core/errors/errors.ts";
import { type FieldDoc, listFields } from "../src/core/manifest/explain.ts";
import { openApiDocument } from "../src/operator/api/openapi.ts";
import { httpReference } from "./http-reference.ts";
import { fenced, generated, page, prose, table } from "./markdown.ts";

const folder = fileURLToPath(new URL("../docs/", import.meta.url));

// cli.md

const cliExitMeaning: Readonly<Record<keyof typeof cliExitCodes, string>> = {
  succeeded: "Succeeded; for other commands: done",
  failed: "Failed; `diff`: the runs differ",
  usage: "wrong usage, an invalid manifest, a name that does not exist or is in two places, or a right that is missing",
  policyViolation: "Failed with reason PolicyViolation",
  cancelled: "Cancelled; `verify`: stopped by Ctrl-C before its replay had ended",
  divergence: "`replay`, `verify`: it went another way than the record",
  waiting: "suspended, waiting for an approval, detached, or not there yet",
  infrastructure:
    "workers or the journal store were lost, a cluster cannot be asked, a server cannot listen, or an unexpected error",
  tampered: "`trace`, `diff`, `replay`, `export`, `import`, `verify`: the record was changed after it was recorded",
};

/** Nothing is read from the machine: the page is the same everywhere. */
function silentTerminal(out: (text: string) => void): Terminal {
  return {
    env: {},
    cwd: ".",
    out,
    write: async (text) => out(text),
    body: out,
    err: out,
    draw: out,
    interactive: false,
    colorOut: false,
    colorErr: false,
    size: () => ({ columns: 100, rows: 40 }),
    onResize: () => () => {},
  };
}

function cliPage(): string {
  const captured = { text: "" };
  const out = (text: string) => (captured.text += text);
  const program = buildProgram(silentTerminal(out), () => {});
  const mockModel = mockModelCommand({ stdout: out, stderr: out }, () => {}).configureOutput({ writeOut: out });
  const commands = program.commands
    .filter((command) => !command.name().startsWith("__"))
    .map((command) => (command.name() === "mock-model" ? mockModel : command));
  return page(
    generated("src/cli/program.ts"),
    "# The command line",
    "In a checkout the program is `npx oao`. Data goes to standard output; progress, summaries and errors go to standard error.",
    table(
      ["Command", "What it does"],
      commands.map((command) => [`[\`${usageOf(command)}\`](#oao-${command.name()})`, prose(command.description())]),
    ),
    ...commands.flatMap((command) => commandBlocks(command, captured)),
    ...environmentBlocks,
    "## Exit codes",
    "`run`, `submit` and `resume` say how the Execution ended. Reading a failed run is a success: `get`, `tree`, `trace` and `logs` exit with 0.",
    table(
      ["Code", "Meaning"],
      Object.entries(cliExitCodes).map(([name, code]) => [
        String(code),
        cliExitMeaning[name as keyof typeof cliExitCodes],
      ]),
    ),
  );
}

const environmentBlocks = [
  "## Environment",
  table(
    ["Variable", "Meaning"],
    [
      [
        "`OAO_HOME`",
        "folder of local state; else the nearest `.oao` from the working folder upwards, else `.oao` there",
      ],
      ["`OAO_REDIS_URL`", "URL with the password, to read or resume a run whose journal is in that Redis"],
      [
        "`OAO_SECRET_<NAME>_<KEY>`",
        "value of the Secret key that a manifest names, in upper case, other characters as `_`",
      ],
      ["`OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, …", "key of the provider's own endpoint"],
      ["`OAO_SERVER`, `OAO_OPERATOR_NAMESPACE`", "as `--server` and `--operator-namespace`"],
      ["`KUBECONFIG`", "files that lead to clusters, as kubectl reads them; else ~/.kube/config"],
      ["`NO_COLOR`", "set: no colours"],
    ],
  ),
];

function usageOf(command: Command): string {
  const takesOptions = command.options.length > 0 ? ["[options]"] : [];
  return ["oao", command.name(), ...command.registeredArguments.map(argumentOf), ...takesOptions].join(" ");
}

function argumentOf(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? "..." : ""}`.toUpperCase();
  return argument.required ? name : `[${name}]`;
}

function commandBlocks(command: Command, captured: { text: string }): string[] {
  return [
    `## oao ${command.name()}`,
    `${prose(command.description())}.`,
    fenced("text", usageOf(command)),
    command.options.length === 0 ? "" : table(["Option", "Meaning"], command.options.map(optionRow)),
    ...afterHelp(command, captured),
  ];
}

function optionRow(option: Option): string[] {
  const initial = option.defaultValue === undefined ? "" : ` (default: ${JSON.stringify(option.defaultValue)})`;
  return [`\`${option.flags}\``, `${prose(option.description)}${initial}`];
}

/** What stands below the options in `--help`: examples become code; of the rest an empty line ends a paragraph, as it does there. */
function afterHelp(command: Command, captured: { text: string }): string[] {
  captured.text = "";
  command.outputHelp();
  const lines = captured.text.slice(command.helpInformation().length).split("\n");
  const isExample = (line: string) => line.startsWith("  ");
  const isHeading = (line: string) => /^Examples?:$/.test(line);
  const examples = lines.filter(isExample).map((line) => line.slice(2));
  const notes = lines.map((line) => (isExample(line) || isHeading(line) ? "" : prose(line))).join("\n");
  return [examples.length === 0 ? "" : fenced("sh", examples.join("\n")), notes.replace(/\n{2,}/g, "\n\n").trim()];
}

// fields.md

/** That a spec is immutable is said once, with spec. */
function rulesOf(doc: FieldDoc): readonly string[] {
  return doc.rules.filter((rule) => !/ cannot be changed: /.test(rule));
}

function fieldsPage(): string {
  const docs = listFields();
  const withFields = docs.filter((doc) => doc.children.length > 0);
  return page(
    generated("src/api"),
    "# Fields",
    "Every field of both kinds. `oao explain PATH` prints the same in a terminal. A field that is not here is refused.",
    ...kinds.flatMap((kind) => [
      `## ${kind}`,
      ...withFields.filter(isOf(kind)).flatMap((doc) => fieldBlocks(doc, docs)),
    ]),
  );
}

function isOf(kind: Kind): (doc: FieldDoc) => boolean {
  return (doc) => doc.kind === kind;
}

function fieldBlocks(doc: FieldDoc, docs: readonly FieldDoc[]): string[] {
  const children = doc.children.flatMap((name) => docs.filter(({ path }) => path === `${doc.path}.${name}`));
  return [
    `### ${doc.path}`,
    prose([doc.description, ...rulesOf(doc)].filter((text) => text !== "").join(" ")),
    table(["Field", "Type", "Meaning"], children.map(fieldRow)),
  ];
}

function fieldRow(doc: FieldDoc): string[] {
  const values = doc.enum.length === 0 ? [] : [`One of ${doc.enum.map((value) => `\`${value}\``).join(", ")}.`];
  const limits = doc.limits.map((limit) => limit.replace(/matches (.*)$/, "matches `$1`"));
  const within = limits.length === 0 ? [] : [`Limits: ${limits.join("; ")}.`];
  const rules = doc.children.length === 0 ? rulesOf(doc).map(prose) : [];
  return [
    `\`${doc.name}\`${doc.required ? " (required)" : ""}`,
    doc.type,
    [prose(doc.description), ...values, ...within, ...rules].join(" "),
  ];
}

// errors.md

const workerExitMeaning: Readonly<Record<keyof typeof workerExitCodes, string>> = {
  done: "the node succeeded; its result is recorded",
  failed: "the node failed; the failure is recorded",
  waiting: "a person has to decide about a call in doubt (onInDoubt: Ask); the answer comes with the next attempt",
  fenced: "a later attempt holds the node",
  stopped: "suspended, cancelled or asked to end; another attempt resumes",
  infrastructure: "nothing final is recorded; another attempt resumes. So does every other code, and every signal",
  lost: "the store lost acknowledged entries, and the worker could not restore them",
};

function errorsPage(): string {
  return page(
    generated("src/core/errors/errors.ts"),
    "# Errors",
    "Every error that OAO raises on purpose has a code and one disposition: **retry** (the same thing may be done again), **wait** (until something outside changes) or **stop** (never again as it is). Codes are stable; messages are not.",
    table(
      ["Code", "Disposition", "Meaning"],
      Object.entries(catalogue).map(([code, { disposition, about }]) => [`\`${code}\``, disposition, prose(about)]),
    ),
    "Reasons of runs and nodes, such as `PolicyViolation` or `InDoubt`, are in [troubleshooting.md](troubleshooting.md).",
    "## Exit codes of a worker",
    "One process runs one attempt of one node. `oao logs` shows how it ended. Exit codes of `oao` itself: [cli.md](cli.md#exit-codes).",
    table(
      ["Code", "Name", "Meaning"],
      Object.entries(workerExitCodes).map(([name, code]) => [
        String(code),
        name,
        workerExitMeaning[name as keyof typeof workerExitCodes],
      ]),
    ),
  );
}

// http-api.md

/** A guide by hand, with the reference between two marks. */
function httpPage(): string {
  const [from, to] = [generated("src/operator/api"), "<!-- End of what is generated. -->"];
  const before = readFileSync(`${folder}http-api.md`, "utf8");
  const [start, end] = [before.indexOf(from), before.indexOf(to)];
  if (start < 0 || end < start) throw new Error(`docs/http-api.md lacks one of the marks ${from} ${to}`);
  return `${before.slice(0, start)}${from}\n\n${httpReference()}\n\n${before.slice(end)}`;
}

const wanted: Readonly<Record<string, string>> = {
  "cli.md": cliPage(),
  "fields.md": fieldsPage(),
  "errors.md": errorsPage(),
  "http-api.md": httpPage(),
  "openapi.json": `${JSON.stringify(openApiDocument(), undefined, 2)}\n`,
};
const changed = Object.keys(wanted).filter(
  (name) => !existsSync(folder + name) || readFileSync(folder + name, "utf8") !== wanted[name],
);

if (process.argv.includes("--check")) {
  for (const name of changed) console.log(`docs/${name} is not what the sources say`);
  process.exitCode = changed.length === 0 ? 0 : 1;
} else {
  for (const name of changed) writeFileSync(folder + name, wanted[name] ?? "");
  console.log(`docs/: ${Object.keys(wanted).length} generated pages, ${changed.length} written`);
}
