/** oao diff */
import type { PlaceFlags } from "../cluster/place.ts";
import { type CliExitCode, cliExitCodes } from "../../api/exit-codes.ts";
import type { StepEntry } from "../../core/steps/format.ts";
import { alignSteps, type PlacedStep, type StepPair, type Steps } from "../../core/trace/align.ts";
import { canonicalLines, traceHash } from "../../core/trace/canonical.ts";
import { canonicalSteps, type TracedCall } from "../../core/trace/journal.ts";
import { itemJournals } from "../../host/journals.ts";
import { checkChains } from "../../host/record-changed.ts";
import { hasEnded } from "../outcome.ts";
import { pairDifferences, pairsAtOnce } from "../pair-differences.ts";
import { type NamedRecord, withRecord } from "../records.ts";
import { diffText, type ShownPair, timeOf, tokensOf } from "../render/diff-text.ts";
import { checkFormat } from "../render/output.ts";
import { oneLine, painter } from "../render/style.ts";
import { table } from "../render/table.ts";
import { elapsed } from "../../ui/figures.ts";
import type { Terminal } from "../terminal.ts";

export interface DiffFlags extends PlaceFlags {
  readonly all?: boolean | undefined;
  readonly output?: string | undefined;
}

/** Of one step; beyond that its output or request is another one altogether. */
const differencesMax = { table: 8, json: 100 } as const;

interface Side {
  readonly named: NamedRecord;
  readonly steps: Steps;
}

export async function diff(a: string, b: string, flags: DiffFlags, terminal: Terminal): Promise<CliExitCode> {
  const output = checkFormat(flags.output, ["table", "json"]) ?? "table";
  return withRecord(a, flags, terminal, (first) =>
    withRecord(b, flags, terminal, async (second) => {
      const sides = [await readSide(first, terminal), await readSide(second, terminal)] as const;
      const pairs = alignSteps(sides[0].steps, sides[1].steps);
      const isSame = pairs.every(({ verdict, a: x, b: y }) => verdict === "Same" && x?.number === y?.number);
      if (output === "json") await printJson(sides, pairs, isSame, terminal);
      else await printTable(sides, pairs, { isSame, isWhole: flags.all === true }, terminal);
      return isSame ? cliExitCodes.succeeded : cliExitCodes.failed;
    }),
  );
}

/** Steps without the rest of their journals but what their requests are made of. */
async function readSide(named: NamedRecord, terminal: Terminal): Promise<Side> {
  const { record, name } = named;
  if (!hasEnded(record.status)) terminal.err(`${name} has not ended: compared is what is recorded so far\n`);
  const steps: TracedCall<StepEntry>[] = [];
  for await (const journal of itemJournals(record)) {
    checkChains(record.recorder, journal);
    steps.push(...canonicalSteps(record.spec, [journal]));
  }
  return { named, steps };
}

/** In order, with no more bodies read and held than a few of those steps that differ need. */
async function* shownPairs(
  [a, b]: readonly [Side, Side],
  pairs: readonly StepPair[],
  max: number,
): AsyncGenerator<ShownPair, void> {
  for (let from = 0; from < pairs.length; from += pairsAtOnce) {
    const page = pairs.slice(from, from + pairsAtOnce);
    const differences = await pairDifferences(a.named.record, b.named.record, page, max + 1);
    for (const [place, pair] of page.entries()) {
      const found = differences[place] ?? [];
      yield { pair, differences: found.slice(0, max), isCut: found.length > max };
    }
  }
}

async function printTable(
  sides: readonly [Side, Side],
  pairs: readonly StepPair[],
  { isSame, isWhole }: { readonly isSame: boolean; readonly isWhole: boolean },
  terminal: Terminal,
): Promise<void> {
  const paint = painter(terminal.colorOut);
  const shown: ShownPair[] = [];
  for await (const each of shownPairs(sides, pairs, differencesMax.table)) shown.push(each);
  if (shown.length > 0) await terminal.write(diffText(shown, { isWhole, width: terminal.size().columns }, paint));
  const totals = sides.map(totalsOf);
  const rows = totals.map(({ name, phase, steps, tokens, time_ms, trace_hash }) => [
    oneLine(name),
    oneLine(phase),
    String(steps),
    String(tokens),
    elapsed(time_ms),
    trace_hash,
  ]);
  terminal.out(
    `\n${table(["RUN", "PHASE", "STEPS", "TOKENS", "TIME", "TRACEHASH"], rows, { columns: terminal.columnsOut, free: [5] })}\n`,
  );
  terminal.out(`${verdictText(pairs, isSame)}\n`);
}

function verdictText(pairs: readonly StepPair[], isSame: boolean): string {
  if (isSame) return "the same steps with the same answers";
  const counts = countsOf(pairs);
  const parts = [
    [counts.changed, "changed"],
    [counts.only_a, "only in the first"],
    [counts.only_b, "only in the second"],
    [counts.same, "the same"],
  ] as const;
  const told = parts.flatMap(([count, text]) => (count === 0 ? [] : [`${count} ${text}`])).join(", ");
  return counts.same === pairs.length ? `${told}, in another order` : told;
}

function countsOf(pairs: readonly StepPair[]) {
  const count = (verdict: StepPair["verdict"]) => pairs.filter((pair) => pair.verdict === verdict).length;
  return { same: count("Same"), changed: count("Changed"), only_a: count("OnlyA"), only_b: count("OnlyB") };
}

/** Times are sums over steps, which may have been made at once. */
function totalsOf({ named: { record, name }, steps }: Side) {
  const placed = steps.map((call, index) => ({ number: index + 1, call }));
  return {
    name,
    execution_id: record.uid,
    phase: record.status?.phase ?? "Pending",
    steps: steps.length,
    tokens: placed.reduce((sum, step) => sum + (tokensOf(step) ?? 0), 0),
    time_ms: placed.reduce((sum, step) => sum + timeOf(step), 0),
    trace_hash: traceHash(canonicalLines(steps)),
  };
}

/** Written as it is made: the steps of a long run are never held as one text. */
async function printJson(
  sides: readonly [Side, Side],
  pairs: readonly StepPair[],
  isSame: boolean,
  terminal: Terminal,
): Promise<void> {
  const head = { same: isSame, a: totalsOf(sides[0]), b: totalsOf(sides[1]), counts: countsOf(pairs) };
  await terminal.write(`${JSON.stringify(head, undefined, 2).slice(0, -2)},\n  "steps": [`);
  let separator = "\n    ";
  for await (const { pair, differences, isCut } of shownPairs(sides, pairs, differencesMax.json)) {
    const step = {
      verdict: pair.verdict,
      node: pair.node,
      kind: (pair.a ?? pair.b)?.call.entry.kind,
      name: (pair.a ?? pair.b)?.call.entry.name,
      matched_by: pair.matchedBy,
      a: pair.a && sideOf(pair.a),
      b: pair.b && sideOf(pair.b),
      ...(pair.verdict === "Changed" ? { differences, differs_since_step: pair.request?.since, more: isCut } : {}),
    };
    await terminal.write(`${separator}${JSON.stringify(step)}`);
    separator = ",\n    ";
  }
  await terminal.write(`${pairs.length === 0 ? "" : "\n  "}]\n}\n`);
}

function sideOf(step: PlacedStep): object {
  const { entry, hash } = step.call;
  return {
    step_number: step.number,
    state: entry.outcome,
    tokens: tokensOf(step) ?? null,
    time_ms: timeOf(step),
    hash,
  };
}
