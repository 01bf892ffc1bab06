/**
 * What other policies would have stopped of a run that is recorded. Pure: no run, no call.
 *
 * The record is read in the order in which it happened, and each call is asked what the gate and the budgets would have asked it. The
 * first call that an Enforce policy stops ends the run, so calls that began after it would not have been made. What is told of those
 * is what else the policies find in the record as it is. Tokens count as saved only where that is certain; `unknown` says what is not.
 */
import type { ExecutionSpec } from "../../api/types.ts";
import type { IntentEntry, RepeatEntry, StepEntry, StepIdentity } from "../steps/format.ts";
import { readEntry } from "../steps/chain.ts";
import { stepKey } from "../steps/identity.ts";
import { canonicalSteps, type ItemJournal, reusedSteps } from "../trace/journal.ts";
import { checkImages } from "./checks.ts";
import { inRecordedOrder, type RecordedEvent } from "./recorded-order.ts";
import { type Broken, type CallPlace, RecordedRules } from "./recorded-rules.ts";
import { nothingUsed, Spending, type Used, usedBy } from "./spending.ts";
import type { EffectivePolicy } from "./types.ts";

export interface FoundCall {
  /** Null = no numbered step: a call that was made again, one of an earlier try, or an image, which is refused before the run starts. */
  readonly step: number | null;
  /** gather, or rate[3] for an item of a forEach node. */
  readonly node: string;
  readonly kind: StepIdentity["kind"] | "image";
  readonly name: string;
  /** Stops = the run (or the finally node) ends here. After = the run would have ended before. Audit = it is recorded, nothing is stopped. */
  readonly effect: "Stops" | "After" | "Audit";
  /** In the words of a violation. */
  readonly message: string;
  /** Field of the policy, or the limit as in "Execution/TotalTokens". */
  readonly path: string;
  /** What the call used. */
  readonly tokens: number;
}

export interface WhatIf {
  readonly isStopped: boolean;
  /** Every broken rule of every call in the order in which it happened; of a budget the call that passes it. */
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

type Call = IntentEntry | StepEntry | RepeatEntry;

/** A call with its place. */
interface Called {
  readonly journal: ItemJournal;
  readonly item: string;
  readonly entry: Call;
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
  readonly #rules: RecordedRules;
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #ends: ReadonlyMap<string, StepEntry | RepeatEntry>;
  readonly #finally: ReadonlySet<string>;
  /** As it was recorded, and as it would have been: they part where the run is stopped, and only finally nodes go on from there. */
  readonly #recorded = new Spending();
  readonly #made = new Spending();
  readonly #open = new Map<string, OpenCall>();
  readonly #seen = new Set<string>();
  readonly #sameCalls = new Map<string, number>();
  readonly #found: FoundCall[] = [];
  readonly #endedFinally = new Set<string>();
  readonly #counts = { used: 0, saved: 0, calls: 0, inFlight: 0, inFlightTokens: 0, lost: 0, reused: 0, finally: 0 };
  #ownEnd: string | undefined;
  #isRefused = false;
  #isStopped = false;

  constructor(spec: ExecutionSpec, journals: readonly ItemJournal[], policy: EffectivePolicy) {
    this.#spec = spec;
    this.#rules = new RecordedRules(spec, policy);
    this.#finally = new Set((spec.finally ?? []).map(({ name }) => name));
    this.#numbers = new Map(
      canonicalSteps(spec, journals).map(({ journal, entry }, index) => [callKey(journal, entry), index + 1]),
    );
    this.#ends = endsOf(journals);
    for (const journal of journals) for (const { entry } of reusedSteps(journal)) this.#reuse(journal, entry);
    this.#checkImages(policy);
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
    const { used, saved, calls } = this.#counts;
    const isStopped = this.#found.some(({ effect }) => effect === "Stops");
    return {
      isStopped,
      calls: this.#found,
      tokensUsed: used,
      tokensSaved: saved,
      callsSaved: calls,
      unknown: this.#unknown(),
    };
  }

  /** Checked before anything is started. */
  #checkImages(policy: EffectivePolicy): void {
    for (const { at, enforcement, message, path } of checkImages(this.#spec, policy)) {
      const [, list, index] = at;
      const node = this.#spec[list === "finally" ? "finally" : "nodes"]?.[Number(index)];
      const effect = enforcement === "Audit" ? "Audit" : "Stops";
      if (effect === "Stops") this.#isRefused = true;
      const { name = "", image = "" } = node ?? {};
      this.#found.push({ step: null, node: name, kind: "image", name: image, effect, message, path, tokens: 0 });
    }
  }

