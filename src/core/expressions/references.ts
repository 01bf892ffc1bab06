import type { Json } from "../digest/json.ts";
import { ExpressionError, Stop } from "./errors.ts";
import { Meter } from "./meter.ts";
import { meterTree } from "./metered.ts";
import { parseTemplate } from "./template.ts";
import { asExpressionError, bracketHint, children, parse, type Tree, treeOf } from "./tree.ts";

/** What expressions name, known without evaluating them. */
export interface References {
  /** Nodes whose output is named: to be loaded before, and skipped together with. */
  readonly nodes: ReadonlySet<string>;
  readonly usesInput: boolean;
  readonly usesItem: boolean;
  /** Everything that makes an expression invalid, in the order of the text; empty if all are fine. */
  readonly problems: readonly ExpressionProblem[];
}

export interface ExpressionProblem {
  readonly error: ExpressionError;
  /** Where in the JSON value the text stands; empty for bare CEL and for a plain string. */
  readonly path: readonly (string | number)[];
}

/** References of bare CEL: `when`, `items`. Never throws; a syntax error is a problem. */
export function conditionReferences(cel: string): References {
  const found = new Collector([]);
  found.addExpression(cel, 0);
  return found;
}

/** References of all `$( … )` in all strings of a JSON value (a prompt, arguments). Never throws. */
export function templateReferences(value: Json): References {
  const found = new Collector([]);
  found.addTemplates(value);
  return found;
}

/** The same for an expression about to be evaluated; throws the first problem. */
export function referencesOf(root: Tree, offset: number): References {
  const found = new Collector([]);
  found.walk(root, offset);
  const first = found.problems[0];
  if (first !== undefined) throw first.error;
  return found;
}

const iterating = new Set(["all", "exists", "exists_one", "map", "filter"]);
const zoned = /^get(?:Date|DayOfMonth|DayOfWeek|DayOfYear|FullYear|Hours|Milliseconds|Minutes|Month|Seconds)$/;

class Collector implements References {
  readonly nodes = new Set<string>();
  readonly problems: ExpressionProblem[] = [];
  usesInput = false;
  usesItem = false;
  /** One for all patterns that are written out: it bounds what compiling them may cost. */
  readonly #patterns = new Meter();
  #path: readonly (string | number)[];

  constructor(path: readonly (string | number)[]) {
    this.#path = path;
  }

  addTemplates(value: Json): void {
    if (typeof value === "string") this.#addTemplate(value);
    else if (value !== null && typeof value === "object") {
      const path = this.#path;
      const isList = Array.isArray(value);
      for (const [key, member] of Object.entries<Json>(value)) {
        this.#path = [...path, isList ? Number(key) : key];
        this.addTemplates(member);
      }
      this.#path = path;
    }
  }

