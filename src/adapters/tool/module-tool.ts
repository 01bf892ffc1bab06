/** Tools that are a function of the user's own ESM file. They share the worker's process: what they do is their author's word. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { ModuleToolSpec, ToolSpec } from "../../api/tool.ts";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import { CallFailure } from "../../ports/step.ts";
import type { Tool, ToolCallContext } from "../../ports/tool.ts";
import { compileArguments } from "./argument-schema.ts";
import { type LimitedCall, withDeadline } from "./deadline.ts";
import { InvalidTool } from "./invalid-tool.ts";
import { digestModule, locateModule } from "./module-files.ts";
import { plainAnswer } from "./plain-answer.ts";
import type { ToolContext, ToolFunction } from "./tool-context.ts";

const LOAD_TIMEOUT_MS = 30_000;
const MESSAGE_CHARACTERS_MAX = 4_096;

export interface ModuleToolOptions {
  /** Folder that module paths are relative to and must stay in: the manifest's on a laptop, /app in the image. */
  readonly baseDir: string;
  /** Folder with a folder for each ConfigMap that a module may come from; absent on a laptop. */
  readonly configMapsDir?: string | undefined;
  /** Limit of the module's own top-level code; 30 s when absent. */
  readonly loadTimeoutMs?: number;
}

/**
 * Loads the tool of a `spec.tools` entry with `module`: its `export`, else the export named like the tool, else the only function
 * exported. Its digest covers the file and its relative imports (`digestModule`). Runs the module's top-level code.
 * Throws InvalidTool naming the field, the file, the exports found and what to do.
 */
export async function createModuleTool(spec: ToolSpec, options: ModuleToolOptions): Promise<Tool> {
  const { name, module: definition } = spec;
  if (definition === undefined) throw new InvalidTool(name, "module", "is missing");
  const { folder, path } = sourceOf(name, definition, options);
  const file = await locateModule(name, folder, path);
  const digest = await digestModule(file);
  const exported = await load(name, path, file, options.loadTimeoutMs ?? LOAD_TIMEOUT_MS);
  const run = chooseFunction(name, path, exported, definition.export);
  const checkArguments = await compileArguments(name, "module.inputSchema", definition.inputSchema);
  return {
    spec,
    digest,
    invoke: async (args, context) => {
      const checked = checkArguments(args);
      return withDeadline(name, context, (call) => perform(name, run, checked, call, context));
    },
  };
}

function sourceOf(
  tool: string,
  { path, configMapRef }: ModuleToolSpec,
  { baseDir, configMapsDir }: ModuleToolOptions,
): { readonly folder: string; readonly path: string } {
  if (path !== undefined) return { folder: baseDir, path };
  if (configMapRef === undefined) throw new InvalidTool(tool, "module", "has neither path nor configMapRef");
  if (configMapsDir === undefined)
    throw new InvalidTool(tool, "module.configMapRef", "is for a cluster; on a laptop name the file with module.path");
  return { folder: join(configMapsDir, configMapRef.name), path: configMapRef.key };
}

async function load(tool: string, path: string, file: string, timeoutMs: number): Promise<Record<string, unknown>> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`its top-level code did not end within ${timeoutMs} ms`)), timeoutMs);
  try {
    const loaded: unknown = await Promise.race([late, import(pathToFileURL(file).href)]);
    return loaded as Record<string, unknown>;
  } catch (error) {
    throw new InvalidTool(tool, "module.path", `${path} cannot be loaded: ${messageOf(error)}`, error);
  } finally {
    clearTimeout(timer);
  }
}

function chooseFunction(
  tool: string,
  path: string,
  exported: Record<string, unknown>,
  wanted: string | undefined,
): ToolFunction {
  const functions = Object.keys(exported).filter((name) => typeof exported[name] === "function");
  const [only] = functions;
  const chosen = wanted ?? (functions.includes(tool) || functions.length !== 1 ? tool : only) ?? tool;
  const found = Object.hasOwn(exported, chosen) ? exported[chosen] : undefined;
  if (typeof found === "function") return found as ToolFunction;
  const listed = Object.keys(exported)
    .sort()
    .map((name) => `${name} (${typeof exported[name]})`);
  const has = `${path} exports ${listed.length === 0 ? "nothing" : listed.join(", ")}`;
  if (wanted !== undefined)
    throw new InvalidTool(tool, "module.export", `${has}, and no function ${wanted}; name one that it exports`);
  throw new InvalidTool(tool, "module.path", `${has}; export a function ${tool}, or name one with module.export`);
}

async function perform(
  tool: string,
  run: ToolFunction,
  args: JsonObject,
  call: LimitedCall,
  context: ToolCallContext,
): Promise<Json> {
  const recorded = recordedContext(call.signal, context);
  // Set before any foreign code runs: what it did before it failed is unknown.
  call.sent = true;
  let answer: unknown;
  try {
    answer = await run(structuredClone(args), recorded.context);
  } catch (error) {
    recorded.rethrow();
    throw new CallFailure("ToolFailure", `Tool ${tool} failed: ${messageOf(error)}`, { cause: error });
  } finally {
    recorded.close();
  }
  recorded.rethrow();
  return plainAnswer(tool, answer, context.bodyBytesMax);
}

/**
 * The author's view of the call. After `close` or the abort no value is recorded any more: a function that runs on behind its time
 * limit must not write into the journal. `rethrow` brings up a failure of the recording itself (a lost fence, a stopped run), which is
 * the worker's and must not be taken for the tool's, also when the function swallowed it.
 */
function recordedContext(signal: AbortSignal, { values, idempotencyKey }: ToolCallContext) {
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  // Nothing is awaited before `make`: paths are taken at the call's entry (J5).
  const record = async <T>(make: () => Promise<T>): Promise<T> => {
    if (ended || signal.aborted) throw new Error("The call of this tool has ended");
    try {
      return await make();
    } catch (error) {
      failure ??= { error };
      throw error;
    }
  };
  const context: ToolContext = {
    signal,
    idempotencyKey,
    now: () => record(() => values.now()),
    random: () => record(() => values.random()),
    uuid: () => record(() => values.uuid()),
  };
  return {
    context,
    close: () => {
      ended = true;
    },
    rethrow: () => {
      if (failure !== undefined) throw failure.error;
    },
  };
}

/** The message alone: a stack would put paths of this machine into the record. */
function messageOf(thrown: unknown): string {
  let text: string;
  try {
    text = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
  } catch {
    text = "a value that cannot be shown was thrown";
  }
  return text.slice(0, MESSAGE_CHARACTERS_MAX).toWellFormed();
}