  #begin(call: Called, { kind, index }: IntentEntry): void {
    if (kind !== "model" && kind !== "tool") return;
    const { journal } = call;
    const { node } = journal;
    const used = usedBy(this.#ends.get(placeKey(journal, index))?.usage);
    const isAsked = this.#goesOn(call);
    const broken = [...this.#lists(call), ...this.#rules.refusals(this.#place(call), this.#accounts(node), kind, used)];
    const isMade = !this.#tell(call, used, broken) && isAsked;
    this.#counts.used += used.total;
    if (!isMade) this.#save(used.total, 1);
    else if (this.#isStopped) this.#counts.finally += 1;
    this.#open.set(callKey(journal, call.entry), { isMade, used });
    this.#recorded.begin(node, kind);
    if (isMade) this.#made.begin(node, kind);
    this.#tell(call, used, this.#rules.audits(this.#place(call), this.#recorded));
  }

  #end(call: Called, entry: StepEntry | RepeatEntry): void {
    const { journal } = call;
    const { node } = journal;
    const key = callKey(journal, entry);
    const open = this.#open.get(key);
    if (open === undefined) return this.#endUnbegun(call, entry);
    this.#open.delete(key);
    const { isMade, used } = open;
    const isStep = entry.type === "step";
    const wasCut = isStep && entry.outcome === "Cut" && entry.error?.class === "PolicyViolation";
    if (wasCut) this.#ownEnd ??= this.#placeText(call);
    // What was cut wanted more.
    const asked = wasCut ? { ...used, output: used.output + 1 } : used;
    const broken = entry.kind === "model" ? this.#rules.cuts(this.#place(call), this.#accounts(node), asked) : [];
    const kept = this.#tell(call, used, broken) ? Math.min(used.total, ...broken.map((each) => each.kept)) : used.total;
    if (isMade) this.#save(used.total - kept, 0);
    if (isMade) this.#made.end(node, { ...used, total: kept }, isStep);
    this.#recorded.end(node, used, isStep);
    const audits = this.#rules.audits(this.#place(call), this.#recorded);
    this.#tell(call, used, entry.kind === "model" ? [...audits, ...this.#rules.callAudits(used)] : audits);
  }

  /** What never began: a value, an answer from another run's record, a call that was refused. */
  #endUnbegun(call: Called, entry: StepEntry | RepeatEntry): void {
    const { journal } = call;
    const accounts = this.#accounts(journal.node);
    if (entry.kind === "value") {
      const isAsked = this.#goesOn(call);
      const broken = this.#rules.refusals(this.#place(call), accounts, "value", nothingUsed);
      const isMade = !this.#tell(call, nothingUsed, broken) && isAsked;
      this.#recorded.value(journal.node);
      if (isMade) this.#made.value(journal.node);
    }
    if (entry.type !== "step" || (entry.kind !== "model" && entry.kind !== "tool")) return;
    if (entry.from !== undefined) return this.#reuse(journal, entry);
    if (entry.outcome !== "Refused") return;
    this.#ownEnd ??= this.#placeText(call);
    const budgets = this.#rules.refusals(this.#place(call), accounts, entry.kind, nothingUsed);
    this.#tell(call, nothingUsed, [...this.#lists(call), ...budgets]);
  }

