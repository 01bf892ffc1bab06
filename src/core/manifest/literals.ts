import { isFields, type Path } from "../../api/fields.ts";
import { isFreeForm, type JsonSchema, jsonSchemaOf } from "../../api/json-schema.ts";
import { type Finding, patternOf } from "./schema-problems.ts";

/** Fields whose text is evaluated, or is CEL itself. */
const evaluated = new Set([
  "spec.task",
  "spec.agents.*.systemPrompt",
  ...["nodes", "finally"].flatMap((list) =>
    ["when", "forEach.items", "agent.prompt", "tool.arguments", "approval.message"].map(
      (field) => `spec.${list}.*.${field}`,
    ),
  ),
]);

/** Text for people or for models: `$(` there may well be meant. */
const prose = new Set(["spec.tools.*.description"]);

/**
 * `$( … )` where it is never evaluated. An address, a module or a secret that an expression could
 * choose would let a model's answer choose it; so it is an error there, and a warning in free text.
 */
export function literalProblems(value: unknown): Finding[] {
  const found: Finding[] = [];
  const spec = jsonSchemaOf("Execution").properties?.spec;
  if (isFields(value) && spec !== undefined) visit(spec, value.spec, ["spec"], false, found);
  return found;
}

function visit(schema: JsonSchema | undefined, value: unknown, path: Path, free: boolean, found: Finding[]): void {
  const pattern = patternOf(path);
  if (evaluated.has(pattern)) return;
  if (typeof value === "string") {
    if (!value.includes("$(")) return;
    const lenient = free || prose.has(pattern);
    found.push({
      path,
      code: "NotEvaluated",
      message: `$( … ) is not evaluated in ${String(path.at(-1))}: it stays as it is`,
      hint: "expressions are evaluated in task, systemPrompt, prompt, a tool node's arguments and an approval's message",
      ...(lenient ? { severity: "Warning" as const } : {}),
    });
    return;
  }
  if (Array.isArray(value)) {
    value.forEach((entry: unknown, index) => visit(schema?.items, entry, [...path, index], free, found));
  } else if (isFields(value)) {
    const inside = free || (schema !== undefined && isFreeForm(schema));
    for (const [name, member] of Object.entries(value)) {
      const known = schema?.properties !== undefined && Object.hasOwn(schema.properties, name);
      // Unknown fields have their own problem.
      if (inside || known)
        visit(known ? schema?.properties?.[name] : undefined, member, [...path, name], inside, found);
    }
  }
}
