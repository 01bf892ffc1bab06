export type ExpressionErrorCode = "InvalidExpression" | "ExpressionTooExpensive" | "ExpressionFailed";

/**
 * The only error that leaves this folder.
 * `InvalidExpression`: the text is wrong whatever the data (found by lint, and refused again here).
 * `ExpressionTooExpensive`: a bound was reached; the same inputs reach it again, so never retry.
 * `ExpressionFailed`: the expression met data it cannot work on (a missing field, a wrong type).
 */
export class ExpressionError extends Error {
  readonly code: ExpressionErrorCode;
  /** The CEL text, without `$(` and `)`, shortened to what an event or a status can hold. */
  readonly expression: string;
  /** Where in the whole given text (a template or bare CEL), in UTF-16 code units. */
  readonly offset?: number;

  constructor(code: ExpressionErrorCode, message: string, expression: string, offset?: number) {
    const shown = fragment(expression);
    super(offset === undefined ? `${message} (in \`${shown}\`)` : `${message} (in \`${shown}\`, at offset ${offset})`);
    this.name = "ExpressionError";
    this.code = code;
    this.expression = shown;
    if (offset !== undefined) this.offset = offset;
  }
}

/** A reason to stop, thrown below the place that knows the expression's text. */
export class Stop extends Error {
  readonly code: ExpressionErrorCode;
  constructor(code: ExpressionErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** One line that fits into a message. */
export function fragment(text: string, lengthMax = 160): string {
  const line = text
    .slice(0, 4 * lengthMax)
    .replaceAll(/\s+/g, " ")
    .trim();
  return (line.length <= lengthMax ? line : `${line.slice(0, lengthMax - 1)}…`).toWellFormed();
}
