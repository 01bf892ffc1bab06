import { isAlias, isMap, isScalar, isSeq, LineCounter, type ParsedNode, parseAllDocuments } from "yaml";
import type { Path } from "../../api/fields.ts";
import { type Json, jsonDepthMax, setOwn } from "../digest/json.ts";
import { type Problem, pathText, type Severity, sortProblems } from "./problem.ts";

/** Where a value stands, and where its key does. A tree, so that it is as large as the document. */
interface Place {
  readonly valueAt: number;
  readonly keyAt: number;
  readonly children: Map<string | number, Place>;
}

/** One object of a file as plain JSON that knows where its fields stand. */
export interface ManifestDocument {
  readonly file: string;
  /** From 0. */
  readonly index: number;
  readonly value: Json;
  /** Of the compact JSON text, which is what the API server measures. */
  readonly bytes: number;
  /** Line and column, both from 1, of a field's value (or key); of the nearest parent if the field is absent. */
  position(path: Path, part?: "Key" | "Value"): { readonly line: number; readonly column: number };
}

export interface ParsedManifests {
  readonly documents: readonly ManifestDocument[];
  /** Why a document is missing, or is not what it seems: faults of YAML, duplicate keys (the first counts), aliases that explode. */
  readonly problems: readonly Problem[];
}

/** Files beyond this are refused unread: a manifest is at most 700 KB. UTF-16 code units. */
export const fileLengthMax = 4_194_304;
/** Values of one document after aliases are followed; a bomb of a few lines would have billions. */
export const valuesMax = 200_000;

/** One fault of YAML's syntax brings others with it: the first ones of a document are shown. */
const faultsMax = 10;
const nestedTooDeeply = "the document is nested too deeply";

/**
 * Reads YAML 1.2 (core schema) or JSON, several documents. Documents that cannot be read are left out.
 * Never throws: whatever is wrong with the text is a problem with line and column.
 */
export function parseManifests(text: string, file: string): ParsedManifests {
  const problems: Problem[] = [];
  const lines = new LineCounter();
  const report: Report = (offset, path, code, message, hint = "", severity = "Error") => {
    const { line, col } = lines.linePos(offset);
    problems.push({
      file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path: pathText(path),
      message,
      hint,
      severity,
      code,
    });
  };
  if (text.length > fileLengthMax) {
    report(0, [], "TooLarge", `the file has ${text.length} characters; at most ${fileLengthMax} are read`);
    return { documents: [], problems };
  }
  const documents: ManifestDocument[] = [];
  try {
    // uniqueKeys of the library compares each key with each; the walk below uses a set.
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      version: "1.2",
      schema: "core",
      merge: false,
    });
    for (const [index, document] of (Array.isArray(parsed) ? parsed : []).entries()) {
      const before = problems.length;
      const faults = [...document.errors, ...document.warnings];
      // The library catches its own stack overflow, then finds every bracket unclosed.
      const overflow = faults.find((fault) => fault.message.startsWith("Maximum call stack"));
      if (overflow !== undefined) report(overflow.pos[0], [], "InvalidYaml", nestedTooDeeply);
      else
        for (const fault of faults.slice(0, faultsMax))
          report(fault.pos[0], [], "InvalidYaml", yamlMessage(fault.message), yamlHint(fault.code));
      if (document.contents === null || problems.length > before) continue;
      const reader = new Reader(report);
      const place: Place = { valueAt: start(document.contents), keyAt: start(document.contents), children: new Map() };
      const value = reader.read(document.contents, place, []);
      if (
        value === undefined ||
        reader.failed ||
        (value === null && document.contents.range[0] === document.contents.range[1])
      )
        continue;
      documents.push({
        file,
        index,
        value,
        bytes: Buffer.byteLength(JSON.stringify(value), "utf8"),
        position: (path, part) => {
          const { line, col } = lines.linePos(offsetOf(place, path, part));
          return { line: Math.max(1, line), column: Math.max(1, col) };
        },
      });
    }
  } catch (error) {
    // The library composes by recursion; nothing else is known to throw.
    report(
      0,
      [],
      "InvalidYaml",
      error instanceof RangeError ? nestedTooDeeply : `the file cannot be read: ${String(error)}`,
    );
  }
  if (documents.length === 0 && problems.length === 0) report(0, [], "EmptyFile", "the file holds no object");
  return { documents, problems: sortProblems(problems) };
}

type Report = (offset: number, path: Path, code: string, message: string, hint?: string, severity?: Severity) => void;

function offsetOf(root: Place, path: Path, part: "Key" | "Value" = "Value"): number {
  let place = root;
  for (const step of path) {
    const child = place.children.get(step);
    if (child === undefined) return place.keyAt; // absent: where its parent is named
    place = child;
  }
  return part === "Key" ? place.keyAt : place.valueAt;
}

function start(node: ParsedNode): number {
  return node.range[0];
}

