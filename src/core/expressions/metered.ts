import { Stop } from "./errors.ts";
import type { Meter } from "./meter.ts";
import { children, type Evaluator, expressionDepthMax, type Operation, type Tree } from "./tree.ts";
import { type CelTimestamp, convertParsed, isTimestamp } from "./values.ts";

/**
 * Rewrites a parsed tree in place so that evaluating it is metered: each round of a comprehension
 * ticks, each operation whose cost depends on its operands is charged before it runs, and what
 * the library does unsafely (RegExp, local time, JSON numbers) is replaced.
 * Throws Stop for a tree that is too deep.
 */
export function meterTree(root: Tree, meter: Meter): void {
  rewrite(root, meter, 1);
}

/** Returns the number of nodes: the weight of one round when this is a comprehension's body. */
function rewrite(node: Tree, meter: Meter, depth: number): number {
  if (depth > expressionDepthMax) {
    throw new Stop("ExpressionTooExpensive", `The expression is nested deeper than ${expressionDepthMax} levels`);
  }
  let size = 1;
  for (const child of children(node)) size += rewrite(child, meter, depth + 1);
  const expanded = node.meta.alternate;
  if (expanded?.op === "comprehension") meterComprehension(expanded, size, meter);
  else if (node.meta.macro === undefined) replaceOperation(node, meter);
  return size;
}

function meterComprehension(node: Tree, weight: number, meter: Meter): void {
  const parts = node.args as { iterable: Tree; step: Tree };
  parts.step = around(parts.step, (evaluator, step, context) => {
    meter.iteration(weight);
    return chargingErrors(meter, step, () => evaluator.run(step, context));
  });
  parts.iterable = around(parts.iterable, (evaluator, iterable, context) => {
    const items = evaluator.run(iterable, context);
    if (items instanceof Map) meter.scratch(8 * items.size); // the library copies the keys
    return items;
  });
}

function replaceOperation(node: Tree, meter: Meter): void {
  if (node.op === "&&" || node.op === "||") {
    const operands = node.args as [Tree, Tree];
    operands[0] = around(operands[0], (evaluator, left, context) =>
      chargingErrors(meter, left, () => evaluator.run(left, context)),
    );
    return;
  }
  const evaluate = evaluateOf(node.op, meter);
  if (evaluate === undefined) return;
  node.setMeta("alternate", node.clone({ name: node.op, check: checkOf(node), evaluate }, node.args));
}

/** A node that evaluates to what `evaluate` makes of the inner one. */
function around(inner: Tree, evaluate: (evaluator: Evaluator, inner: Tree, context: unknown) => unknown): Tree {
  const operation: Operation = {
    name: "metered",
    check: (checker, _node, context) => checker.check(inner, context),
    evaluate: (evaluator, _node, context) => evaluate(evaluator, inner, context),
  };
  return inner.clone(operation, [inner]).setMeta("async", false);
}

/** Swallowed errors are not free: each one carries a stack and a marked copy of the source. */
function chargingErrors<T>(meter: Meter, node: Tree, run: () => T): T {
  try {
    return run();
  } catch (error) {
    meter.work(500 + node.input.length);
    throw error;
  }
}

/** Literals are lists and maps of anything: naming their exact type would keep it for good, see tree.ts. */
function checkOf(node: Tree): Operation["check"] {
  if (node.op !== "list" && node.op !== "map") return node.meta.check;
  const type = node.op;
  return (checker, literal, context) => {
    for (const child of children(literal)) checker.check(child, context);
    return checker.getType(type);
  };
}

function evaluateOf(op: string, meter: Meter): Operation["evaluate"] | undefined {
  switch (op) {
    case ".":
      return (evaluator, node, context) => access(evaluator, node, evaluator.run(node.left, context), node.right);
    case "[]":
      return (evaluator, node, context) =>
        access(evaluator, node, evaluator.run(node.left, context), evaluator.run(node.right as Tree, context));
    case "call":
      return (evaluator, node, context) => {
        const [name, args] = node.args as [string, Tree[]];
        const values = args.map((arg) => evaluator.run(arg, context));
        chargeFunction(meter, name, values);
        return made(meter, node.handle(values, node, evaluator));
      };
    case "rcall":
      return (evaluator, node, context) => {
        const values = node.receiverWithArgs.map((part) => evaluator.run(part, context));
        return made(meter, callMethod(meter, evaluator, node, values));
      };
    case "list":
      return (evaluator, node, context) => children(node).map((member) => evaluator.run(member, context));
    case "map":
      return buildMap;
    case "-_":
      return (evaluator, node, context) =>
        made(meter, node.handle(evaluator.run(node.args as Tree, context), node, evaluator));
    case "+":
    case "-":
    case "*":
    case "/":
    case "%":
    case "==":
    case "!=":
    case "<":
    case "<=":
    case ">":
    case ">=":
    case "in":
      return (evaluator, node, context) => {
        const left = evaluator.run(node.left, context);
        const right = evaluator.run(node.right as Tree, context);
        chargeOperator(meter, node.op, left, right);
        return made(meter, node.handle(left, right, node, evaluator));
      };
    default:
      return undefined;
  }
}

function access(evaluator: Evaluator, node: Tree, container: unknown, key: unknown): unknown {
  if (typeof container === "object" && container !== null && !(container instanceof Map) && !Array.isArray(container)) {
    // On its own classes the library reads inherited members, `timestamp(…).__proto__` among them.
    throw evaluator.createError("no_such_key", `No such key: ${String(key)}`, node);
  }
  return node.handle(container, key, node, evaluator);
}

