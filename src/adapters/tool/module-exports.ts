/** What an ESM file exports, read from its text: its code is not run. */
import type { ModuleToolSpec } from "../../api/tool.ts";
import { InvalidTool } from "./invalid-tool.ts";

interface Exports {
  readonly names: ReadonlySet<string>;
  readonly functions: ReadonlySet<string>;
  /** False: there may be more than can be seen in the text (export *, destructuring, CommonJS). */
  readonly complete: boolean;
}

/**
 * Throws InvalidTool where the text alone shows that the module has no function for the tool; where it does not, the worker finds out
 * when it loads the module. Text in comments and strings may pass for an export, never hide one.
 */
export function checkModuleExports(tool: string, definition: ModuleToolSpec, source: string): void {
  const { names, functions, complete } = exportsOf(source);
  if (!complete) return;
  const listed = names.size === 0 ? "nothing" : [...names].sort().join(", ");
  const { path, export: wanted } = definition;
  if (wanted !== undefined) {
    if (!names.has(wanted))
      throw new InvalidTool(
        tool,
        "module.export",
        `${path} exports ${listed}, and no ${wanted}; name one that it exports`,
      );
    return;
  }
  // A single function may have any name; a name that is no function declaration may still stand for one.
  if (names.has(tool) || (names.size > 0 && functions.size < 2)) return;
  throw new InvalidTool(
    tool,
    "module.path",
    `${path} exports ${listed}; export a function ${tool}, or name one with module.export`,
  );
}

const declaration =
  /\bexport\b\s*(default|\*|\{|async\s+function|function|class|const|let|var|type|interface|declare|)\s*\*?\s*([^;\n]*)/g;

function exportsOf(text: string): Exports {
  const source = withoutCommentLines(text);
  const names = new Set<string>();
  const functions = new Set<string>();
  let complete = /\bexport\b/.test(source) || !/\b(module\.exports|exports\.)/.test(source);
  for (const [, kind = "", rest = ""] of source.matchAll(declaration)) {
    const name = /^[\w$]+/.exec(rest)?.[0];
    const isVariable = /^(const|let|var)$/.test(kind);
    if (kind === "default") names.add("default");
    else if (kind === "*" || kind === "") complete = false;
    else if (isVariable || kind === "class" || kind.endsWith("function")) {
      // `export const { a, b } = …`, and several names in one declaration.
      if (name === undefined || (isVariable && rest.includes(","))) complete = false;
      if (name !== undefined) names.add(name);
      if (name !== undefined && kind.endsWith("function")) functions.add(name);
    }
  }
  for (const name of listedExports(source)) names.add(name);
  return { names, functions, complete };
}

/** `export { a, b as c }` */
function listedExports(source: string): string[] {
  return [...source.matchAll(/\bexport\s*(?:type\s*)?\{([^}]*)\}/g)].flatMap(([, list = ""]) =>
    list.split(",").flatMap((entry) => /([\w$]+|"[^"]*"|'[^']*')\s*$/.exec(entry)?.[1]?.replaceAll(/["']/g, "") ?? []),
  );
}

/** Whole lines only: what looks like a comment elsewhere may stand in a string, and must not hide an export. */
function withoutCommentLines(text: string): string {
  return text
    .split("\n")
    .filter((line) => !/^\s*(\/\/|\*|\/\*(?!.*\*\/))/.test(line))
    .join("\n");
}
