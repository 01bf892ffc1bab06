import { ExpressionError } from "./errors.ts";
import { findClosingParenthesis } from "./tree.ts";

export type TemplatePart =
  | { readonly text: string }
  /** `offset`: of the first character after `$(`, in UTF-16 code units of the whole text. */
  | { readonly expression: string; readonly offset: number };

export interface Template {
  readonly parts: readonly TemplatePart[];
}

const expressionsMax = 1_000;

/**
 * Splits text at its `$( … )`. Everything else, `$$` included, is literal; a literal `$(` is
 * written `$("$(")`. Throws ExpressionError for an expression that CEL cannot read or that is
 * never closed, with the offset in the whole text.
 */
export function parseTemplate(text: string): Template {
  const parts: TemplatePart[] = [];
  let position = 0;
  while (true) {
    const dollar = text.indexOf("$(", position);
    if (dollar === -1) break;
    if (dollar > position) parts.push({ text: text.slice(position, dollar) });
    const offset = dollar + 2;
    const end = findClosingParenthesis(text, offset);
    parts.push({ expression: text.slice(offset, end), offset });
    if (parts.length > 2 * expressionsMax) {
      throw new ExpressionError("ExpressionTooExpensive", `More than ${expressionsMax} expressions in one text`, text);
    }
    position = end + 1;
  }
  if (position < text.length) parts.push({ text: text.slice(position) });
  return { parts };
}
