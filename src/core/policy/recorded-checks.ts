/** Loops, allow and deny lists, put to recorded calls as the gate puts them to live ones. */
import type { ExecutionSpec } from "../../api/types.ts";
import type { StepIdentity } from "../steps/format.ts";
import type { ItemJournal } from "../trace/journal.ts";
import { checkLoop, checkModel, checkTool, modelCheckOf, toolCheckOf } from "./checks.ts";
import { violationsText } from "./messages.ts";
import { type Called, callKey, itemPrefix } from "./recorded-calls.ts";
import type { EffectivePolicy, Violation } from "./types.ts";

export type Finding = Pick<Violation, "enforcement" | "message" | "path">;

export class RecordedChecks {
  readonly #spec: ExecutionSpec;
  readonly #policy: EffectivePolicy;
  readonly #checked = new Set<string>();
  readonly #made = new Map<string, number>();

  constructor(spec: ExecutionSpec, policy: EffectivePolicy) {
    this.#spec = spec;
    this.#policy = policy;
  }

  /** Once per call, however often it is made. What refuses it is one finding: a loop, or else all that lists say. */
  of({ journal, item, entry }: Called): readonly Finding[] {
    const key = callKey(journal, entry);
    if ((entry.kind !== "model" && entry.kind !== "tool") || this.#checked.has(key)) return [];
    this.#checked.add(key);
    const loops = checkLoop(this.#policy, item, entry, this.count(journal, entry));
    const isLoop = loops.some(({ enforcement }) => enforcement === "Enforce");
    const found = isLoop ? loops : [...loops, ...this.#lists(entry)];
    const enforced = found.filter(({ enforcement }) => enforcement === "Enforce");
    const [first] = enforced;
    return [
      ...found.filter(({ enforcement }) => enforcement === "Audit"),
      ...(first === undefined ? [] : [{ ...first, message: violationsText(enforced) }]),
    ];
  }

  /** How often its node asked for the same in this try, this time included. */
  count(journal: ItemJournal, { requestDigest, try: tryNumber }: Called["entry"]): number {
    const key = `${itemPrefix(journal)}${tryNumber}/${requestDigest}`;
    const made = (this.#made.get(key) ?? 0) + 1;
    this.#made.set(key, made);
    return made;
  }

  #lists({ kind, name }: Pick<StepIdentity, "kind" | "name">): Violation[] {
    if (kind === "model") {
      const model = this.#spec.models?.find((each) => each.name === name);
      return model === undefined ? [] : checkModel(this.#policy, modelCheckOf(model));
    }
    const tool = this.#spec.tools?.find((each) => each.name === name);
    return checkTool(this.#policy, tool === undefined ? { tool: name } : toolCheckOf(tool));
  }
}
