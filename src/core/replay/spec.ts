/** What a replay runs: its own fields over those of the run whose record it replays. */
import type { ExecutionSpec, ManifestSpec } from "../../api/execution.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { Json, JsonObject } from "../digest/json.ts";
import { freeForm, type HashPart } from "../hash/content.ts";
import { executionHash } from "../hash/execution-hash.ts";

/** Nothing is inherited. */
export function isWhole(spec: ManifestSpec): spec is ExecutionSpec {
  return spec.task !== undefined && spec.nodes !== undefined;
}

/** For whoever shows a run and has only its object: of a replay whose nodes are inherited, their names. */
export function shownSpec(object: { readonly spec: ManifestSpec }, status: ExecutionStatus | undefined): ExecutionSpec {
  const { spec } = object;
  if (isWhole(spec)) return spec;
  return { ...spec, task: spec.task ?? "", nodes: spec.nodes ?? (status?.nodes ?? []).map(({ name }) => ({ name })) };
}

/** Of the replay alone, whatever its parent had: they say how this run is run, not what. */
const ownFields = new Set([
  "policyRef",
  "replay",
  "expectedHash",
  "desiredState",
  "journalRetentionSeconds",
  "ttlSecondsAfterFinished",
]);

/**
 * Fields that the replay does not have are its parent's; objects merge field by field, lists of named things by name, anything else
 * is replaced. `policyRef` is inherited too where it is absent; the policies that govern are those of now.
 */
export function inherit(parent: ExecutionSpec, own: ManifestSpec): ExecutionSpec {
  const given = Object.entries(own).filter(([, value]) => value !== undefined && value !== null);
  const base: Record<string, unknown> = Object.fromEntries(
    Object.entries(parent).filter(([field]) => !ownFields.has(field)),
  );
  if (parent.policyRef !== undefined) base["policyRef"] = parent.policyRef;
  for (const [field, value] of given)
    base[field] = ownFields.has(field) ? value : mergedField(field, base[field] as Json | undefined, value as Json);
  return base as ExecutionSpec;
}

function merged(base: Json | undefined, own: Json): Json {
  if (isNamedList(base) && isNamedList(own)) return mergedLists(base, own);
  if (!isObject(base) || !isObject(own)) return own;
  const result: Record<string, Json> = { ...base };
  for (const [field, value] of Object.entries(own)) result[field] = mergedField(field, result[field], value);
  return result;
}

/** What is free-form is one value: a merged input, JSON Schema or argument would be neither run's. */
function mergedField(field: string, base: Json | undefined, own: Json): Json {
  return freeForm.has(field) ? own : merged(base, own);
}

/** In the parent's order, new names after. */
function mergedLists(base: readonly JsonObject[], own: readonly JsonObject[]): Json {
  const changes = new Map(own.map((entry) => [entry["name"], entry]));
  const kept = base.map((entry) => {
    const change = changes.get(entry["name"]);
    changes.delete(entry["name"]);
    return change === undefined ? entry : withKind(entry, change);
  });
  return [...kept, ...changes.values()];
}

/** A node that becomes another kind of node, or a tool another kind of tool, does not stay the old one too. */
const kinds = ["agent", "tool", "approval", "http", "module"];

function withKind(base: JsonObject, own: JsonObject): Json {
  const isOther = kinds.some((kind) => own[kind] !== undefined && base[kind] === undefined);
  const left = isOther ? Object.fromEntries(Object.entries(base).filter(([key]) => !kinds.includes(key))) : base;
  return merged(left, own);
}

function isNamedList(value: Json | undefined): value is readonly JsonObject[] {
  return Array.isArray(value) && value.every((entry: Json) => isObject(entry) && typeof entry["name"] === "string");
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parts of the execution hash in which two specs differ, but for policy and runtime: those are of now. */
export function changedParts(parent: ExecutionSpec, own: ExecutionSpec): readonly HashPart[] {
  const [before, now] = [executionHash(parent, []).hashParts, executionHash(own, []).hashParts];
  return (["task", "agents", "tools"] as const).filter((part) => before[part] !== now[part]);
}
