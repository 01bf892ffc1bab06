import { isWhole } from "../replay/spec.ts";
import { sizes } from "../../api/defaults.ts";
import { apiVersion, group } from "../../api/common.ts";
import { has, isFields } from "../../api/fields.ts";
import { type Kind, kinds } from "../../api/json-schema.ts";
import { checkRules } from "../../api/rules.ts";
import type { Execution, GovernancePolicy } from "../../api/types.ts";
import type { Json } from "../digest/json.ts";
import { expressionProblems } from "./expression-problems.ts";
import { cycleProblems, graphOf } from "./graph.ts";
import { hashProblems } from "./hash-problems.ts";
import { literalProblems } from "./literals.ts";
import { type ManifestDocument, parseManifests } from "./parse.ts";
import { pathText, type Problem, sortProblems, suggestion } from "./problem.ts";
import { type Finding, schemaProblems, shown, unknownFields } from "./schema-problems.ts";
import { ownershipBytes, storedBytesMax } from "./stored-size.ts";

export interface ManifestObject<T> {
  readonly document: ManifestDocument;
  readonly object: T;
}

export interface LintResult {
  /** Every document of kind Execution, sound or not, for checks that need files. */
  readonly documents: readonly ManifestDocument[];
  /** Objects without errors but for a hash that is another than they expect, in file order. Plain JSON exactly as written: no defaults, nothing dropped. */
  readonly executions: readonly ManifestObject<Execution>[];
  readonly policies: readonly ManifestObject<GovernancePolicy>[];
  /** Everything wrong with the file, by line; empty = nothing. */
  readonly problems: readonly Problem[];
}

/** Client-side apply keeps the whole manifest in an annotation, and annotations hold 256 KiB. */
const clientApplyBytesMax = 262_144;
/** Unknown names are compared with all known ones; beyond this a file is wrong in a way that no hint helps. */
const suggestionsMax = 200;

/**
 * Reads a file and reports every error at once. Pure; never throws for any text.
 * `edit` gives each document's value another content before it is looked at (`oao run --set`); lines stay the file's.
 */
export function lintManifest(text: string, file: string, edit?: (document: ManifestDocument) => Json): LintResult {
  const { documents: parsedDocuments, problems: unreadable } = parseManifests(text, file);
  const problems = [...unreadable];
  const documents: ManifestDocument[] = [];
  const executions: ManifestObject<Execution>[] = [];
  const policies: ManifestObject<GovernancePolicy>[] = [];
  for (const parsed of parsedDocuments) {
    const document = edit === undefined ? parsed : { ...parsed, value: edit(parsed) };
    const { kind, findings } = lintDocument(document);
    problems.push(...findings.map((finding) => toProblem(document, finding)));
    if (kind === "Execution") documents.push(document);
    const sound = findings.every((finding) => finding.severity === "Warning");
    // The schemas accepted the value, and it holds no field that they do not know.
    if (sound && kind === "Execution") {
      const object = document.value as unknown as Execution;
      executions.push({ document, object });
      if (isWhole(object.spec))
        problems.push(...hashProblems(object.spec).map((finding) => toProblem(document, finding)));
    }
    if (sound && kind === "GovernancePolicy") {
      policies.push({ document, object: document.value as unknown as GovernancePolicy });
    }
  }
  return { documents, executions, policies, problems: sortProblems(problems) };
}

/** A finding with the line and column of the field it is about. */
export function toProblem(document: ManifestDocument, finding: Finding): Problem {
  const { path, code, message, hint = "", severity = "Error", atKey } = finding;
  const position = document.position(path, atKey === true ? "Key" : "Value");
  return { file: document.file, ...position, path: pathText(path), message, hint, severity, code };
}

function lintDocument(document: ManifestDocument): { kind: Kind | undefined; findings: Finding[] } {
  const { value } = document;
  const identified = identify(value);
  if (typeof identified !== "string") return { kind: undefined, findings: identified };
  return { kind: identified, findings: [...sizeProblems(document), ...lintObject(identified, value)] };
}

