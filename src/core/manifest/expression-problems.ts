import { type Fields, isFields, objectsOf, type Path } from "../../api/fields.ts";
import type { Json } from "../digest/json.ts";
import { ExpressionError } from "../expressions/errors.ts";
import { evaluateCondition, evaluateItems } from "../expressions/evaluate.ts";
import { conditionReferences, type References, templateReferences } from "../expressions/references.ts";
import { ancestorsOf, type Graph } from "./graph.ts";
import { nearest, suggestion } from "./problem.ts";
import type { Finding } from "./schema-problems.ts";

interface Graphs {
  readonly nodes: Graph;
  readonly finally: Graph;
}

/** What an expression at some place may read. */
interface Scope {
  /** Undefined = no node's output: `why` says so. */
  readonly nodes: ReadonlySet<string> | undefined;
  /** Why a known node is not readable here, and what to do. */
  readonly refuse: (node: string) => { readonly message: string; readonly hint: string };
  readonly item: boolean;
}

/** Everything wrong with the expressions of a spec: syntax, names, and outputs that may not be there yet. */
export function expressionProblems(spec: Fields, graphs: Graphs): Finding[] {
  const known = [...graphs.nodes.indices.keys(), ...graphs.finally.indices.keys()];
  const check = new Checker(known);
  check.template(["spec", "task"], spec.task, {
    nodes: undefined,
    refuse: () => ({
      message: "the task is read before any node has run",
      hint: "use input, or name the output in a prompt",
    }),
    item: false,
  });
  for (const list of ["nodes", "finally"] as const) {
    for (const { index, entry } of objectsOf(spec, list)) {
      nodeExpressions(check, ["spec", list, index], entry, scopeOf(entry, list, graphs), spec);
    }
  }
  // Agents that no node runs are read for themselves: their expressions may name any node.
  const used = new Set(usersOf(spec).map(({ agent }) => agent));
  for (const { index, entry } of objectsOf(spec, "agents")) {
    if (typeof entry.name === "string" && used.has(entry.name)) continue;
    const anywhere = { nodes: new Set(known), refuse: () => ({ message: "", hint: "" }), item: true };
    check.template(["spec", "agents", index, "systemPrompt"], entry.systemPrompt, anywhere);
  }
  return check.found;
}

function nodeExpressions(check: Checker, at: Path, node: Fields, scope: Scope, spec: Fields): void {
  // `when` and `items` are read once per node, before there are items.
  const input = (spec.input ?? {}) as Json;
  check.condition([...at, "when"], node.when, { ...scope, item: false }, (cel) =>
    evaluateCondition(cel, { input, nodes: new Map() }),
  );
  if (isFields(node.forEach))
    check.condition([...at, "forEach", "items"], node.forEach.items, { ...scope, item: false }, (cel) =>
      evaluateItems(cel, { input, nodes: new Map() }),
    );
  if (isFields(node.approval)) check.template([...at, "approval", "message"], node.approval.message, scope);
  if (isFields(node.tool)) check.template([...at, "tool", "arguments"], node.tool.arguments, scope);
  if (!isFields(node.agent)) return;
  check.template([...at, "agent", "prompt"], node.agent.prompt, scope);
  const { ref } = node.agent;
  const agent = objectsOf(spec, "agents").find(({ entry }) => entry.name === ref);
  if (agent !== undefined)
    check.template(["spec", "agents", agent.index, "systemPrompt"], agent.entry.systemPrompt, scope);
}

function usersOf(spec: Fields): { readonly agent: unknown }[] {
  return (["nodes", "finally"] as const).flatMap((list) =>
    objectsOf(spec, list).flatMap(({ entry }) => (isFields(entry.agent) ? [{ agent: entry.agent.ref }] : [])),
  );
}

function scopeOf(node: Fields, list: "nodes" | "finally", graphs: Graphs): Scope {
  const name = typeof node.name === "string" ? node.name : "";
  const ancestors = ancestorsOf(graphs[list], name);
  // All nodes have ended before finally starts, so its nodes may read every output.
  const nodes = list === "nodes" ? ancestors : new Set([...graphs.nodes.indices.keys(), ...ancestors]);
  return {
    nodes,
    item: isFields(node.forEach),
    refuse: (other) => {
      if (other === name) return { message: `node "${name}" reads its own output`, hint: "name another node" };
      if (list === "nodes" && graphs.finally.indices.has(other)) {
        return { message: `"${other}" is a node of finally, which runs after all nodes`, hint: "name another node" };
      }
      return {
        message: `node "${name}" reads the output of "${other}" but does not depend on it, so it may not be there`,
        hint: `add ${other} to dependsOn of ${name}`,
      };
    },
  };
}

