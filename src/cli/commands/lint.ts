/** oao lint, oao explain */
import { dirname, resolve } from "node:path";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { explain as explainField, type FieldDoc, listFields } from "../../core/manifest/explain.ts";
import type { LintResult } from "../../core/manifest/lint.ts";
import { formatProblem } from "../../core/manifest/problem.ts";
import { CliError } from "../errors.ts";
import { nearestNames } from "../nearest.ts";
import { checkFormat, structured } from "../render/output.ts";
import { type Paint, painter } from "../render/style.ts";
import { lintWithTools, readText } from "../run-manifest.ts";
import type { Terminal } from "../terminal.ts";

export interface LintFlags {
  readonly output?: string | undefined;
}

export async function lint(files: readonly string[], flags: LintFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  const results = await Promise.all(files.map((file) => lintFile(file, terminal)));
  const problems = results.flatMap((result) => result.problems);
  const errors = problems.filter((problem) => problem.severity === "Error").length;
  if (output !== "table") terminal.out(await structured(problems, output));
  else for (const problem of problems) terminal.out(`${formatProblem(problem)}\n`);
  const warnings = problems.length - errors;
  const counts = problems.length === 0 ? "no problems" : `${counted(errors, "error")}, ${counted(warnings, "warning")}`;
  terminal.err(`${counted(files.length, "file")}: ${counts}\n`);
  return errors === 0 ? cliExitCodes.succeeded : cliExitCodes.usage;
}

function lintFile(file: string, terminal: Terminal): Promise<LintResult> {
  const baseDir = resolve(terminal.cwd, dirname(file));
  return lintWithTools(readText(file, terminal), file, { baseDir, missing: "Warning" });
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

export async function explain(field: string, flags: LintFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  const doc =
    explainField(field) ??
    explainField(`execution.${field}`) ??
    explainField(`execution.spec.${field}`) ??
    explainField(`governancepolicy.${field}`);
  if (doc === undefined) throw unknownField(field);
  terminal.out(output === "table" ? text(doc, painter(terminal.colorOut)) : await structured(doc, output));
  return cliExitCodes.succeeded;
}

function unknownField(field: string): CliError {
  const paths = listFields().map((doc) => doc.path);
  const wanted = field.toLowerCase();
  const last = wanted.split(".").at(-1) ?? wanted;
  const endings = (end: string) => paths.filter((path) => path.toLowerCase().endsWith(`.${end}`));
  // The whole of what was typed first: spec.nodes.foreach is execution.spec.nodes.forEach.
  const near = [...new Set([...endings(wanted), ...nearestNames(field, paths), ...endings(last)])].slice(0, 3);
  return new CliError(`there is no field ${field}`, [
    near.length > 0
      ? `did you mean ${near.join(" or ")}?`
      : "start at the top: oao explain execution, oao explain governancepolicy",
  ]);
}

function text(doc: FieldDoc, paint: Paint): string {
  const facts = [doc.type, doc.required ? "required" : "", ...doc.limits].filter((fact) => fact !== "");
  const blocks = [
    `${paint("bold", doc.path)}  ${facts.join(", ")}`,
    doc.description,
    ...(doc.enum.length === 0 ? [] : [`One of: ${doc.enum.join(", ")}`]),
    ...doc.rules.map((rule) => `Rule: ${rule}`),
    ...(doc.children.length === 0
      ? []
      : [`Fields:\n${doc.children.map((name) => `  ${childLine(doc, name)}`).join("\n")}`]),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

function childLine(doc: FieldDoc, name: string): string {
  const child = explainField(`${doc.path}.${name}`);
  const first = child?.description.split(/(?<=\.)\s/)[0] ?? "";
  return `${name.padEnd(24)} ${(child?.type ?? "").padEnd(16)} ${first}`.trimEnd();
}