/** What is wrong with an object of the kind, wherever it comes from. */
export function lintObject(kind: Kind, value: Json): Finding[] {
  const findings = [...unknownFields(kind, value), ...schemaProblems(kind, value)];
  if (
    isFields(value) &&
    isFields(value.metadata) &&
    !has(value.metadata, "name") &&
    !has(value.metadata, "generateName")
  ) {
    findings.push({
      path: ["metadata", "name"],
      code: "MissingField",
      message: "name is missing",
      hint: "set name or generateName",
    });
  }
  findings.push(...ruleProblems(kind, value, findings));
  if (kind === "Execution" && isFields(value) && isFields(value.spec)) {
    const graphs = { nodes: graphOf(value.spec, "nodes"), finally: graphOf(value.spec, "finally") };
    findings.push(
      ...cycleProblems(graphs.nodes, "nodes"),
      ...cycleProblems(graphs.finally, "finally"),
      ...expressionProblems(value.spec, graphs),
      ...literalProblems(value),
    );
  }
  return findings;
}

/** The document's kind, or why it is none of ours. Foreign kinds in the same file are passed over with a warning. */
function identify(value: unknown): Kind | Finding[] {
  if (!isFields(value)) return [{ path: [], code: "WrongType", message: `must be an object, but is ${shown(value)}` }];
  const known = kinds.find((kind) => kind === value.kind);
  if (known !== undefined) return known;
  const kindText = typeof value.kind === "string" ? value.kind : "";
  if (typeof value.apiVersion === "string" && kindText !== "" && !value.apiVersion.startsWith(`${group}/`)) {
    const message = `${kindText} is no kind of ${group}: it is not looked at`;
    return [{ path: ["kind"], code: "ForeignKind", message, severity: "Warning" }];
  }
  if (value.kind === undefined) {
    return [
      {
        path: ["kind"],
        code: "MissingField",
        message: "kind is missing",
        hint: `apiVersion: ${apiVersion} with kind: ${kinds.join(" or ")}`,
      },
    ];
  }
  return [
    {
      path: ["kind"],
      code: "UnknownKind",
      message: `there is no kind ${shown(value.kind)} in ${group}`,
      hint: suggestion(kindText, kinds),
    },
  ];
}

function sizeProblems({ bytes, value }: ManifestDocument): Finding[] {
  if (bytes > sizes.manifestBytesMax) {
    const message = `the manifest has ${bytes} bytes as JSON; at most ${sizes.manifestBytesMax} are allowed`;
    return [{ path: [], code: "TooLarge", message, hint: "move large texts into files that tools read" }];
  }
  if (bytes > clientApplyBytesMax) {
    const message = `the manifest has ${bytes} bytes as JSON: kubectl apply takes ${clientApplyBytesMax}`;
    const stored = bytes + ownershipBytes(value);
    if (stored <= storedBytesMax)
      return [{ path: [], code: "TooLarge", message, hint: "use kubectl apply --server-side", severity: "Warning" }];
    const said = `an API server would store ${stored} bytes of this manifest, as it notes for each field who set it; with a status beside it etcd takes ${storedBytesMax}`;
    const hint = "put many small values into fewer texts; oao run on this machine takes it as it is";
    return [{ path: [], code: "TooLarge", message: said, hint, severity: "Warning" }];
  }
  return [];
}

function ruleProblems(kind: Kind, value: unknown, before: readonly Finding[]): Finding[] {
  // A node that only has a kind of a later version is told so; that it has no other kind adds nothing.
  const later = new Set(
    before.filter(({ code }) => code === "NotSupported").map(({ path }) => pathText(path.slice(0, -1))),
  );
  let suggestions = 0;
  return checkRules(kind, value).flatMap(({ path, code, message, hint, unknownName }): Finding[] => {
    if ((code === "NodeKind" || code === "ToolKind") && later.has(pathText(path))) return [];
    const near =
      unknownName !== undefined && suggestions++ < suggestionsMax
        ? suggestion(unknownName.name, unknownName.known)
        : "";
    return [{ path, code, message, hint: hint ?? near }];
  });
}
