import { distance } from "fastest-levenshtein";
import type { Path } from "../../api/fields.ts";

export type Severity = "Error" | "Warning";

/** One thing to correct in a manifest. */
export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
  /** As in `spec.nodes[2].when`; empty for a problem of the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** What to do; empty where the message says it. */
  readonly hint: string;
  readonly severity: Severity;
  /** Stable name of the kind of problem, such as `UnknownField`. */
  readonly code: string;
}

/** `file:line:col  path  message`, and the hint indented below. Warnings say so. */
export function formatProblem(problem: Problem): string {
  const place = `${problem.file}:${problem.line}:${problem.column}`;
  const message = problem.severity === "Warning" ? `warning: ${problem.message}` : problem.message;
  const line = [place, problem.path, message].filter((part) => part !== "").join("  ");
  return problem.hint === "" ? line : `${line}\n    ${problem.hint}`;
}

/** File order: by line, column, then as found. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** `["spec", "nodes", 2, "when"]` as `spec.nodes[2].when`. */
export function pathText(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** The known name that `name` was most likely meant to be, or undefined if none is near. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  if (name === "" || name.length > 128) return undefined;
  const wanted = name.toLowerCase();
  // Two letters that changed places are a distance of 2.
  const allowed = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3));
  let best: string | undefined;
  let bestDistance = allowed + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const found = distance(wanted, candidate.toLowerCase());
    if (found < bestDistance) [best, bestDistance] = [candidate, found];
  }
  return best;
}

/** What to do about a name that stands for nothing: the nearest, else the ones there are. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean "${near}"?`;
  const names = [...new Set(known)];
  if (names.length === 0) return "";
  const shown = names.slice(0, 10).join(", ");
  return `known: ${shown}${names.length > 10 ? `, and ${names.length - 10} more` : ""}`;
}
