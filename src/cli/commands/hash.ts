/** oao hash: the execution hash of a manifest or a run with its parts, what is hashed, and in what two differ. */
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { type Difference, differences, shortened } from "../../core/digest/json-diff.ts";
import { type HashPart, hashParts } from "../../core/hash/content.ts";
import { shortDigest } from "../../core/hash/execution-hash.ts";
import { CliError } from "../errors.ts";
import { hashSubject, type HashSubject, type SubjectFlags } from "../hash-subject.ts";
import { checkFormat, structured } from "../render/output.ts";
import { oneLine } from "../render/style.ts";
import { table } from "../render/table.ts";
import type { Terminal } from "../terminal.ts";

export interface HashFlags extends SubjectFlags {
  readonly explain?: boolean | undefined;
  readonly output?: string | undefined;
}

type Output = "table" | "json" | "yaml";

/** Exit code 1 = two subjects differ. Throws CliError. */
export async function hash(names: readonly string[], flags: HashFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json", "yaml"]) ?? "table";
  const [one, other, ...more] = names;
  if (one === undefined || more.length > 0) throw new CliError("oao hash takes one file or run, or two to compare");
  const first = await hashSubject(one, flags, terminal);
  if (other === undefined) {
    await printOne(first, output, flags.explain === true, terminal);
    return cliExitCodes.succeeded;
  }
  return printTwo(first, await hashSubject(other, flags, terminal), output, terminal);
}

async function printOne(subject: HashSubject, output: Output, explain: boolean, terminal: Terminal): Promise<void> {
  const explained = hashParts.map((part) => [part, textOf(subject, part)] as const);
  if (output !== "table") {
    const told = {
      executionHash: subject.hash ?? null,
      hashParts: Object.fromEntries(hashParts.map((part) => [part, subject.parts[part] ?? null])),
      policies: subject.policies ?? null,
      ...(explain ? { explained: Object.fromEntries(explained) } : {}),
    };
    terminal.out(await structured(told, output));
  } else if (explain) {
    const blocks = explained.map(
      ([part, text]) => `${part} ${digestOf(subject, part)}\n${text ?? unexplained(part)}\n`,
    );
    const over = subject.hash === undefined ? unknownHere : canonicalJson(subject.parts);
    terminal.out(`${[...blocks, `hash ${subject.hash ?? unknownHere}\n${over}\n`].join("\n")}`);
  } else {
    const rows = hashParts.map((part) => [
      part,
      digestOf(subject, part),
      part === "policy" ? policyNames(subject) : "",
    ]);
    terminal.out(
      table(["PART", "DIGEST", "OF"], [...rows, ["hash", subject.hash ?? unknownHere, "all parts"]], {
        columns: terminal.columnsOut,
        free: [2],
      }),
    );
  }
  if (subject.unknown !== undefined) terminal.err(`policy and hash are not known: ${subject.unknown}\n`);
}

const unknownHere = "not known here";

function unexplained(part: HashPart): string {
  return part === "policy"
    ? "(the policies, and --floor, that can be read from here are not those of the run's start)"
    : "(the spec that was hashed is not read from here)";
}

function policyNames({ policies }: HashSubject): string {
  if (policies === undefined) return "";
  return policies.length === 0 ? "no policies" : policies.join(", ");
}

function digestOf({ parts }: HashSubject, part: HashPart): string {
  return parts[part] ?? unknownHere;
}

/** Byte for byte what is hashed; null = not known here. */
function textOf({ content }: HashSubject, part: HashPart): string | null {
  const value = content[part];
  return value === undefined ? null : canonicalJson(value);
}

interface PartDifference {
  readonly part: HashPart;
  readonly one: string | null;
  readonly other: string | null;
  /** Empty where the content of one is not known here. */
  readonly fields: readonly Difference[];
}

const fieldsMax = 50;
const valueWidth = 40;

async function printTwo(
  one: HashSubject,
  other: HashSubject,
  output: Output,
  terminal: Terminal,
): Promise<CliExitCode> {
  const differing = hashParts.flatMap((part) => partDifference(part, one, other));
  const unknown = [one, other].find((subject) => subject.unknown !== undefined)?.unknown;
  if (output !== "table") {
    const hashes = { one: one.hash ?? null, other: other.hash ?? null };
    terminal.out(await structured({ same: differing.length === 0, executionHash: hashes, differing }, output));
  } else if (differing.length > 0) {
    const rows = differing.flatMap(({ part, fields, ...digests }) => [
      [part, "", shortOrUnknown(digests.one), shortOrUnknown(digests.other)],
      ...fields.map((field) => {
        const { a, b } = shortened(field, valueWidth);
        return ["", field.path, oneLine(a), oneLine(b)];
      }),
    ]);
    terminal.out(table(["PART", "FIELD", one.name, other.name], rows, { columns: terminal.columnsOut, free: [2, 3] }));
  } else terminal.out(`${one.hash ?? "the same as far as it is known here"}\n`);
  if (unknown !== undefined) terminal.err(`the policy part was not compared: ${unknown}\n`);
  return differing.length === 0 ? cliExitCodes.succeeded : cliExitCodes.failed;
}

function partDifference(part: HashPart, one: HashSubject, other: HashSubject): readonly PartDifference[] {
  const [left, right] = [one.parts[part], other.parts[part]];
  if (left === right || left === undefined || right === undefined) return [];
  const [before, after] = [one.content[part], other.content[part]];
  const fields =
    before === undefined || after === undefined ? [] : differences(byName(before), byName(after), fieldsMax);
  return [{ part, one: left, other: right, fields }];
}

function shortOrUnknown(digest: string | null): string {
  return digest === null ? unknownHere : shortDigest(digest);
}

/** Entries of named lists as members, so that one more at the front is one difference. */
function byName(content: Json): Json {
  if (Array.isArray(content)) return keyed(content as readonly JsonObject[]);
  const members = Object.entries(content as JsonObject).map(([name, value]): [string, Json] => [
    name,
    Array.isArray(value) ? keyed(value as readonly JsonObject[]) : value,
  ]);
  return Object.fromEntries(members);
}

/** Rules of policies have no names: those are told by their index. */
function keyed(list: readonly JsonObject[]): Json {
  const isNamed = list.every(({ name }) => typeof name === "string");
  return isNamed ? Object.fromEntries(list.map((entry) => [entry["name"], entry])) : list;
}
