import type { Json } from "../../../src/core/digest/json.ts";
import { ExpressionError } from "../../../src/core/expressions/errors.ts";
import type { ExpressionScope } from "../../../src/core/expressions/evaluate.ts";

export function scopeOf(input: Json, nodes: Record<string, Json> = {}, item?: Json): ExpressionScope {
  const outputs = new Map(Object.entries(nodes).map(([name, output]) => [name, { output }]));
  return item === undefined ? { input, nodes: outputs } : { input, nodes: outputs, item };
}

/** What the call throws; fails the test if that is anything but an ExpressionError, or nothing. */
export function errorOf(run: () => unknown): ExpressionError {
  try {
    run();
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** The value, or the ExpressionError in its place; fails the test for any other error. */
export function settled<T>(run: () => T): T | ExpressionError {
  try {
    return run();
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
}
