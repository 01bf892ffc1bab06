import {
  Environment,
  EvaluationError,
  ParseError,
  type ParseResult,
  TypeError as CheckError,
} from "@marcbachmann/cel-js";
import { ExpressionError, fragment, Stop } from "./errors.ts";

/**
 * The library's parsed tree, as far as this folder relies on it. The package types only `op`,
 * `args` and positions; its version is pinned, and the tests of this folder fail if it differs.
 */
export interface Tree {
  readonly op: string;
  readonly args: unknown;
  readonly input: string;
  readonly start: number;
  readonly end: number;
  readonly meta: {
    readonly check: Operation["check"];
    readonly evaluate: Operation["evaluate"];
    /** What an expanded macro evaluates instead of this node. */
    readonly alternate?: Tree;
    /** has() and cel.bind() evaluate themselves. */
    readonly macro?: unknown;
  };
  clone(operation: Operation, args: unknown): Tree;
  setMeta(key: "alternate", value: Tree): Tree;
  setMeta(key: "async", value: boolean): Tree;
  // Set by the type check of the operation:
  readonly left: Tree;
  readonly right: Tree | string;
  readonly receiverWithArgs: readonly Tree[];
  readonly handle: (...args: unknown[]) => unknown;
}

export interface Operation {
  readonly name: string;
  check(checker: Checker, node: Tree, context: unknown): unknown;
  evaluate(evaluator: Evaluator, node: Tree, context: unknown): unknown;
}

export interface Checker {
  check(node: Tree, context: unknown): unknown;
  getType(name: "list" | "map" | "null"): unknown;
}

export interface Evaluator {
  run(node: Tree, context: unknown): unknown;
  createError(code: string, message: string, node: Tree): Error;
  debugType(value: unknown): unknown;
  debugTypeDeep(value: unknown): unknown;
}

/** UTF-16 code units of one expression, and levels of its tree. */
export const expressionLengthMax = 16_384;
export const expressionDepthMax = 200;

const environment = new Environment({
  unlistedVariablesAreDyn: false,
  homogeneousAggregateLiterals: false,
  enableOptionalTypes: false,
  limits: { maxAstNodes: 5_000, maxDepth: 100, maxListElements: 1_000, maxMapEntries: 1_000, maxCallArguments: 32 },
})
  .registerVariable("input", "dyn")
  .registerVariable("nodes", "dyn")
  .registerVariable("item", "dyn");
keepTypesShallow();

/**
 * The library names the type of a value by its whole nesting and keeps every type it ever met in
 * tables shared by the process: nested worker output would fill the operator's memory for good.
 */
function keepTypesShallow(): void {
  const probe = environment.parse("null");
  const root = treeOf(probe);
  const operation: Operation = {
    name: root.op,
    check: (checker) => checker.getType("null"),
    evaluate(evaluator) {
      evaluator.debugTypeDeep = (value) => evaluator.debugType(value);
      return null;
    },
  };
  root.setMeta("alternate", root.clone(operation, null));
  probe();
}

export function treeOf(parsed: ParseResult): Tree {
  // The class has more than its published type: `clone`, `meta` and `setMeta`, see Tree.
  return parsed.ast as unknown as Tree;
}

/** Parses bare CEL. Throws what the library throws; see `asExpressionError`. */
export function parse(expression: string): ParseResult {
  if (expression.length > expressionLengthMax) {
    throw new Stop("ExpressionTooExpensive", `The expression is longer than ${expressionLengthMax} characters`);
  }
  return environment.parse(expression);
}

/**
 * Where the expression at the start of `text` ends: the offset of the `)` that closes it, found by
 * the library's own lexer and parser, so that strings, raw strings and comments count as they do
 * in CEL. Throws ExpressionError if it is no expression or is never closed.
 */
