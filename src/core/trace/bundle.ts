/**
 * A bundle: one run's whole record as one file of JSON lines (format 1, docs/trace.md).
 *
 * Every line is canonical JSON and a line feed, so a record has exactly one text: the same run exports to the same bytes. The last
 * line holds a digest over all lines before it; entries and bodies have their own, so that a change is told by where it is.
 */
import { isUid } from "../protocol/names.ts";
import { canonicalJson, Sha256, sha256Hex } from "../digest/digest.ts";
import type { Json } from "../digest/json.ts";
import type { RecordedExecution, RecordPart } from "./record-part.ts";

const bundleFormat = 1;

export class BundleWriter {
  readonly #hash = new Sha256();
  #lines = 0;
  #run = "";

  /** The line of one part, with its line feed. Parts come in the order of RecordPart. */
  line(part: RecordPart): string {
    const line = `${canonicalJson(contentOf(part))}\n`;
    if (part.kind === "run") this.#run = sha256Hex(line);
    this.#hash.add(line);
    this.#lines += 1;
    return line;
  }

  /** The last line. Without it a file is no bundle. */
  end(): string {
    return endLine(this.#lines, this.#run, this.#hash.hex());
  }
}

function contentOf(part: RecordPart): object {
  switch (part.kind) {
    case "run":
      return { type: "run", bundle: bundleFormat, content: part.content, execution: part.execution };
    case "item":
      return { type: "item", node: part.key.node, item: part.key.item ?? null, run: part.run ?? null };
    case "entry":
      return { type: "entry", hash: part.hash, bytes: part.bytes };
    case "body":
      return { type: "body", digest: part.body.digest, bytes: part.body.bytes };
  }
}

function endLine(lines: number, run: string, digest: string): string {
  return `${canonicalJson({ type: "end", lines, run: `sha256:${run}`, digest: `sha256:${digest}` })}\n`;
}

/** A line that is not what a bundle has there. */
export class BundleError extends Error {
  override readonly name = "BundleError";
  /** From 1. */
  readonly line: number;
  readonly why: string;
  /** All lines were read, and the last one says that one of them is not what was written. */
  readonly isLast: boolean;
  constructor(line: number, why: string, isLast = false) {
    super(`line ${line}: ${why}`);
    this.line = line;
    this.why = why;
    this.isLast = isLast;
  }
}

type Stage = "run" | "items" | "bodies" | "over";

export class BundleReader {
  readonly #hash = new Sha256();
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #stage: Stage = "run";
  #lines = 0;
  #run = "";
  #digest: string | undefined;
  #hasItem = false;

  /**
   * One line with its line feed. Undefined = it was the last one, and all before it are as they were written, but for what only its
   * own digest can tell: an entry by its hash, a body by its digest. Throws BundleError.
   */
  read(line: Uint8Array): RecordPart | undefined {
    const text = this.#decode(line);
    const number = this.#lines + 1;
    const content = this.#parse(text);
    if (this.#stage === "over") throw new BundleError(number, "it comes after the line that ends the bundle");
    if (content["type"] === "end" && this.#stage !== "run") return this.#end(text, number);
    const part = this.#part(content, number);
    this.#hash.add(line);
    if (part.kind === "run") this.#run = sha256Hex(line);
    this.#lines = number;
    return part;
  }

  /** Over all lines but the last, hex. Throws BundleError: the end is missing. */
  digest(): string {
    if (this.#digest === undefined) throw new BundleError(this.#lines + 1, "the file ends before the bundle does");
    return this.#digest;
  }

  #decode(line: Uint8Array): string {
    const number = this.#lines + 1;
    if (line.at(-1) !== 0x0a) throw new BundleError(number, "the file ends within it");
    if (line.at(-2) === 0x0d)
      throw new BundleError(
        number,
        "it ends in CR LF: git may have changed it on checkout (.gitattributes: *.jsonl -text)",
      );
    try {
      return this.#decoder.decode(line);
    } catch {
      throw new BundleError(number, "it is not UTF-8");
    }
  }

  #parse(text: string): Readonly<Record<string, unknown>> {
    const number = this.#lines + 1;
    let content: unknown;
    let canonical: string | undefined;
    try {
      content = JSON.parse(text);
      canonical = `${canonicalJson(content)}\n`;
    } catch {
      throw new BundleError(number, "it is not JSON");
    }
    if (canonical !== text) throw new BundleError(number, "it is not in canonical form");
    if (content === null || typeof content !== "object" || Array.isArray(content))
      throw new BundleError(number, "it is no object");
    return content as Readonly<Record<string, unknown>>;
  }

  #part(content: Readonly<Record<string, unknown>>, number: number): RecordPart {
    const { type, hash, bytes, digest } = content;
    const names = Object.keys(content).join();
    if (this.#stage === "run") {
      this.#stage = "items";
      return runOf(content, number);
    }
    if (type === "item" && this.#stage === "items" && names === "item,node,run,type") {
      this.#hasItem = true;
      return itemOf(content, number);
    }
    if (type === "entry" && this.#stage === "items" && this.#hasItem && names === "bytes,hash,type") {
      if (isHex(hash) && typeof bytes === "string") return { kind: "entry", hash, bytes };
    }
    if (type === "body" && this.#stage !== "over" && names === "bytes,digest,type") {
      this.#stage = "bodies";
      if (isHex(digest) && typeof bytes === "string") return { kind: "body", body: { digest, bytes } };
    }
    throw new BundleError(number, "it is nothing that a bundle has there");
  }

