/** What authors of module tools import: the types of the built package, seen by TypeScript as in their own project. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tree } from "../unit/tooling/tree.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));

const TOOL = `import type { ToolContext, ToolFunction } from "openagentorchestrator/tool";

export async function note({ text }: { text: string }, context: ToolContext): Promise<{ text: string; at: string }> {
  context.signal.throwIfAborted();
  return { text, at: new Date(await context.now()).toISOString() };
}

export const key: ToolFunction = (_args, context) => context.idempotencyKey;

export async function wrong(context: ToolContext): Promise<void> {
  // @ts-expect-error the recorded clock is asked with await
  new Date(context.now());
  // @ts-expect-error there is no such value
  await context.today();
}
`;
const CONFIG = { module: "nodenext", strict: true, noEmit: true, lib: ["es2024", "dom"], types: [] };

test("a TypeScript project of its own can write module tools against the package's types", () => {
  const project = tree({
    "package.json": JSON.stringify({ type: "module" }),
    "tsconfig.json": JSON.stringify({ compilerOptions: CONFIG }),
    "tools/note.ts": TOOL,
  });
  mkdirSync(join(project, "node_modules"));
  symlinkSync(repository, join(project, "node_modules/openagentorchestrator"));
  const { stdout, status } = spawnSync(join(repository, "node_modules/.bin/tsc"), ["-p", project], {
    cwd: project,
    encoding: "utf8",
  });
  expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
});

test("every file that the package exports exists after a build and is published", () => {
  const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
    files: string[];
    exports: Record<string, string | Record<string, string>>;
  };
  const targets = Object.values(manifest.exports).flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target),
  );
  const published = targets.filter((path) => path !== "./package.json").map((path) => path.split("/")[1]);
  expect(targets.filter((path) => !existsSync(join(repository, path)))).toEqual([]);
  expect(manifest.files).toEqual(expect.arrayContaining(published));
});
