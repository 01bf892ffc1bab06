/** Which rule answers a request. Rules are tried in order; the first that matches wins. */
import type { RequestView } from "./request.ts";
import type { MockRule, MockScript } from "./script.ts";

/** `*` stands for any text; everything else is literal. Linear: each part is searched once, from left to right. */
export function globMatches(glob: string, text: string): boolean {
  const parts = glob.split("*");
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (parts.length === 1) return glob === text;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}

/** Whether `rule` fits, `times` left aside. */
export function ruleMatches(rule: MockRule, request: RequestView): boolean {
  const { model, system, prompt, lastUser, lastTool, turn, tools } = rule.match;
  return (
    (model === undefined || globMatches(model, request.model)) &&
    (system === undefined || request.system.includes(system)) &&
    (prompt === undefined || request.prompt.includes(prompt)) &&
    (lastUser === undefined || request.lastUser.includes(lastUser)) &&
    (lastTool === undefined || request.lastTools.some((result) => result.name === lastTool)) &&
    (turn === undefined || request.turn === turn) &&
    (tools === undefined || tools.every((name) => request.tools.includes(name)))
  );
}

/** The rules of one script with the count of how often each was used. */
export class RuleBook {
  readonly script: MockScript;
  readonly fileName: string;
  #used: number[] = [];

  constructor(script: MockScript, fileName: string) {
    this.script = script;
    this.fileName = fileName;
  }

  /** The rule for `request` and its number in the script, from 1; counts the use. */
  take(request: RequestView): { rule: MockRule; number: number } | undefined {
    for (const [index, rule] of this.script.rules.entries()) {
      const used = this.#used[index] ?? 0;
      if (used >= (rule.match.times ?? Number.POSITIVE_INFINITY) || !ruleMatches(rule, request)) continue;
      this.#used[index] = used + 1;
      return { rule, number: index + 1 };
    }
    return undefined;
  }

  /** Forget the uses. */
  reset(): void {
    this.#used = [];
  }

  /** What to tell a client whose request no rule answers. */
  explainNoMatch(request: RequestView): string {
    const text = request.lastMessage.text;
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    const spent = this.script.rules.filter((rule, index) => {
      return ruleMatches(rule, request) && (this.#used[index] ?? 0) > 0;
    }).length;
    return (
      `No rule of ${this.fileName} (${this.script.rules.length} rules) matches this request: ` +
      `model ${request.model}, turn ${request.turn}, tools [${request.tools.join(", ")}], ` +
      `last message from ${request.lastMessage.role}: ${JSON.stringify(shown)}. ` +
      (spent > 0 ? `${spent} would match but reached their \`times\`. ` : "") +
      "Add a rule for it, or a last rule without `match`."
    );
  }
}
