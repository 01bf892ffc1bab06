/** From a parent and flags to the Execution that replays it: the whole spec is written down, so that it can be read by itself. */
import type { ManifestSpec } from "../api/execution.ts";
import type { ReplaySpec } from "../api/replay.ts";
import type { Execution, ExecutionSpec } from "../api/types.ts";
import { apiVersion } from "../api/common.ts";
import type { Json } from "../core/digest/json.ts";
import { lintManifest } from "../core/manifest/lint.ts";
import { misfits } from "../core/replay/misfits.ts";
import { inherit, isWhole } from "../core/replay/spec.ts";
import { CliError } from "./errors.ts";
import { applyOverrides, inputOverride, setOverride } from "./overrides.ts";
import { readText, report } from "./run-manifest.ts";
import type { Terminal } from "./terminal.ts";

export interface ReplayFlags {
  readonly fromStep?: number | undefined;
  readonly from?: string | undefined;
  readonly strict?: boolean | undefined;
  readonly times?: number | undefined;
  readonly toolOutputs?: ReplaySpec["toolOutputs"] | undefined;
  readonly input?: readonly string[] | undefined;
  readonly set?: readonly string[] | undefined;
  readonly file?: string | undefined;
}

/** How a run is run and what becomes of it, not what it is: a replay starts with none of these. */
const notCopied = ["replay", "desiredState", "expectedHash"] as const;

/** Throws CliError for flags that do not go together, a file with errors and an override that leads nowhere. */
export function replayOf(
  parent: { readonly name: string; readonly uid: string; readonly spec: ExecutionSpec },
  flags: ReplayFlags,
  name: string,
  terminal: Terminal,
): Execution {
  const changed = flags.file === undefined ? parent.spec : fileSpec(parent.spec, flags.file, terminal);
  const overrides = [...(flags.input ?? []).map(inputOverride), ...(flags.set ?? []).map(setOverride)];
  const edited = applyOverrides({ spec: changed } as unknown as Json, overrides) as unknown as { spec: ExecutionSpec };
  const spec: Record<string, unknown> = { ...edited.spec };
  for (const field of notCopied) delete spec[field];
  const replay = replaySpec(parent, flags);
  const problems = misfits(parent.spec, spec as unknown as ExecutionSpec);
  if (problems.length > 0)
    throw new CliError("what is changed does not fit together; nothing was started", [
      ...problems,
      "what a field means: oao explain FIELD",
    ]);
  return {
    apiVersion,
    kind: "Execution",
    metadata: { name },
    spec: { ...(spec as unknown as ExecutionSpec), replay },
  };
}

/** Of a parent whose spec is not read from here: everything is inherited. Throws CliError for flags that need that spec. */
export function inheritingReplay(
  parent: { readonly name: string; readonly uid: string },
  flags: ReplayFlags,
  name: string,
): Execution {
  const changes = (["set", "input", "file"] as const).filter((flag) => flags[flag] !== undefined);
  if (changes.length > 0)
    throw new CliError(
      `${parent.name} inherits its spec from another run, so what --${changes[0]} changes is written as a manifest`,
      ["an Execution with spec.replay and the changed fields: kubectl apply -f FILE"],
    );
  return { apiVersion, kind: "Execution", metadata: { name }, spec: { replay: replaySpec(parent, flags) } };
}

function replaySpec({ name, uid }: { name: string; uid: string }, flags: ReplayFlags): ReplaySpec {
  const { fromStep, from, strict, times, toolOutputs } = flags;
  if (fromStep !== undefined && from !== undefined)
    throw new CliError("--from-step and --from both say where calls begin; give one of them");
  const cursor = fromStep !== undefined ? { fromStep } : from !== undefined ? { from: placeOf(from) } : undefined;
  if (strict === true && cursor !== undefined)
    throw new CliError("--strict makes no calls, so it has no step from which they begin", [
      "try a change from a step on: leave out --strict",
    ]);
  if (times !== undefined && cursor !== undefined)
    throw new CliError("--times is for a strict replay: one from a step on makes calls, once", [
      "leave one of them out",
    ]);
  if (toolOutputs !== undefined && cursor === undefined)
    throw new CliError("--tool-outputs says what becomes of tool calls from a step on", ["add --from-step N"]);
  return {
    executionRef: { name, uid },
    mode: cursor === undefined ? "Strict" : "Fork",
    ...cursor,
    ...(times === undefined ? {} : { times }),
    ...(toolOutputs === undefined ? {} : { toolOutputs }),
  };
}

/** `write/2`, or `rate[3]/1` for an item of a forEach node. */
function placeOf(text: string): NonNullable<ReplaySpec["from"]> {
  const found = /^([a-z0-9-]+)(?:\[(\d+)\])?\/(\d+)$/.exec(text);
  if (found === null)
    throw new CliError(`--from ${text}: expected NODE/STEP`, ["as in --from write/2, or --from rate[3]/1 for an item"]);
  const [, node = "", item, step] = found;
  return { node, ...(item === undefined ? {} : { item: Number(item) }), step: Number(step) };
}

/** A file that holds the changed fields, or the whole manifest with some changed. */
function fileSpec(parent: ExecutionSpec, file: string, terminal: Terminal): ExecutionSpec {
  const { replay: _, ...own } = oneSpec(file, terminal, ({ value }) => asReplay(value));
  const names = new Set((own.nodes ?? []).map(({ name }) => name));
  const missing = parent.nodes.filter(({ name }) => own.nodes !== undefined && !names.has(name));
  if (own.task !== undefined && missing.length > 0)
    throw new CliError(
      `${file} has no node ${missing.map(({ name }) => name).join(", ")}: a replay changes nodes and adds some, and its record is of all of them`,
      [`run it as a new one: oao run ${file}`],
    );
  return inherit(parent, own);
}

/** The whole spec of another manifest for the recorded input: what `oao verify --file` compares a record with. */
export function changedSpec(recorded: ExecutionSpec, file: string, terminal: Terminal): ExecutionSpec {
  const spec = oneSpec(file, terminal);
  if (!isWhole(spec)) throw new CliError(`--file ${file} is a replay itself; give the manifest that is to be compared`);
  return { ...spec, ...(recorded.input === undefined ? {} : { input: recorded.input }) };
}

/** Of the one Execution in a file; what else is said of the file is told. Throws CliError. */
function oneSpec(file: string, terminal: Terminal, edit?: Parameters<typeof lintManifest>[2]): ManifestSpec {
  const { problems, executions } = lintManifest(readText(file, terminal), file, edit);
  report(problems, terminal);
  const [found, ...more] = executions;
  if (found === undefined || more.length > 0)
    throw new CliError(`--file ${file} must hold one Execution, and holds ${executions.length}`);
  return found.object.spec;
}

/** What a replay may leave out, its file may too. Policies in the same file stay as they are. */
function asReplay(value: Json): Json {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const object = value as { readonly kind?: Json; readonly spec?: Json; readonly metadata?: Json };
  const spec = object.spec;
  if (object.kind !== "Execution" || spec === null || typeof spec !== "object" || Array.isArray(spec)) return value;
  return {
    ...object,
    metadata: { name: "changed", ...(object.metadata as Record<string, Json> | undefined) },
    spec: { replay: { executionRef: { name: "parent" } }, ...(spec as Record<string, Json>) },
  };
}
