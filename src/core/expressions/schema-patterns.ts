/** Patterns of JSON Schemas run on RE2, in linear time: with the built-in engine ten characters can hold the process for minutes. */
import { RE2JS } from "re2js";

/** What ajv takes as `code.regExp`. Throws, naming the pattern, for what RE2 does not support. */
export const schemaPatterns = Object.assign(
  (pattern: string) => {
    try {
      const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
      // ajv keeps one expression per text form: two patterns must never have the same.
      return { test: (text: string) => compiled.test(text), toString: () => pattern };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`pattern ${JSON.stringify(pattern)} is not supported (RE2 syntax): ${reason}`, { cause: error });
    }
  },
  { code: "re2" },
);
