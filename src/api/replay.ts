/** spec.replay: which recorded run is run again, from where, and what is asked anew. */
import { z } from "zod";
import { dnsLabel } from "./common.ts";
import { sizes } from "./defaults.ts";

export const replayMode = z.enum(["Strict", "Fork"]);
export const toolOutputs = z.enum(["Recorded", "Live"]);

const step = z.int().min(1);

export const replaySpec = z.strictObject({
  executionRef: z
    .strictObject({
      name: dnsLabel.describe("Name of an Execution in the same namespace; it must have ended."),
      uid: z.string().min(1).max(63).optional().describe("Its uid: guards against a name that was given anew."),
    })
    .describe("Whose record is replayed."),
  fromStep: step
    .optional()
    .describe("Step number from which calls are made again; those before are answered from the record."),
  from: z
    .strictObject({
      node: dnsLabel.describe("Name of the node."),
      item: z.int().min(0).optional().describe("Index of the item of a forEach node."),
      step: step.describe("Which of its steps, from 1."),
    })
    .optional()
    .describe("The same place by node; at most one of fromStep and from."),
  mode: replayMode
    .optional()
    .describe(
      "Strict makes no call at all and proves that the run would go the same way; Fork makes calls from the cursor on. Fork when there is a cursor, else Strict.",
    ),
  times: z
    .int()
    .min(1)
    .max(sizes.replayTimes)
    .optional()
    .describe("How often a Strict replay is made; every time must go as the record does. 1 when absent."),
  toolOutputs: toolOutputs
    .optional()
    .describe(
      "From the cursor on: Recorded (when absent) answers a tool call that was recorded with the same arguments from the record; Live makes it again.",
    ),
});

export type ReplaySpec = z.infer<typeof replaySpec>;
export type ReplayMode = z.infer<typeof replayMode>;

/** As it is when nothing is written. */
export function modeOf(replay: ReplaySpec): ReplayMode {
  return replay.mode ?? (hasCursor(replay) ? "Fork" : "Strict");
}

export function hasCursor(replay: ReplaySpec): boolean {
  return replay.fromStep !== undefined || replay.from !== undefined;
}
