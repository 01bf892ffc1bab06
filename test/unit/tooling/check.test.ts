import { spawnSync } from "node:child_process";
import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { tree } from "./tree.ts";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
const CONFIG = ["hack", "package.json", "tsconfig.json", ".biome.json", ".oxlintrc.json", ".knip.jsonc", ".gitignore"];

/** Runs one part of the check on a small repository with the real configuration and these files. */
function check(part: string, files: Readonly<Record<string, string>>): { code: number | null; output: string } {
  const root = tree(files);
  for (const path of CONFIG) cpSync(join(repository, path), join(root, path), { recursive: true });
  symlinkSync(join(repository, "node_modules"), join(root, "node_modules"));
  const result = spawnSync(process.execPath, ["hack/check.ts", part], { cwd: root, encoding: "utf8" });
  return { code: result.status, output: result.stdout + result.stderr };
}

const CRDS = 'export const renderCrds = (): Record<string, string> => ({ "a.yaml": "kind: A\\n" });\n';
const MAIN = {
  "src/api/crds.ts": CRDS,
  "src/cli/main.ts": "console.log(1);\n",
  "src/worker/main.ts": "console.log(2);\n",
  "config/admission/approvals.yaml": "kind: P\n",
  "config/admission/requested-by.yaml": "kind: Q\n",
  "config/rbac/users.yaml": "kind: R\n",
};

describe("npm run check", () => {
  it.each([
    ["format", "src/cli/a.ts", "export const a  = 1\n", "src/cli/a.ts format"],
    ["types", "src/cli/a.ts", 'export const a: number = "1";\n', "src/cli/a.ts(1,14): error TS2322"],
    ["layering", "src/core/a.ts", "export const a = Date.now();\n", "src/core/a.ts:1 core is pure: no Date"],
    ["dead code", "src/cli/a.ts", "export const a = 1;\n", "src/cli/a.ts"],
    ["crds", "crds/a.yaml", "kind: B\n", "crds/a.yaml is not what its source says"],
    ["crds", "crds/b.yaml", "kind: B\n", "crds/b.yaml comes from no source"],
  ])("is red for a %s violation in %s", (part, path, text, finding) => {
    const { code, output } = check(part, { ...MAIN, [path]: text });
    expect(output).toContain(finding);
    expect(output).toContain(`check: failed: ${part}`);
    expect(code).toBe(1);
  });

  it("is red for each of the lint rules that matter most", () => {
    const rules = {
      "no-floating-promises":
        "const go = async (): Promise<void> => {};\nexport const run = (): void => {\n  go();\n};\n",
      "no-misused-promises": "export const bad = (p: Promise<boolean>): number => (p ? 1 : 2);\n",
      "await-thenable": "export const bad = async (): Promise<number> => await 1;\n",
      "switch-exhaustiveness-check":
        'export function bad(x: "a" | "b"): number {\n  switch (x) {\n    case "a":\n      return 1;\n  }\n  return 2;\n}\n',
      "no-explicit-any": "export const bad = (x: any): unknown => x;\n",
      "no-default-export": "export default 1;\n",
      "no-non-null-assertion": "export const bad = (x?: number): number => x!;\n",
      "prefer-node-protocol": 'import { rmSync } from "fs";\nrmSync("x");\n',
    };
    const files = Object.fromEntries(Object.entries(rules).map(([rule, text]) => [`src/cli/${rule}.ts`, text]));
    const { code, output } = check("lint", files);
    for (const rule of Object.keys(rules)) {
      expect.soft(output, rule).toMatch(new RegExp(`\\(${rule}\\)[^]*?src/cli/${rule}\\.ts`));
    }
    expect(code).toBe(1);
  });

  it("is green where there is nothing to say, and says how long each part took", () => {
    const { code, output } = check("layering", MAIN);
    expect(output).toMatch(/^ok {5}layering +\d+\.\d s\n\ncheck: all green \(1 parts, \d+\.\d s\)\n$/);
    expect(code).toBe(0);
  });

  it("names the parts there are when asked for another one", () => {
    const { code, output } = check("taste", {});
    expect(output).toContain("no such part: taste. There are: format, types, lint");
    expect(code).toBe(2);
  });
});
