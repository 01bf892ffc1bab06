// What the layering check reads from one TypeScript file, on its syntax tree.
import { type Node, parseSync, visitorKeys } from "oxc-parser";

/** One import: what is imported, the names taken from it (`*` for all), and the 1-based line. */
export interface Import {
  readonly specifier: string;
  readonly names: readonly string[];
  readonly line: number;
}

/** Globals that make a function depend on more than its arguments. */
const IMPURE_GLOBALS = new Set([
  "Date",
  "Intl",
  "Temporal",
  "performance",
  "process",
  "crypto",
  "fetch",
  "console",
  "globalThis",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "queueMicrotask",
]);

/** Every import and re-export of the file, static, dynamic (with a literal) and in types. Throws on a syntax error. */
export function importsOf(file: string, text: string): Import[] {
  const { module, program } = parse(file, text);
  const found: Import[] = [];
  for (const { moduleRequest, entries, start } of module.staticImports) {
    const names = entries.map(({ importName }) => importName.name ?? "*");
    found.push({ specifier: moduleRequest.value, names, line: lineAt(text, start) });
  }
  for (const { entries, start } of module.staticExports) {
    for (const { moduleRequest, importName } of entries) {
      if (moduleRequest === null) continue;
      found.push({ specifier: moduleRequest.value, names: [importName.name ?? "*"], line: lineAt(text, start) });
    }
  }
  walk(program, (node) => {
    if (node.type !== "ImportExpression" && node.type !== "TSImportType") return;
    const { source } = node;
    if (source.type !== "Literal" || typeof source.value !== "string") return;
    found.push({ specifier: source.value, names: ["*"], line: lineAt(text, node.start) });
  });
  return found;
}

/** Every use of the clock, randomness, the process, timers or asynchrony, in source order. */
export function impurities(file: string, text: string): { line: number; what: string }[] {
  const found: { line: number; what: string }[] = [];
  walk(parse(file, text).program, (node, parent, key) => {
    const what = impurity(node, parent, key);
    if (what !== undefined) found.push({ line: lineAt(text, node.start), what });
  });
  return found;
}

function impurity(node: Node, parent: Node | undefined, key: string): string | undefined {
  if (node.type === "AwaitExpression") return "await";
  if (node.type === "ImportExpression") return "import()";
  if (node.type === "ForOfStatement" && node.await) return "for await";
  if ("async" in node && node.async === true) return "async";
  if (node.type !== "Identifier" || isOnlyAName(parent, key)) return undefined;
  if (node.name === "Date" && isCalendar(parent, key)) return undefined;
  if (IMPURE_GLOBALS.has(node.name)) return node.name;
  if (node.name === "Math" && !isPlainMember(parent)) return "Math but for its named functions";
  if (node.name === "Math" && isRandom(parent)) return "Math.random";
  return undefined;
}

/** Whether an identifier at this place names a property and refers to nothing: `x.Date`, `{ Date: 1 }`. */
function isOnlyAName(parent: Node | undefined, key: string): boolean {
  if (parent === undefined) return false;
  if (key === "imported" || key === "exported" || key === "label") return true;
  if (parent.type === "TSQualifiedName") return key === "right";
  return (key === "property" || key === "key") && !("computed" in parent && parent.computed === true);
}

/** Whether `Date` reads no clock here: as a type, right of `instanceof`, or in `Date.UTC`. */
function isCalendar(parent: Node | undefined, key: string): boolean {
  if (parent?.type === "TSTypeReference") return true;
  if (parent?.type === "BinaryExpression") return parent.operator === "instanceof" && key === "right";
  return parent?.type === "MemberExpression" && isPlainMember(parent) && nameOf(parent.property) === "UTC";
}

function isPlainMember(parent: Node | undefined): boolean {
  return parent?.type === "MemberExpression" && !parent.computed;
}

function isRandom(parent: Node | undefined): boolean {
  return parent?.type === "MemberExpression" && nameOf(parent.property) === "random";
}

function nameOf(node: Node): unknown {
  return "name" in node ? node.name : undefined;
}

function parse(file: string, text: string): ReturnType<typeof parseSync> {
  const result = parseSync(file, text);
  const [error] = result.errors;
  if (error !== undefined) throw new Error(`${file}: ${error.message}`);
  return result;
}

/** Calls `see` for every node, parents first, with the parent and the field of it that holds the node. */
function walk(root: Node, see: (node: Node, parent: Node | undefined, key: string) => void): void {
  const step = (node: Node, parent: Node | undefined, key: string): void => {
    see(node, parent, key);
    for (const field of visitorKeys[node.type] ?? []) {
      const value: unknown = Reflect.get(node, field);
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) step(child, node, field);
    }
  };
  step(root, undefined, "");
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
