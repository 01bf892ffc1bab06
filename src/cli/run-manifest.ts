/** From files and flags to one Execution and the policies beside it, or every problem at once. */
import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { dnsLabel } from "../api/common.ts";
import { sizes } from "../api/defaults.ts";
import type { Execution, GovernancePolicy } from "../api/types.ts";
import type { Json } from "../core/digest/json.ts";
import { hashMismatch } from "../core/manifest/hash-problems.ts";
import { type LintResult, lintManifest, toProblem } from "../core/manifest/lint.ts";
import type { ManifestDocument } from "../core/manifest/parse.ts";
import { formatProblem, type Problem, sortProblems } from "../core/manifest/problem.ts";
import { CliError } from "./errors.ts";
import { checkUnpacked } from "./file-names.ts";
import { defaultNamespace } from "./home.ts";
import { applyOverrides, inputOverride, type Override, setOverride } from "./overrides.ts";
import type { Terminal } from "./terminal.ts";
import { agentProblems } from "./agent-problems.ts";
import { modelProblems } from "./model-problems.ts";
import { type ToolCheckOptions, toolProblems } from "./tool-problems.ts";

export interface ManifestFlags {
  readonly input?: readonly string[] | undefined;
  readonly set?: readonly string[] | undefined;
  readonly policy?: readonly string[] | undefined;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
}

export type NamedPolicy = GovernancePolicy & { metadata: { name: string } };

export interface RunManifest {
  readonly execution: Execution;
  readonly name: string;
  /** The name was made up from generateName: every run is a new one. */
  readonly generated: boolean;
  readonly namespace: string;
  readonly policies: readonly NamedPolicy[];
  /** Folder of the file: module tools are relative to it. */
  readonly baseDir: string;
}

export interface ReadOptions {
  /** Of module files that are not here. */
  readonly missingModules?: ToolCheckOptions["missing"];
  /** For those who want to see the hash that is not the expected one. */
  readonly anyHash?: true;
}

/** Throws CliError (exit 2) holding every error of every file. Warnings go to stderr. */
export async function readRunManifest(
  file: string,
  flags: ManifestFlags,
  terminal: Terminal,
  random: () => number,
  { missingModules = "Error", anyHash }: ReadOptions = {},
): Promise<RunManifest> {
  const overrides = [...(flags.input ?? []).map(inputOverride), ...(flags.set ?? []).map(setOverride)];
  const fallbackName = nameFromFile(file);
  const baseDir = resolve(terminal.cwd, dirname(file));
  const main = await lintWithTools(readText(file, terminal), file, { baseDir, missing: missingModules }, ({ value }) =>
    edited(value, overrides, flags.name, fallbackName),
  );
  const others = (flags.policy ?? []).map((path) => ({ path, result: lintManifest(readText(path, terminal), path) }));
  const problems = main.problems.filter(({ code }) => anyHash !== true || code !== hashMismatch);
  report([...problems, ...others.flatMap(({ result }) => result.problems)], terminal);
  checkHoldPolicies(others);
  const [found, ...more] = main.executions;
  if (found === undefined)
    throw new CliError(`${file} holds no Execution`, [
      "start from a sample: config/samples/",
      "see the fields: oao explain execution.spec",
    ]);
  if (more.length > 0)
    throw new CliError(`${file} holds ${more.length + 1} Executions; oao run takes one`, [
      "put each into a file of its own",
    ]);
  const execution = found.object;
  const { name, generated } = nameOf(execution, flags.name, fallbackName, random);
  const namespace = flags.namespace ?? execution.metadata.namespace ?? defaultNamespace;
  const policies = [...main.policies, ...others.flatMap(({ result }) => result.policies)].map(({ object }) =>
    named(object),
  );
  return { execution, name, generated, namespace, policies, baseDir };
}

interface PolicyFile {
  readonly path: string;
  readonly result: LintResult;
}

/** Every policy of `--policy` files. Throws CliError (exit 2). */
export function readPolicies(files: readonly string[] | undefined, terminal: Terminal): readonly NamedPolicy[] {
  const read = (files ?? []).map((path) => ({ path, result: lintManifest(readText(path, terminal), path) }));
  report(
    read.flatMap(({ result }) => result.problems),
    terminal,
  );
  checkHoldPolicies(read);
  return read.flatMap(({ result }) => result.policies).map(({ object }) => named(object));
}

function checkHoldPolicies(files: readonly PolicyFile[]): void {
  for (const { path, result } of files)
    if (result.policies.length === 0) throw new CliError(`--policy ${path} holds no GovernancePolicy`);
}

