/** The execution hash: one digest for what a run is, over five for its parts, and the check of what a manifest expects of it. */
import type { ExecutionSpec, PolicySpec } from "../../api/types.ts";
import { type Digest, digestJson } from "../digest/digest.ts";
import { type HashedContent, hashedContent, type HashPart, hashParts } from "./content.ts";

export type PartHashes = Readonly<Record<HashPart, Digest>>;

export interface ExecutionHash {
  /** sha256 of JCS({ agents, policy, runtime, task, tools }), of the parts as they are written here. */
  readonly executionHash: Digest;
  readonly hashParts: PartHashes;
}

export function executionHash(spec: ExecutionSpec, rules: readonly PolicySpec[]): ExecutionHash {
  return hashOf(hashedContent(spec, rules));
}

export function hashOf(content: HashedContent): ExecutionHash {
  const parts = Object.fromEntries(hashParts.map((part) => [part, digestJson(content[part])])) as PartHashes;
  return { executionHash: digestJson(parts), hashParts: parts };
}

export type ExpectedHash = NonNullable<ExecutionSpec["expectedHash"]>;

/** One digest that is not what spec.expectedHash says. */
export interface HashDrift {
  readonly part: "hash" | HashPart;
  readonly expected: string;
  readonly actual: string;
}

/** Where a run is not what its manifest expects. A part that is not known here (undefined) is not compared, nor is the whole then. */
export function driftOf(
  expected: ExpectedHash | undefined,
  actual: Readonly<Partial<PartHashes>> & { readonly hash?: string | undefined },
): readonly HashDrift[] {
  return ([...hashParts, "hash"] as const).flatMap((part) => {
    const wanted = expected?.[part];
    const found = actual[part];
    if (wanted === undefined || wanted === null || found === undefined || wanted === found) return [];
    return [{ part, expected: wanted, actual: found }];
  });
}

/** `task is sha256:…, expected sha256:…; …`: of the whole only where no part says more. */
export function driftText(drift: readonly HashDrift[]): string {
  const parts = drift.filter(({ part }) => part !== "hash");
  return (parts.length > 0 ? parts : drift)
    .map(({ part, expected, actual }) => {
      const what = part === "hash" ? "the execution hash" : part;
      return `${what} is ${shortDigest(actual)}, expected ${shortDigest(expected)}`;
    })
    .join("; ");
}

/** Of a condition: what differs, and the command that helps next. */
export function mismatchMessage(
  drift: readonly HashDrift[],
  key: { readonly namespace: string; readonly name: string },
): string {
  const help = `see what was hashed: oao hash -n ${key.namespace} ${key.name} --explain; if the change is meant, put the new digests into spec.expectedHash of a new Execution`;
  return `${driftText(drift)}; ${help}`;
}

/** Long enough to tell two apart by eye. */
export function shortDigest(digest: string): string {
  return /^sha256:[0-9a-f]{64}$/.test(digest) ? `${digest.slice(0, "sha256:".length + 12)}…` : digest;
}