  #addTemplate(text: string): void {
    try {
      for (const part of parseTemplate(text).parts)
        if ("expression" in part) this.addExpression(part.expression, part.offset);
    } catch (error) {
      this.#add(asExpressionError(error, text));
    }
  }

  addExpression(cel: string, offset: number): void {
    const before = this.problems.length;
    try {
      const parsed = parse(cel);
      const root = treeOf(parsed);
      meterTree(root, new Meter()); // first: it bounds the depth of every walk
      this.walk(root, offset);
      const checked = parsed.check();
      if (!checked.valid && this.problems.length === before) this.#add(asExpressionError(checked.error, cel, offset));
    } catch (error) {
      this.#add(asExpressionError(error, cel, offset));
    }
  }

  walk(root: Tree, offset: number): void {
    this.#visit(root, offset, new Set());
  }

  #add(error: ExpressionError): void {
    this.problems.push({ error, path: this.#path });
  }

  #problem(node: Tree, offset: number, message: string): void {
    this.#add(new ExpressionError("InvalidExpression", message, node.input, offset + node.start));
  }

  #visit(node: Tree, offset: number, bound: ReadonlySet<string>): void {
    if (node.op === "id") return this.#name(node, offset, bound);
    if (node.op === "value") {
      if (typeof node.args === "bigint" && node.args > 2n ** 63n)
        this.#problem(node, offset, "The integer does not fit into 64 bits");
      return;
    }
    if (node.op === "." || node.op === "[]") return this.#access(node, offset, bound);
    if (node.op === "-") {
      const [left] = children(node);
      const name = left && nodeNameOf(left, bound);
      if (left && name !== undefined && left.op === ".") {
        this.nodes.add(name);
        const hint = bracketHint(left.input, left.start) ?? `write nodes["${name}"].output`;
        return this.#problem(left, offset, `A node cannot be subtracted from; ${hint}`);
      }
    }
    if (node.op === "rcall") return this.#method(node, offset, bound);
    for (const child of children(node)) this.#visit(child, offset, bound);
  }

  #name(node: Tree, offset: number, bound: ReadonlySet<string>): void {
    if (bound.has(node.args as string)) return;
    if (node.args === "input") this.usesInput = true;
    else if (node.args === "item") this.usesItem = true;
    else if (node.args === "optional") this.#problem(node, offset, "Optional values are not supported; use has(…)");
    else if (node.args === "nodes") this.#problem(node, offset, 'Name one node: nodes["name"].output');
  }

  #access(node: Tree, offset: number, bound: ReadonlySet<string>): void {
    const bare = nodeNameOf(node, bound);
    if (bare !== undefined) {
      this.nodes.add(bare);
      return this.#problem(node, offset, `A node has only its output: write nodes["${bare}"].output`);
    }
    const [container, key] = node.args as [Tree, Tree | string];
    const name = nodeNameOf(container, bound);
    if (name !== undefined) {
      this.nodes.add(name);
      if (staticKey(node) !== "output") {
        this.#problem(node, offset, `A node has only its output: write nodes["${name}"].output`);
      }
    } else if (isNodes(container, bound)) {
      this.#problem(node, offset, 'The name of a node must be written out: nodes["name"].output, not computed');
    } else {
      this.#visit(container, offset, bound);
    }
    if (typeof key !== "string") this.#visit(key, offset, bound);
  }

  /** A pattern that is written out fails always or never. */
  #pattern([pattern]: readonly Tree[], offset: number): void {
    if (pattern?.op !== "value" || typeof pattern.args !== "string") return;
    try {
      this.#patterns.matches("", pattern.args);
    } catch (error) {
      // Too expensive is what the evaluation finds out, which may never come here.
      if (error instanceof Stop && error.code === "ExpressionFailed") this.#problem(pattern, offset, error.message);
    }
  }

  #method(node: Tree, offset: number, bound: ReadonlySet<string>): void {
    const [method, receiver, args] = node.args as [string, Tree, Tree[]];
    if (zoned.test(method) && args.length === 1) {
      this.#problem(
        node,
        offset,
        `${method} takes no time zone here: its data differ between machines; timestamps are UTC`,
      );
    }
    if (method === "matches") this.#pattern(args, offset);
    this.#visit(receiver, offset, bound);
    const variable = args[0];
    const isMacro = node.meta.macro !== undefined || node.meta.alternate?.op === "comprehension";
    if (!isMacro || variable?.op !== "id" || !(iterating.has(method) || method === "bind")) {
      for (const arg of args) this.#visit(arg, offset, bound);
      return;
    }
    const inside = new Set(bound).add(variable.args as string);
    // cel.bind(name, value, body): the value stands outside of the name's reach.
    args.slice(1).forEach((arg, index) => {
      this.#visit(arg, offset, method === "bind" && index === 0 ? bound : inside);
    });
  }
}

function isNodes(node: Tree, bound: ReadonlySet<string>): boolean {
  return node.op === "id" && node.args === "nodes" && !bound.has("nodes");
}

function staticKey(node: Tree): string | undefined {
  const key = (node.args as [Tree, Tree | string])[1];
  if (typeof key === "string") return key;
  return key.op === "value" && typeof key.args === "string" ? key.args : undefined;
}

/** The name in `nodes.name` or `nodes["name"]`; undefined for anything else. */
function nodeNameOf(node: Tree, bound: ReadonlySet<string>): string | undefined {
  if (node.op !== "." && node.op !== "[]") return undefined;
  return isNodes((node.args as [Tree])[0], bound) ? staticKey(node) : undefined;
}