/** Turns the library's tree into JSON: recursion is bounded by jsonDepthMax, size by valuesMax. */
class Reader {
  failed = false;
  readonly #report: Report;
  readonly #anchors = new Map<string, ParsedNode>();
  readonly #open = new Set<ParsedNode>();
  #values = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  #fail(offset: number, path: Path, message: string, hint?: string): undefined {
    this.failed = true;
    this.#report(offset, path, "InvalidYaml", message, hint);
    return undefined;
  }

  /** Undefined after a failure that was reported. */
  read(node: ParsedNode, place: Place, path: Path): Json | undefined {
    if (++this.#values > valuesMax) {
      if (this.#values > valuesMax + 1) return undefined;
      return this.#fail(
        place.valueAt,
        path,
        `the document has more than ${valuesMax} values`,
        "does an alias repeat itself?",
      );
    }
    if (path.length > jsonDepthMax) return this.#fail(place.valueAt, path.slice(0, 3), nestedTooDeeply);
    if (isAlias(node)) return this.#follow(node.source, place, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return this.#scalar(node.value, node.source, node.type === "PLAIN", place.valueAt, path);
    this.#open.add(node);
    const value = isSeq(node) ? this.#list(node.items, place, path) : this.#map(node, place, path);
    this.#open.delete(node);
    return value;
  }

  #follow(name: string, place: Place, path: Path): Json | undefined {
    const target = this.#anchors.get(name);
    if (target === undefined) return this.#fail(place.valueAt, path, `the alias *${name} has no anchor before it`);
    if (this.#open.has(target))
      return this.#fail(place.valueAt, path, `the alias *${name} stands inside of what it repeats`);
    return this.read(target, place, path);
  }

  #list(items: readonly (ParsedNode | null)[], place: Place, path: Path): Json {
    return items.map((item, index) => {
      const at = item === null ? place.valueAt : start(item);
      const child: Place = { valueAt: at, keyAt: at, children: new Map() };
      place.children.set(index, child);
      return item === null ? null : (this.read(item, child, [...path, index]) ?? null);
    });
  }

  #map(node: ParsedNode, place: Place, path: Path): Json {
    const object: Record<string, Json> = {};
    if (!isMap(node)) return object;
    for (const { key, value } of node.items as { key: ParsedNode; value: ParsedNode | null }[]) {
      const name = this.#key(key, path);
      if (name === undefined) continue;
      const keyAt = start(key);
      if (Object.hasOwn(object, name)) {
        this.#report(keyAt, [...path, name], "DuplicateKey", `"${name}" is written twice`, "remove one");
        continue;
      }
      const child: Place = { valueAt: value === null ? keyAt : start(value), keyAt, children: new Map() };
      place.children.set(name, child);
      setOwn(object, name, value === null ? null : (this.read(value, child, [...path, name]) ?? null));
    }
    return object;
  }

  /** Undefined after a problem that was reported; the rest of the document is still read. */
  #key(key: ParsedNode, path: Path): string | undefined {
    const refuse = (message: string, hint?: string) => {
      this.#report(start(key), path, "InvalidYaml", message, hint);
      return undefined;
    };
    if (!isScalar(key) || key.value === null) return refuse("a key must be a name");
    const name = typeof key.value === "string" ? key.value : (key.source ?? JSON.stringify(key.value));
    if (name === "<<") return refuse("merge keys (<<) are not YAML 1.2", "write the fields out");
    return name.isWellFormed() ? name : refuse("a key holds half a character (a lone surrogate)");
  }

  #scalar(value: unknown, source: string | undefined, plain: boolean, at: number, path: Path): Json | undefined {
    if (typeof value === "string") {
      if (!value.isWellFormed()) return this.#fail(at, path, "the text holds half a character (a lone surrogate)");
      if (plain && /^(?:y|yes|n|no|on|off)$/i.test(value)) {
        this.#report(
          at,
          path,
          "AmbiguousText",
          `kubectl reads ${value} as true or false`,
          `write "${value}" in quotes`,
          "Warning",
        );
      }
      return value;
    }
    if (typeof value === "number") {
      if (!Number.isFinite(value)) return this.#fail(at, path, `${source ?? value} is no JSON number`);
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
        return this.#fail(
          at,
          path,
          `${source ?? value} is beyond 2^53, where numbers lose digits`,
          "write it in quotes",
        );
      }
      return value === 0 ? 0 : value;
    }
    if (value === null || typeof value === "boolean") return value;
    return this.#fail(at, path, "the value is neither text, number, true, false nor null");
  }
}

/** The library's messages end in pointers at the text, which the caller shows by line and column. */
function yamlMessage(message: string): string {
  const [first = message] = message.split("\n");
  return `not valid YAML: ${first.charAt(0).toLowerCase()}${first.slice(1)}`.replace(/[.:]$/, "");
}

function yamlHint(code: string): string {
  if (code === "TAB_AS_INDENT") return "indent with spaces";
  if (code === "TAG_RESOLVE_FAILED") return "remove the tag";
  return "";
}
