/**
 * What of a run is hashed, part by part. docs/execution-hash.md says the same byte for byte, and test/unit/hash/execution_hash.py
 * recomputes it: a change here is a change of every hash that people keep.
 *
 * - A null in a field of the schema is as good as absent; inside free-form JSON it is a value like any other.
 * - Lists whose entries have a name are sorted by it; the order of all others counts.
 * - No default is filled in, text is compared as it is, and of secrets only names are known here.
 */
import type { ExecutionSpec, PolicySpec } from "../../api/types.ts";
import { type Digest, digestJson } from "../digest/digest.ts";
import { type Json, type JsonObject, setOwn, toPlainJson } from "../digest/json.ts";

export const hashParts = ["task", "policy", "agents", "tools", "runtime"] as const;
export type HashPart = (typeof hashParts)[number];
export type HashedContent = Readonly<Record<HashPart, Json>>;

/** Of the entries that a node's worker writes; another one would mean another program. */
const journalFormat = 1;

/** Fields whose value is free-form JSON. */
export const freeForm: ReadonlySet<string> = new Set([
  "input",
  "parameters",
  "inputSchema",
  "outputSchema",
  "arguments",
]);
/** How long, how often, where and at what cost a node runs is not what it does. */
const notOfNodes = new Set(["retry", "timeoutSeconds", "budget", "image", "resources", "nodeSelector", "tolerations"]);

/**
 * `spec` with everything resolved that a replay inherits; `rules` of every policy that governs, in any order, repeats allowed.
 * Throws NotJsonError as canonicalJson does.
 */
export function hashedContent(spec: ExecutionSpec, rules: readonly PolicySpec[]): HashedContent {
  const { task = "", input, ...lists } = normal(spec) as JsonObject;
  const nodes = objects(lists["nodes"]);
  const last = objects(lists["finally"]);
  return {
    task: {
      task,
      ...(input === undefined ? {} : { input }),
      nodes: nodes.map(nodeContent),
      finally: last.map(nodeContent),
    },
    policy: hashedRules(rules) as readonly Json[],
    agents: { agents: objects(lists["agents"]), models: objects(lists["models"]) },
    tools: objects(lists["tools"]).map((tool) => without(tool, new Set(["timeoutSeconds"]))),
    runtime: { images: imagesOf([...nodes, ...last]), journalFormat },
  };
}

/** Each rule once, in the order of their digests: which policy says it, and how often, is not part of what holds. */
export function hashedRules(rules: readonly PolicySpec[]): readonly PolicySpec[] {
  const byDigest = new Map(rules.map((each) => [ruleDigest(each), normal(each)]));
  return [...byDigest].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each as PolicySpec);
}

/** Of one policy's rules. */
export function ruleDigest(rules: PolicySpec): Digest {
  return digestJson(normal(rules));
}

function nodeContent(node: JsonObject): JsonObject {
  const { forEach, approval, ...rest } = without(node, notOfNodes);
  return {
    ...rest,
    ...(forEach === undefined ? {} : { forEach: without(forEach as JsonObject, new Set(["maxParallel"])) }),
    ...(approval === undefined ? {} : { approval: without(approval as JsonObject, new Set(["timeoutSeconds"])) }),
  };
}

function imagesOf(nodes: readonly JsonObject[]): JsonObject {
  return Object.fromEntries(nodes.flatMap(({ name, image }) => (image === undefined ? [] : [[name, image]])));
}

function objects(list: Json | undefined): readonly JsonObject[] {
  return (list ?? []) as readonly JsonObject[];
}

function without(object: JsonObject, fields: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([field]) => !fields.has(field)));
}

function normal(value: object): Json {
  return normalJson(toPlainJson(value));
}

function normalJson(value: Json): Json {
  if (isList(value)) return sortedByName(value.map(normalJson));
  if (value === null || typeof value !== "object") return value;
  const kept: Record<string, Json> = {};
  for (const [field, member] of Object.entries(value)) {
    if (member !== null) setOwn(kept, field, freeForm.has(field) ? member : normalJson(member));
  }
  return kept;
}

function sortedByName(list: readonly Json[]): readonly Json[] {
  const named = list.flatMap((entry) => {
    const name = entry !== null && typeof entry === "object" && !isList(entry) ? entry["name"] : undefined;
    return typeof name === "string" ? [{ name, entry }] : [];
  });
  if (named.length < list.length) return list;
  return named.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).map(({ entry }) => entry);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