class Checker {
  readonly found: Finding[] = [];
  readonly #known: ReadonlySet<string>;
  /** A system prompt is met once per node that runs the agent: what was said once is not said again. */
  readonly #said = new Set<string>();

  constructor(known: readonly string[]) {
    this.#known = new Set(known);
  }

  condition(path: Path, value: unknown, scope: Scope, evaluate: (cel: string) => unknown): void {
    if (typeof value !== "string") return;
    if (value.trimStart().startsWith("$(")) {
      const field = String(path.at(-1));
      this.#add({
        path,
        code: "InvalidExpression",
        message: `${field} is CEL itself`,
        hint: "write the expression without $( and )",
      });
      return;
    }
    const references = conditionReferences(value);
    this.#references(path, references, [value], scope);
    // One that reads no node's output gives now what it will give then; whatever else fails may be its input's doing.
    if (references.problems.length > 0 || references.nodes.size > 0) return;
    try {
      evaluate(value);
    } catch (error) {
      if (!(error instanceof ExpressionError) || !error.message.includes(" must give ")) return;
      this.#add({ path, code: "InvalidExpression", message: error.message });
    }
  }

  template(path: Path, value: unknown, scope: Scope): void {
    if (value === undefined || value === null || !holdsExpression(value)) return;
    this.#references(path, templateReferences(value as Json), textsOf(value), scope);
  }

  #add(finding: Finding): void {
    const key = JSON.stringify([finding.path, finding.message]);
    if (!this.#said.has(key)) this.found.push(finding);
    this.#said.add(key);
  }

  #references(path: Path, references: References, texts: readonly string[], scope: Scope): void {
    const dashed = this.#dashedNames(texts);
    for (const problem of references.problems) {
      const said = dashed.length === 0 || problem.error.message.includes('nodes["');
      const hint = said ? "" : bracketHint(dashed);
      this.#add({ path: [...path, ...problem.path], code: problem.error.code, message: problem.error.message, hint });
    }
    for (const node of references.nodes) {
      if (scope.nodes === undefined) this.#add({ path, code: "OutputNotThere", ...scope.refuse(node) });
      else if (!this.#known.has(node)) {
        const prefix = dashed.some((name) => name.startsWith(`${node}-`));
        const hint = prefix ? bracketHint(dashed) : suggestion(node, [...this.#known]);
        // `nodes.sign-off.output` was read as a subtraction and has been reported as one.
        if (prefix && references.problems.length > 0) continue;
        this.#add({ path, code: "UnknownNode", message: `there is no node "${node}"`, hint });
      } else if (!scope.nodes.has(node)) this.#add({ path, code: "OutputNotThere", ...scope.refuse(node) });
    }
    if (references.usesItem && !scope.item) {
      const hint =
        path.at(-1) === "when" || path.at(-1) === "items"
          ? "it is read once, before there are items"
          : "add forEach to the node";
      this.#add({ path, code: "NoItem", message: "item exists only in the work of a node with forEach", hint });
    }
  }

  /** Names of nodes that CEL reads as subtractions in `nodes.sign-off`. */
  #dashedNames(texts: readonly string[]): string[] {
    return texts.flatMap((text) =>
      [...text.matchAll(/\bnodes\.([a-z0-9]+(?:-[a-z0-9]+)+)/g)].flatMap(([, name = ""]) => {
        const parts = name.split("-");
        for (let length = parts.length; length > 1; length--) {
          const shorter = parts.slice(0, length).join("-");
          if (this.#known.has(shorter)) return [shorter];
        }
        const near = nearest(name, [...this.#known]);
        return near === undefined ? [] : [near];
      }),
    );
  }
}

function bracketHint(names: readonly string[]): string {
  return `write ${[...new Set(names)].map((name) => `nodes["${name}"].output`).join(" and ")}: CEL reads '-' as minus`;
}

function holdsExpression(value: unknown): boolean {
  return textsOf(value).some((text) => text.includes("$("));
}

/** All texts of a JSON value, keys left out. Depth is bounded by the parser. */
function textsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsOf) : [];
}