export function findClosingParenthesis(text: string, from: number): number {
  const rest = text.slice(from, from + expressionLengthMax + 1);
  try {
    environment.parse(rest);
  } catch (error) {
    if (error instanceof ParseError && error.code === "unexpected_character") {
      const stoppedAt = error.range?.start ?? rest.length;
      if (rest[stoppedAt] === ")") return from + stoppedAt;
    }
    const empty = /^\s*\)/.test(rest);
    throw empty
      ? new ExpressionError("InvalidExpression", "The expression is empty", "", from)
      : asExpressionError(error, rest, from);
  }
  throw new ExpressionError(
    "InvalidExpression",
    '`$(` is never closed; for a literal `$(` write `$("$(")`',
    rest,
    from,
  );
}

/** The nodes below one node, as written (not as macros expand). */
export function children(node: Tree): readonly Tree[] {
  switch (node.op) {
    case "value":
    case "id":
      return [];
    case ".":
      return [(node.args as [Tree, string])[0]];
    case "!_":
    case "-_":
      return [node.args as Tree];
    case "call":
      return (node.args as [string, Tree[]])[1];
    case "rcall": {
      const [, receiver, args] = node.args as [string, Tree, Tree[]];
      return [receiver, ...args];
    }
    case "map":
      return (node.args as [Tree, Tree][]).flat();
    default:
      return node.args as Tree[];
  }
}

const messageLengthMax = 300;

/** Turns whatever was thrown while `expression` was parsed, checked or evaluated into an ExpressionError. */
export function asExpressionError(error: unknown, expression: string, base = 0): ExpressionError {
  if (error instanceof ExpressionError) return error;
  if (error instanceof Stop) return new ExpressionError(error.code, error.message, expression, base);
  if (error instanceof RangeError && error.message.includes("call stack")) {
    return new ExpressionError("ExpressionTooExpensive", "The expression is nested too deeply", expression, base);
  }
  if (error instanceof ParseError || error instanceof CheckError || error instanceof EvaluationError) {
    const offset = base + (error.range?.start ?? 0);
    if (error.code === "limit_exceeded") {
      return new ExpressionError(
        "ExpressionTooExpensive",
        `The expression is too large: ${error.summary}`,
        expression,
        offset,
      );
    }
    const code = error instanceof EvaluationError ? "ExpressionFailed" : "InvalidExpression";
    return new ExpressionError(code, explain(error, expression), expression, offset);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new ExpressionError("ExpressionFailed", fragment(reason, messageLengthMax), expression, base);
}

function explain(error: ParseError | CheckError | EvaluationError, expression: string): string {
  const summary = fragment(error.summary, messageLengthMax);
  const node = error.node as Partial<Tree> | undefined;
  switch (error.code) {
    case "no_such_key":
    case "index_out_of_bounds": {
      const path = node?.start === undefined || node.end === undefined ? "" : expression.slice(node.start, node.end);
      const what = error.code === "no_such_key" ? "does not exist" : "is outside the list";
      return path === ""
        ? summary
        : `\`${fragment(path)}\` ${what}; test it first, as in has(a.b) ? a.b : null or size(list) > 0`;
    }
    case "unknown_variable":
      if (summary.endsWith(" item")) return "`item` is only known inside forEach";
      return `${summary}; an expression knows input, nodes["name"].output and, in forEach, item`;
    case "incompatible_ternary_branches":
      return `${summary}; wrap one in dyn(…)`;
    case "no_such_overload":
      if (!/\bint\b.*\bdouble\b|\bdouble\b.*\bint\b/.test(summary)) return summary;
      return `${summary}; whole numbers are int, others double: convert with double(…) or int(…)`;
    default: {
      const hint = error instanceof ParseError ? bracketHint(expression) : undefined;
      return hint === undefined ? summary : `${summary}; ${hint}`;
    }
  }
}

/** For a node name that CEL cannot read after a dot, anywhere in the text or (`at`) exactly there. */
export function bracketHint(expression: string, at?: number): string | undefined {
  const start = at ?? 0;
  for (const match of expression.slice(start).matchAll(/(?<![\w."'])nodes\s*\.\s*([\w-]+)/g)) {
    if (at !== undefined && match.index !== 0) return undefined;
    const name = match[1] ?? "";
    if (!/^(?!(?:in|true|false|null)$)[A-Za-z_]\w*$/.test(name)) {
      return `"${name}" cannot stand after a dot: write nodes["${name}"].output`;
    }
  }
  return undefined;
}
