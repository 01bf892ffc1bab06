/**
 * What other policies would have stopped of a run that is recorded. Pure: no run, no call.
 *
 * The record is read in the order in which it happened, and each call is put to the checks and the admission that govern live calls,
 * in the order of the worker: loop, lists, budgets. The first call that an Enforce policy stops ends the run, so calls that began after
 * it would not have been made; of those only what lists say is told. Tokens count as saved only where that is certain; `unknown`
 * says what is not.
 */
import type { ExecutionSpec } from "../../api/types.ts";
import { zeroAmounts } from "../protocol/amounts.ts";
import type { IntentEntry, RepeatEntry, StepEntry, StepIdentity } from "../steps/format.ts";
import { type Stop, unitsOver } from "../steps/purchase.ts";
import { canonicalSteps, type ItemJournal, reusedSteps } from "../trace/journal.ts";
import { checkImages } from "./checks.ts";
import { nodeLimits, type OpenLimits } from "./limits.ts";
import { auditLimitMessage, stopText } from "./messages.ts";
import {
  type Called,
  callKey,
  endsOf,
  inRecordedOrder,
  itemPrefix,
  placeKey,
  type RecordedEvent,
} from "./recorded-calls.ts";
import { type Finding, RecordedChecks } from "./recorded-checks.ts";
import { nothingUsed, Spending, type SpendingKind, type Used, usedBy } from "./spending.ts";
import type { EffectivePolicy } from "./types.ts";
import { type Unknowns, unknownTexts } from "./what-if-unknown.ts";

export interface FoundCall {
  /** Null = no numbered step: a call that was made again, one of an earlier try, or an image, which is refused before the run starts. */
  readonly step: number | null;
  /** gather, or rate[3] for an item of a forEach node. */
  readonly node: string;
  readonly kind: StepIdentity["kind"] | "image";
  readonly name: string;
  /** Stops = the run (or the finally node) ends here. After = the run would have ended before. Audit = it is recorded, nothing is stopped. */
  readonly effect: "Stops" | "After" | "Audit";
  /** As the run would have said it. */
  readonly message: string;
  /** Field of the policy, or the limit as in "Execution/TotalTokens". */
  readonly path: string;
  /** What the call used. */
  readonly tokens: number;
}

export interface WhatIf {
  readonly isStopped: boolean;
  /** In the order in which it happened. */
  readonly calls: readonly FoundCall[];
  /** By all calls of the record that the run made itself. */
  readonly tokensUsed: number;
  /** Of these, what would certainly not have been used. */
  readonly tokensSaved: number;
  /** Model and tool calls that would not have been made. */
  readonly callsSaved: number;
  /** What the record cannot tell, for people. */
  readonly unknown: readonly string[];
}

interface OpenCall {
  readonly isMade: boolean;
  readonly used: Used;
}

/** `journals`: of the run, whole. `policy`: combined from the policies in question alone. */
export function whatIf(spec: ExecutionSpec, journals: readonly ItemJournal[], policy: EffectivePolicy): WhatIf {
  const trial = new Trial(spec, journals, policy);
  for (const event of inRecordedOrder(spec, journals)) trial.event(event);
  return trial.result();
}

class Trial {
  readonly #spec: ExecutionSpec;
  readonly #policy: EffectivePolicy;
  readonly #spending: Spending;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #ends: ReadonlyMap<string, StepEntry | RepeatEntry>;
  readonly #finally: ReadonlySet<string>;
  readonly #open = new Map<string, OpenCall>();
  readonly #checks: RecordedChecks;
  readonly #found: FoundCall[] = [];
  readonly #endedFinally = new Set<string>();
  readonly #unknown: Unknowns = { ownEnd: undefined, inFlight: 0, inFlightTokens: 0, finally: 0, lost: 0, reused: 0 };
  #used = 0;
  #saved = 0;
  #callsSaved = 0;
  /** Before it started. */
  #isRefused = false;
  #isStopped = false;