/** lintManifest, and what the models, tools and agents of its Executions are like. */
export async function lintWithTools(
  text: string,
  file: string,
  options: ToolCheckOptions,
  edit?: (document: ManifestDocument) => Json,
): Promise<LintResult> {
  const result = lintManifest(text, file, edit);
  const problems = await Promise.all(
    result.documents.map(async (document) =>
      [
        ...(await modelProblems(document.value)),
        ...(await toolProblems(document.value, options)),
        ...agentProblems(document.value),
      ].map((finding) => toProblem(document, finding)),
    ),
  );
  return { ...result, problems: sortProblems([...result.problems, ...problems.flat()]) };
}

/** Prints every problem; throws after the last one when any is an error. */
export function report(problems: readonly Problem[], terminal: Terminal): void {
  for (const problem of problems) terminal.err(`${formatProblem(problem)}\n`);
  const errors = problems.filter((problem) => problem.severity === "Error").length;
  if (errors > 0)
    throw new CliError(`${errors} ${errors === 1 ? "error" : "errors"}; nothing was started`, [
      "what a field means: oao explain FIELD",
    ]);
}

export function readText(file: string, terminal: Pick<Terminal, "cwd">): string {
  const bytes = readBytes(file, terminal);
  checkUnpacked(file, bytes);
  if (isUtf8(bytes)) return bytes.toString("utf8");
  // Read as UTF-8 all the same, it would hold other characters than its author sees.
  throw new CliError(`cannot read ${file}: line ${firstBadLine(bytes)} is not UTF-8`, [
    "save it as UTF-8, as with iconv -f LATIN1 -t UTF-8",
  ]);
}

/** From 1. No character of UTF-8 holds the byte of a line's end. */
function firstBadLine(bytes: Buffer): number {
  for (let line = 1, from = 0; ; line += 1) {
    const end = bytes.indexOf(0x0a, from);
    if (end === -1 || !isUtf8(bytes.subarray(from, end))) return line;
    from = end + 1;
  }
}

function readBytes(file: string, terminal: Pick<Terminal, "cwd">): Buffer {
  try {
    return readFileSync(file === "-" ? 0 : resolve(terminal.cwd, file));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why =
      code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : (error as Error).message;
    throw new CliError(`cannot read ${file}: ${why}`);
  }
}

/** Overrides are for the Execution; policies in the same file stay as they are. */
function edited(value: Json, overrides: readonly Override[], flagName: string | undefined, fallbackName: string): Json {
  if (!isObject(value) || value["kind"] !== "Execution") return value;
  const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
  const nameless = metadata["name"] === undefined && metadata["generateName"] === undefined;
  const name = flagName ?? (nameless ? fallbackName : undefined);
  const renamed = name === undefined ? value : { ...value, metadata: { ...metadata, name } };
  return applyOverrides(renamed, overrides);
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function nameOf(
  execution: Execution,
  flagName: string | undefined,
  fallbackName: string,
  random: () => number,
): { name: string; generated: boolean } {
  const { name, generateName } = execution.metadata;
  const fixed = flagName ?? name;
  if (fixed !== undefined) return { name: fixed, generated: false };
  return { name: `${generateName ?? `${fallbackName}-`}${suffix(random)}`, generated: true };
}

/** As Kubernetes makes them: no vowels, so no words. */
function suffix(random: () => number): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return Array.from({ length: 5 }, () => letters[Math.floor(random() * letters.length)]).join("");
}

/** A name from a flag, which is stored and printed as it is. Throws CliError (exit 2). */
export function checkName(flag: string, name: string): string {
  if (dnsLabel.safeParse(name).success) return name;
  throw new CliError(`${flag} ${JSON.stringify(name.slice(0, sizes.name))} is no name`, [
    `it must be a DNS label: lower case letters, digits and '-', at most ${sizes.name} of them`,
  ]);
}

/** market_brief.v2.yaml → market-brief-v2 */
export function nameFromFile(file: string): string {
  const label = basename(file)
    .replace(/\.(ya?ml|json)$/i, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 50)
    .replace(/-+$/, "");
  return label === "" ? "run" : label;
}

function named(policy: GovernancePolicy): NamedPolicy {
  const { name } = policy.metadata;
  if (name === undefined) throw new CliError("a GovernancePolicy needs a metadata.name: executions refer to it");
  return { ...policy, metadata: { ...policy.metadata, name } };
}
