/** Mistakes in tool definitions that a worker finds when it makes the tool: found here before anything is spent. */
import { readFile } from "node:fs/promises";
import { compileArguments } from "../adapters/tool/argument-schema.ts";
import { httpToolProblems } from "../adapters/tool/http-request.ts";
import { InvalidTool } from "../adapters/tool/invalid-tool.ts";
import { checkModuleExports } from "../adapters/tool/module-exports.ts";
import { checkModulePath, locateModule } from "../adapters/tool/module-files.ts";
import { httpTool, type ModuleToolSpec, type ToolSpec, toolSpec } from "../api/tool.ts";
import { type Fields, isFields, objectsOf, type Path } from "../api/fields.ts";
import type { Finding } from "../core/manifest/schema-problems.ts";

export interface ToolCheckOptions {
  /** Folder that module paths are relative to. */
  readonly baseDir: string;
  /** Of a module that is not there, or lacks the function: a manifest may well be linted where its modules are not. */
  readonly missing: "Error" | "Warning";
}

/** Of one Execution as it was read. Entries that the schema refuses are left to the schema. */
export async function toolProblems(value: unknown, options: ToolCheckOptions): Promise<Finding[]> {
  const found: Finding[] = [];
  const spec = isFields(value) && isFields(value.spec) ? value.spec : {};
  for (const { index, entry } of objectsOf(spec, "tools")) {
    const tool = toolSpec.safeParse(entry).data ?? readable(entry);
    if (tool === undefined) continue;
    const at: Path = ["spec", "tools", index];
    const problems = await problemsOf(tool, options);
    // An expression in a URL or a path is a problem of its own, and says more.
    found.push(...problems.filter(({ field }) => !isExpression(tool, field)).map((each) => toFinding(at, each)));
  }
  return found;
}

/** Of an http tool that the schema refuses, what it has right: one mistake must not hide the others. */
function readable({ name, http }: Fields): ToolSpec | undefined {
  if (!isFields(http)) return undefined;
  const { url, query, headers, inputSchema } = httpTool.shape;
  const part = <T>(schema: { safeParse(value: unknown): { data?: T | undefined } }, value: unknown) =>
    schema.safeParse(value).data;
  const address = part(url, http.url);
  if (address === undefined) return undefined;
  const schema = part(inputSchema, http.inputSchema);
  return {
    name: typeof name === "string" ? name : "",
    http: {
      method: "POST",
      url: address,
      query: part(query, http.query) ?? [],
      headers: part(headers, http.headers) ?? [],
      ...(schema === undefined ? {} : { inputSchema: schema }),
    },
  };
}

interface Located {
  readonly field: string;
  readonly problem: string;
  readonly warning?: boolean;
}

async function problemsOf(tool: ToolSpec, options: ToolCheckOptions): Promise<Located[]> {
  const { name, http, module } = tool;
  return [
    ...(http === undefined ? [] : httpToolProblems(name, http)),
    ...(await refusals(() => compileArguments(name, "http.inputSchema", http?.inputSchema))),
    ...(module === undefined ? [] : await moduleProblems(name, module, options)),
    ...(await refusals(() => compileArguments(name, "module.inputSchema", module?.inputSchema))),
  ];
}

async function moduleProblems(
  tool: string,
  definition: ModuleToolSpec,
  { baseDir, missing }: ToolCheckOptions,
): Promise<Located[]> {
  const { path } = definition;
  if (path === undefined) {
    const problem = "is for a cluster; on a laptop name the file with module.path";
    return definition.configMapRef === undefined || missing === "Warning"
      ? []
      : [{ field: "module.configMapRef", problem }];
  }
  const refused = await refusals(() => checkModulePath(tool, baseDir, path));
  if (refused.length > 0) return refused;
  const absent = await refusals(async () => {
    const file = await locateModule(tool, baseDir, path);
    checkModuleExports(tool, definition, await readFile(file, "utf8"));
  });
  return absent.map(({ field, problem }) => ({ field, problem, warning: missing === "Warning" }));
}

async function refusals(attempt: () => unknown): Promise<InvalidTool[]> {
  try {
    await attempt();
    return [];
  } catch (error) {
    if (error instanceof InvalidTool) return [error];
    throw error;
  }
}

function isExpression({ http, module }: ToolSpec, field: string): boolean {
  const text = field === "http.url" ? http?.url : field === "module.path" ? module?.path : undefined;
  return text?.includes("$(") === true;
}

function toFinding(at: Path, { field, problem, warning }: Located): Finding {
  const steps = [...field.matchAll(/[^.[\]]+/g)].map(([step]) => (/^\d+$/.test(step) ? Number(step) : step));
  return {
    path: [...at, ...steps],
    code: "InvalidTool",
    message: problem,
    ...(warning === true ? { severity: "Warning" as const } : {}),
  };
}