/** As a Map, with the two checks of the CEL specification that the library leaves out. */
function buildMap(evaluator: Evaluator, node: Tree, context: unknown): ReadonlyMap<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  for (const [keyNode, valueNode] of node.args as [Tree, Tree][]) {
    const key = evaluator.run(keyNode, context);
    if (typeof key !== "string" && typeof key !== "bigint" && typeof key !== "boolean") {
      throw evaluator.createError("invalid_map_key", "A map key must be a string, int or bool", keyNode);
    }
    if (map.has(key)) throw evaluator.createError("duplicate_map_key", `The key ${key} is given twice`, keyNode);
    map.set(key, evaluator.run(valueNode, context));
  }
  return map;
}

function callMethod(meter: Meter, evaluator: Evaluator, node: Tree, values: unknown[]): unknown {
  const name = (node.args as [string])[0];
  const [self, argument] = values;
  if (typeof self === "string") {
    if (name === "matches" && typeof argument === "string") return meter.matches(self, argument);
    chargeText(meter, name, self, argument);
  } else if (self instanceof Uint8Array) {
    meter.work(self.length);
    if (name === "json") return convertParsed(self, meter);
  } else if (isTimestamp(self) && name === "getDayOfYear") {
    return BigInt(dayOfYear(self)); // the library counts in the machine's zone
  } else if (Array.isArray(self) && name === "join") {
    chargeJoin(meter, self, argument);
  }
  return node.handle(values, evaluator, node);
}

const daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/** From 0, in UTC; NaN for a timestamp out of range. */
function dayOfYear(timestamp: CelTimestamp): number {
  const year = timestamp.getUTCFullYear();
  const month = timestamp.getUTCMonth();
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return (daysBeforeMonth[month] ?? Number.NaN) + (isLeap && month > 1 ? 1 : 0) + timestamp.getUTCDate() - 1;
}

function chargeText(meter: Meter, name: string, text: string, argument: unknown): void {
  const searches = name === "contains" || name === "indexOf" || name === "lastIndexOf" || name === "split";
  if (searches && typeof argument === "string") meter.search(text, argument);
  else if (name === "startsWith" || name === "endsWith") meter.work(1);
  else meter.work(1 + Math.ceil(text.length / 8));
}

function chargeJoin(meter: Meter, list: readonly unknown[], separator: unknown): void {
  let bytes = typeof separator === "string" ? separator.length * Math.max(0, list.length - 1) : 0;
  meter.work(list.length);
  for (const member of list) if (typeof member === "string") bytes += member.length;
  meter.scratch(bytes);
}

const timestampFormat = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;
const durationLengthMax = 64;

function chargeFunction(meter: Meter, name: string, values: readonly unknown[]): void {
  for (const value of values) {
    if (typeof value === "string" || value instanceof Uint8Array) meter.work(1 + Math.ceil(value.length / 8));
  }
  const text = values[0];
  if (typeof text !== "string") return;
  if (name === "timestamp" && !timestampFormat.test(text.slice(0, 64))) {
    // Other forms are read in the machine's zone.
    throw new Stop("ExpressionFailed", "timestamp() takes RFC 3339 text, such as 2026-01-31T09:30:00Z");
  }
  if (name === "duration" && text.length > durationLengthMax) {
    // The library's reader is cubic in the length of a run of digits.
    throw new Stop("ExpressionFailed", `duration() takes at most ${durationLengthMax} characters, such as 1h30m`);
  }
}

function chargeOperator(meter: Meter, op: string, left: unknown, right: unknown): void {
  switch (op) {
    case "+":
      if (typeof left === "string" && typeof right === "string") meter.scratch(left.length + right.length);
      else if (isSized(left) && isSized(right)) meter.scratch(8 * (left.length + right.length));
      return;
    case "in":
      if (Array.isArray(right)) for (const member of right) chargeComparison(meter, left, member);
      else if (typeof left === "string") meter.work(1 + Math.ceil(left.length / 32));
      return;
    case "-":
    case "*":
    case "/":
    case "%":
      return; // numbers, kept within 64 bits by `made`
    default:
      chargeComparison(meter, left, right);
  }
}

function isSized(value: unknown): value is { readonly length: number } {
  return Array.isArray(value) || value instanceof Uint8Array;
}

/** Charges as it walks, so that the walk itself is bounded. */
function chargeComparison(meter: Meter, left: unknown, right: unknown): void {
  meter.work(1);
  if (typeof left === "string" && typeof right === "string") {
    meter.work(Math.ceil(Math.min(left.length, right.length) / 32));
  } else if (isSized(left) && isSized(right) && left.length === right.length) {
    if (!Array.isArray(left) || !Array.isArray(right)) return meter.work(left.length);
    for (let index = 0; index < left.length; index++) chargeComparison(meter, left[index], right[index]);
  } else if (left instanceof Map && right instanceof Map && left.size === right.size) {
    for (const [key, member] of left) chargeComparison(meter, member, right.get(key));
  }
}

const intMin = -(2n ** 63n);
const intMax = 2n ** 63n - 1n;

/** Charges what an operation made; keeps int within 64 bits where the library does not (`int(1e300)`). */
function made(meter: Meter, value: unknown): unknown {
  if (typeof value === "string" || value instanceof Uint8Array) meter.scratch(value.length);
  else if (Array.isArray(value)) meter.scratch(8 * value.length);
  else if (typeof value === "bigint" && (value < intMin || value > intMax)) {
    throw new Stop("ExpressionFailed", "An int result does not fit into 64 bits");
  }
  return value;
}