  constructor(spec: ExecutionSpec, journals: readonly ItemJournal[], policy: EffectivePolicy) {
    this.#spec = spec;
    this.#policy = policy;
    this.#checks = new RecordedChecks(spec, policy);
    this.#spending = new Spending(policy, (node) => this.#limitsOf(node));
    this.#finally = new Set((spec.finally ?? []).map(({ name }) => name));
    this.#numbers = new Map(
      canonicalSteps(spec, journals).map(({ journal, entry }, index) => [callKey(journal, entry), index + 1]),
    );
    this.#ends = endsOf(journals);
    for (const journal of journals) for (const { entry } of reusedSteps(journal)) this.#reuse(journal, entry);
    this.#checkImages();
  }

  event({ journal, item, entry }: RecordedEvent): void {
    switch (entry.type) {
      case "start":
        return this.#lose(journal);
      case "intent":
        return this.#begin({ journal, item, entry }, entry);
      case "step":
      case "repeat":
        return this.#end({ journal, item, entry }, entry);
    }
  }

  result(): WhatIf {
    return {
      isStopped: this.#found.some(({ effect }) => effect === "Stops"),
      calls: this.#found,
      tokensUsed: this.#used,
      tokensSaved: this.#saved,
      callsSaved: this.#callsSaved,
      unknown: unknownTexts(this.#unknown),
    };
  }

  #checkImages(): void {
    for (const { at, ...finding } of checkImages(this.#spec, this.#policy)) {
      const [, list, index] = at;
      const { name = "", image = "" } = this.#spec[list === "finally" ? "finally" : "nodes"]?.[Number(index)] ?? {};
      if (finding.enforcement === "Enforce") this.#isRefused = true;
      this.#add({ step: null, node: name, kind: "image", name: image, tokens: 0 }, finding, true);
    }
  }

  #begin(call: Called, { kind, index }: IntentEntry): void {
    if (kind !== "model" && kind !== "tool") return;
    const { journal } = call;
    const used = usedBy(this.#ends.get(placeKey(journal, index))?.usage);
    const isMade = this.#mayBegin(call, kind, used);
    const tokens = used.amounts.TotalTokens;
    this.#used += tokens;
    if (isMade) this.#audit(call, used, this.#spending.begin(journal.node, kind));
    else {
      this.#saved += tokens;
      this.#callsSaved += 1;
    }
    if (isMade && this.#isStopped) this.#unknown.finally += 1;
    this.#open.set(callKey(journal, call.entry), { isMade, used });
  }

  /** Lists first, as they refuse a call before a budget is asked. */
  #mayBegin(call: Called, kind: SpendingKind, used: Used): boolean {
    const goesOn = this.#goesOn(call);
    if (this.#tell(call, used, this.#checks.of(call)) || !goesOn) return false;
    return !this.#stopBy(call, used, this.#spending.refusal(call.journal.node, kind, used));
  }

  #end(call: Called, entry: StepEntry | RepeatEntry): void {
    const { journal } = call;
    const key = callKey(journal, entry);
    const open = this.#open.get(key);
    if (open === undefined) return this.#endUnbegun(call, entry);
    this.#open.delete(key);
    const { isMade, used } = open;
    const isStep = entry.type === "step";
    const wasCut = isStep && entry.outcome === "Cut" && entry.error?.class === "PolicyViolation";
    if (wasCut) this.#unknown.ownEnd ??= this.#placeText(call);
    if (!isMade) return;
    const kept = entry.kind === "model" && this.#goesOn(call) ? this.#keptOf(call, used, wasCut) : used.amounts;
    this.#saved += used.amounts.TotalTokens - kept.TotalTokens;
    const crossed = this.#spending.end(journal.node, { amounts: kept }, isStep);
    const ofCall = entry.kind === "model" ? unitsOver(this.#policy.auditLimits.call, kept) : [];
    this.#audit(call, used, [...ofCall.map((unit) => `Call/${unit}`), ...crossed]);
  }

  /** What a model call would have used: all that it did, but for one that a budget would have cut. */
  #keptOf(call: Called, used: Used, wasCut: boolean): Used["amounts"] {
    const cut = this.#spending.cut(call.journal.node, used, wasCut);
    if (cut === undefined) return used.amounts;
    this.#stopBy(call, used, cut.stop);
    const { InputTokens } = used.amounts;
    const output = Math.max(0, cut.tokens - InputTokens);
    return { ...zeroAmounts, TotalTokens: cut.tokens, InputTokens, OutputTokens: output };
  }

  /** What never began: a value, an answer from another run's record, a call that was refused. */
  #endUnbegun(call: Called, entry: StepEntry | RepeatEntry): void {
    const { journal } = call;
    if (entry.kind === "value" && this.#mayBegin(call, "value", nothingUsed))
      this.#audit(call, nothingUsed, this.#spending.begin(journal.node, "value"));
    if (entry.type !== "step" || (entry.kind !== "model" && entry.kind !== "tool")) return;
    if (entry.from !== undefined) return this.#reuse(journal, entry);
    if (entry.outcome !== "Refused") return;
    this.#unknown.ownEnd ??= this.#placeText(call);
    this.#mayBegin(call, entry.kind, nothingUsed);
  }

  /** An attempt died: the calls it had at work have no result. */
  #lose(journal: ItemJournal): void {
    const prefix = itemPrefix(journal);
    for (const [key, { isMade }] of this.#open) {
      if (!key.startsWith(prefix)) continue;
      this.#open.delete(key);
      this.#unknown.lost += 1;
      if (isMade) this.#spending.end(journal.node, nothingUsed, false);
    }
  }

  #reuse(journal: ItemJournal, entry: StepEntry): void {
    this.#unknown.reused += 1;
    this.#checks.count(journal, entry);
  }

  #stopBy(call: Called, used: Used, stop: Stop | undefined): boolean {
    if (stop === undefined) return false;
    const { message, path = "" } = stopText(stop, this.#limitsOf(call.journal.node).limitNames);
    return this.#tell(call, used, [{ enforcement: "Enforce", message, path }]);
  }

  #audit(call: Called, used: Used, limits: readonly string[]): void {
    const message = (limit: string) => auditLimitMessage(limit, this.#policy.limitNames);
    this.#tell(
      call,
      used,
      limits.map((path) => ({ enforcement: "Audit", message: message(path), path })),
    );
  }

  /** Returns whether the call is stopped, and with it what follows. */
  #tell(call: Called, used: Used, findings: readonly Finding[]): boolean {
    const { item, journal, entry } = call;
    const goesOn = this.#goesOn(call);
    const step = this.#numbers.get(callKey(journal, entry)) ?? null;
    const place = { step, node: item, kind: entry.kind, name: entry.name, tokens: used.amounts.TotalTokens };
    for (const finding of findings) this.#add(place, finding, goesOn);
    const isStopped = goesOn && findings.some(({ enforcement }) => enforcement === "Enforce");
    if (isStopped) this.#stop(call);
    return isStopped;
  }

  #add(place: Omit<FoundCall, "effect" | "message" | "path">, finding: Finding, goesOn: boolean): void {
    const { tokens, ...rest } = place;
    const { enforcement, message, path } = finding;
    const effect = !goesOn ? "After" : enforcement === "Audit" ? "Audit" : "Stops";
    this.#found.push({ ...rest, effect, message, path, tokens });
  }

  #stop(call: Called): void {
    // A run that runs its finally nodes has ended already: only the node fails.
    if (this.#isFinally(call)) {
      this.#endedFinally.add(call.item);
      return;
    }
    this.#isStopped = true;
    for (const { isMade, used } of this.#open.values()) {
      if (!isMade || used.amounts.TotalTokens === 0) continue;
      this.#unknown.inFlight += 1;
      this.#unknown.inFlightTokens += used.amounts.TotalTokens;
    }
  }

  /** Whether what is asked for now is asked for at all. */
  #goesOn(call: Called): boolean {
    if (this.#isRefused) return false;
    return this.#isFinally(call) ? !this.#endedFinally.has(call.item) : !this.#isStopped;
  }

  #isFinally({ journal }: Called): boolean {
    return this.#finally.has(journal.node);
  }

  #limitsOf(name: string): OpenLimits {
    const node = [...this.#spec.nodes, ...(this.#spec.finally ?? [])].find((each) => each.name === name);
    return nodeLimits(this.#policy, node ?? { name });
  }

  #placeText({ journal, item, entry }: Called): string {
    const number = this.#numbers.get(callKey(journal, entry));
    return number === undefined ? `in node ${item}` : `at step ${number} (node ${item})`;
  }
}