  /** An attempt died: the calls it had at work have no result. */
  #lose(journal: ItemJournal): void {
    const prefix = itemPrefix(journal);
    for (const [key, { isMade }] of this.#open) {
      if (!key.startsWith(prefix)) continue;
      this.#open.delete(key);
      this.#counts.lost += 1;
      this.#recorded.end(journal.node, nothingUsed, false);
      if (isMade) this.#made.end(journal.node, nothingUsed, false);
    }
  }

  #reuse(journal: ItemJournal, entry: StepEntry): void {
    this.#counts.reused += 1;
    if (entry.kind === "model" || entry.kind === "tool") this.#countSame(journal, entry);
  }

  #lists(call: Called): Broken[] {
    const key = callKey(call.journal, call.entry);
    if (this.#seen.has(key)) return [];
    this.#seen.add(key);
    return this.#rules.lists(call.item, call.entry, this.#countSame(call.journal, call.entry));
  }

  #countSame(journal: ItemJournal, { requestDigest, try: tryNumber }: Call): number {
    const key = `${itemPrefix(journal)}${tryNumber}/${requestDigest}`;
    const made = (this.#sameCalls.get(key) ?? 0) + 1;
    this.#sameCalls.set(key, made);
    return made;
  }

  /** Returns whether the call is stopped, and with it what follows. */
  #tell(call: Called, used: Used, broken: readonly Broken[]): boolean {
    const { item, journal, entry } = call;
    const goesOn = this.#goesOn(call);
    const step = this.#numbers.get(callKey(journal, entry)) ?? null;
    for (const { rule } of broken) {
      const effect = rule.enforcement === "Audit" ? "Audit" : goesOn ? "Stops" : "After";
      const { message, path } = rule;
      this.#found.push({
        step,
        node: item,
        kind: entry.kind,
        name: entry.name,
        effect,
        message,
        path,
        tokens: used.total,
      });
    }
    const isStopped = goesOn && broken.some(({ rule }) => rule.enforcement === "Enforce");
    if (isStopped) this.#stop(call);
    return isStopped;
  }

  #stop(call: Called): void {
    // A run that runs its finally nodes has ended already: only the node fails.
    if (this.#isFinally(call)) {
      this.#endedFinally.add(call.item);
      return;
    }
    this.#isStopped = true;
    for (const { used } of this.#open.values())
      if (used.total > 0) {
        this.#counts.inFlight += 1;
        this.#counts.inFlightTokens += used.total;
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

  /** A finally node pays from what would have been left, all others from what was. */
  #accounts(node: string): Spending {
    return this.#finally.has(node) ? this.#made : this.#recorded;
  }

  #place(call: Called): CallPlace {
    return { node: call.journal.node, teller: this.#isFinally(call) ? call.item : "" };
  }

  #placeText({ journal, item, entry }: Called): string {
    const number = this.#numbers.get(callKey(journal, entry));
    return number === undefined ? `in node ${item}` : `at step ${number} (node ${item})`;
  }

  #save(tokens: number, calls: number): void {
    this.#counts.saved += tokens;
    this.#counts.calls += calls;
  }

  #unknown(): string[] {
    const { inFlight, inFlightTokens, lost, reused, finally: last } = this.#counts;
    const told = (count: number, one: string, many: string, rest: string) =>
      count === 0 ? [] : [`${count === 1 ? `1 ${one}` : `${count} ${many}`} ${rest}`];
    return [
      ...(this.#ownEnd === undefined
        ? []
        : [`the run's own policies stopped it ${this.#ownEnd}: what would have come after is not recorded`]),
      ...told(
        inFlight,
        "model call was",
        "model calls were",
        `at work when the run would have ended: a part of ${inFlightTokens} tokens might not have been used, and counts as used`,
      ),
      ...told(last, "call", "calls", "of finally nodes would have been made all the same, if with other inputs"),
      ...told(
        lost,
        "call was",
        "calls were",
        "lost with a worker: the tokens are recorded of the run, not of the call, and do not count",
      ),
      ...told(reused, "step was", "steps were", "answered from another run's record: not called, so not judged"),
    ];
  }
}

/** What each call ended with, by the place of its intent. */
function endsOf(journals: readonly ItemJournal[]): Map<string, StepEntry | RepeatEntry> {
  const ends = new Map<string, StepEntry | RepeatEntry>();
  for (const journal of journals) {
    const open = new Map<string, string>();
    for (const stored of journal.entries) {
      const entry = readEntry(stored);
      if (entry.type === "intent") open.set(callKey(journal, entry), placeKey(journal, entry.index));
      if (entry.type !== "step" && entry.type !== "repeat") continue;
      const key = callKey(journal, entry);
      const place = open.get(key);
      if (place !== undefined) ends.set(place, entry);
      open.delete(key);
    }
  }
  return ends;
}

/** No node's name has a slash. */
function itemPrefix({ node, item }: ItemJournal): string {
  return `${item ?? ""}/${node}/`;
}

function placeKey(journal: ItemJournal, index: number): string {
  return `${itemPrefix(journal)}${index}`;
}

function callKey(journal: ItemJournal, { path, kind, requestDigest, occurrence, try: tryNumber }: Call): string {
  return `${itemPrefix(journal)}${tryNumber}/${stepKey(path, kind, requestDigest, occurrence)}`;
}
