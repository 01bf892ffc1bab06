import { canonicalJson } from "../digest/digest.ts";
import { type Json, jsonDepthMax, setOwn } from "../digest/json.ts";
import { ExpressionError } from "./errors.ts";
import { defaultExpressionLimits, type ExpressionLimits, Meter } from "./meter.ts";
import { meterTree } from "./metered.ts";
import { type References, referencesOf } from "./references.ts";
import { parseTemplate } from "./template.ts";
import { asExpressionError, parse, treeOf } from "./tree.ts";
import { fromCel, toCel } from "./values.ts";

/** What an expression can name. Only what it does name is read and counted. */
export interface ExpressionScope {
  readonly input: Json;
  readonly nodes: ReadonlyMap<string, { readonly output: Json }>;
  /** Present inside forEach. */
  readonly item?: Json;
}

/**
 * The value with every `$( … )` in its strings replaced; keys and other values stay.
 * A string that is one whole expression becomes its JSON value; in longer text a string is put in
 * as it is and any other value as canonical JSON. Results are never scanned again.
 * `limits` hold for the whole call. Throws ExpressionError.
 */
export function interpolate(
  value: Json,
  scope: ExpressionScope,
  limits: ExpressionLimits = defaultExpressionLimits,
): Json {
  return interpolateValue(value, new Evaluation(scope, limits), 0);
}

/** Evaluates bare CEL that must give a bool (`when`). Throws ExpressionError. */
export function evaluateCondition(
  cel: string,
  scope: ExpressionScope,
  limits: ExpressionLimits = defaultExpressionLimits,
): boolean {
  const result = new Evaluation(scope, limits).evaluate(cel, 0);
  if (typeof result === "boolean") return result;
  throw new ExpressionError("ExpressionFailed", `A condition must give true or false, not ${kindOf(result)}`, cel);
}

/** Evaluates bare CEL that must give a list (`forEach.items`). Throws ExpressionError. */
export function evaluateItems(
  cel: string,
  scope: ExpressionScope,
  limits: ExpressionLimits = defaultExpressionLimits,
): readonly Json[] {
  const result = new Evaluation(scope, limits).evaluate(cel, 0);
  if (isList(result)) return result;
  throw new ExpressionError("ExpressionFailed", `forEach.items must give a list, not ${kindOf(result)}`, cel);
}

function interpolateValue(value: Json, evaluation: Evaluation, depth: number): Json {
  if (typeof value === "string") return interpolateText(value, evaluation);
  if (value === null || typeof value !== "object") return value;
  if (depth > jsonDepthMax) {
    throw new ExpressionError("ExpressionTooExpensive", `A value is nested deeper than ${jsonDepthMax} levels`, "");
  }
  if (isList(value)) return value.map((member) => interpolateValue(member, evaluation, depth + 1));
  const copy: Record<string, Json> = {};
  for (const [key, member] of Object.entries(value)) setOwn(copy, key, interpolateValue(member, evaluation, depth + 1));
  return copy;
}

function interpolateText(text: string, evaluation: Evaluation): Json {
  if (!text.includes("$(")) return text;
  const { parts } = parseTemplate(text);
  const [first] = parts;
  if (parts.length === 1 && first !== undefined && "expression" in first) {
    return evaluation.evaluate(first.expression, first.offset);
  }
  let rendered = "";
  for (const part of parts) {
    if ("text" in part) {
      rendered += part.text;
      continue;
    }
    const result = evaluation.evaluate(part.expression, part.offset);
    rendered += typeof result === "string" ? result : canonicalJson(result);
  }
  return rendered;
}

/** One scope and one meter for all expressions of a call; each input is read once. */
class Evaluation {
  readonly #scope: ExpressionScope;
  readonly #meter: Meter;
  readonly #nodes = new Map<string, ReadonlyMap<string, unknown>>();
  readonly #context: { nodes: unknown; input?: unknown; item?: unknown };

  constructor(scope: ExpressionScope, limits: ExpressionLimits) {
    this.#scope = scope;
    this.#meter = new Meter(limits);
    this.#context = { nodes: this.#nodes };
  }

  /** `offset`: of the expression in the text that errors speak of. */
  evaluate(expression: string, offset: number): Json {
    try {
      this.#meter.work(expression.length);
      const program = parse(expression);
      const root = treeOf(program);
      meterTree(root, this.#meter); // first: it bounds the depth of every walk
      this.#load(referencesOf(root, offset));
      const checked = program.check();
      if (!checked.valid) throw asExpressionError(checked.error, expression, offset);
      const value: unknown = program(this.#context);
      if (this.#meter.stopped !== undefined) throw this.#meter.stopped;
      return fromCel(value, this.#meter);
    } catch (error) {
      throw asExpressionError(this.#meter.stopped ?? error, expression, offset);
    }
  }

  #load(references: References): void {
    const { input, item, nodes } = this.#scope;
    if (references.usesInput && this.#context.input === undefined) this.#context.input = toCel(input, this.#meter);
    if (references.usesItem && this.#context.item === undefined && item !== undefined) {
      this.#context.item = toCel(item, this.#meter);
    }
    for (const name of references.nodes) {
      if (this.#nodes.has(name)) continue;
      const node = nodes.get(name);
      // A node without output is an empty map, so that has(nodes.name.output) gives false.
      this.#nodes.set(name, new Map(node === undefined ? [] : [["output", toCel(node.output, this.#meter)]]));
    }
  }
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  if (isList(value)) return "a list";
  return typeof value === "object" ? "a map" : `a ${typeof value}`;
}