  #end(text: string, number: number): undefined {
    const digest = this.#hash.hex();
    this.#stage = "over";
    this.#lines = number;
    if (text !== endLine(number - 1, this.#run, digest)) throw this.#endError(text, number, digest);
    this.#digest = digest;
    return undefined;
  }

  /** What the last line holds tells which of the lines before it is another one. */
  #endError(text: string, number: number, digest: string): BundleError {
    const end = JSON.parse(text) as { lines?: unknown; run?: unknown; digest?: unknown };
    const wrong = (line: number, why: string) => new BundleError(line, why, true);
    if (end.lines !== number - 1)
      return wrong(number, `it says that ${String(end.lines)} lines come before it, not ${number - 1}`);
    if (end.run === `sha256:${this.#run}`) return wrong(number, "its digest is not that of the lines before it");
    // Where the digest over all of them holds, it is the last line that was changed.
    return end.digest === `sha256:${digest}`
      ? wrong(number, "it says another digest of the first line")
      : wrong(1, "the last line says another digest of it");
  }
}

function runOf(content: Readonly<Record<string, unknown>>, number: number): RecordPart {
  const { type, bundle, content: kept, execution } = content;
  if (type !== "run" || bundle === undefined) throw new BundleError(number, "it does not begin a bundle");
  if (bundle !== bundleFormat)
    throw new BundleError(
      number,
      `the bundle has format ${JSON.stringify(bundle)}; this version reads format ${bundleFormat}`,
    );
  if ((kept === "Full" || kept === "DigestOnly") && isExecution(execution as Json))
    return { kind: "run", content: kept, execution: execution as RecordedExecution };
  throw new BundleError(number, "it holds no Execution that has ended");
}

/** As much as readers of a record rely on. */
function isExecution(value: Json | undefined): boolean {
  const execution = value as Partial<RecordedExecution> | null | undefined;
  const { metadata, spec, status } = execution ?? {};
  const isNamed = [metadata?.name, metadata?.namespace, metadata?.uid].every((name) => typeof name === "string");
  return (
    isNamed &&
    isUid(metadata?.uid ?? "") &&
    spec !== null &&
    typeof spec === "object" &&
    Array.isArray(status?.nodes) &&
    typeof status.completedAt === "string"
  );
}

function itemOf({ node, item, run }: Readonly<Record<string, unknown>>, number: number): RecordPart {
  const isRun = run === null || (typeof run === "string" && isUid(run));
  const isItem = item === null || (typeof item === "number" && Number.isSafeInteger(item) && item >= 0);
  if (typeof node === "string" && isItem && isRun)
    return { kind: "item", key: item === null ? { node } : { node, item }, run: run ?? undefined };
  throw new BundleError(number, "it names no node item");
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
