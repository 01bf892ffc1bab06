/** Many schedules after one another, from one seed on. */
import { type ScheduleReport, runSchedule } from "./schedule.ts";

export interface Summary {
  readonly schedules: number;
  readonly steps: number;
  readonly outcomes: Record<ScheduleReport["outcome"], number>;
  /** What happened, and in how many schedules. */
  readonly happened: ReadonlyMap<string, number>;
}

/** Throws at the first schedule that breaks an invariant; its message holds the seed. */
export async function runSchedules(
  firstSeed: number,
  count: number,
  progress?: (done: number) => void,
): Promise<Summary> {
  const outcomes = { done: 0, violated: 0, cancelled: 0, lost: 0, failed: 0 };
  const happened = new Map<string, number>();
  let steps = 0;
  for (let place = 0; place < count; place += 1) {
    const report = await runSchedule(firstSeed + place);
    outcomes[report.outcome] += 1;
    steps += report.steps;
    for (const what of report.happened) happened.set(what, (happened.get(what) ?? 0) + 1);
    progress?.(place + 1);
  }
  return { schedules: count, steps, outcomes, happened };
}
