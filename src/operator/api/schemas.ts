/** What goes in and out of the API: requests are checked against these, and openapi.json is made of them. */
import { z } from "zod";
import { dnsLabel } from "../../api/common.ts";

const namespace = dnsLabel.describe("Namespace of the Execution.");
const name = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/)
  .describe("Name of the Execution.");

export const runPath = z.strictObject({ namespace, name });
export const uidPath = z.strictObject({
  execution_id: z
    .string()
    .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    .describe("metadata.uid of the Execution, execution_id in its trace."),
});
export const noPath = z.strictObject({});
export const noQuery = z.strictObject({});

/** Of a parameter, which is text to the server and a value to everybody else. */
function become(schema: Record<string, unknown>, wanted: Readonly<Record<string, unknown>>): void {
  delete schema["pattern"];
  delete schema["enum"];
  Object.assign(schema, wanted);
}

/** Of text: a query has nothing else. */
const whole = (least: number, most: number) =>
  z
    .string()
    .regex(/^[0-9]{1,10}$/, "must be a whole number")
    .transform(Number)
    .pipe(z.int().min(least).max(most))
    .meta({ override: ({ jsonSchema }) => become(jsonSchema, { type: "integer", minimum: least, maximum: most }) });
const flag = z
  .enum(["true", "false"])
  .transform((text) => text === "true")
  .meta({ override: ({ jsonSchema }) => become(jsonSchema, { type: "boolean" }) });
const stepsMax = 1_000_000;

export const replayQuery = z.strictObject({
  from_step: whole(1, stepsMax)
    .optional()
    .describe(
      "Number of the first step that is made anew, from 1, as in the trace. Absent: the run is replayed from its start.",
    ),
});
export const replayBody = z
  .strictObject({
    mode: z
      .enum(["Strict", "Fork"])
      .optional()
      .describe(
        "Strict: every answer is a recorded one. Fork: live from from_step on. Absent: Fork with from_step, else Strict.",
      ),
    toolOutputs: z
      .enum(["Recorded", "Live"])
      .optional()
      .describe("After from_step: recorded tool outputs where there are any (the default), or live calls."),
    patch: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("Fields of spec that differ from the parent's, as in a manifest. Absent ones are inherited."),
    name: dnsLabel.optional().describe("Name of the new Execution. Absent: one that is made of the parent's."),
  })
  .meta({ id: "ReplayRequest", description: "How to replay; may be left out." });
export const replayHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .describe(
      "The same key from the same caller for the same parent gives the same Execution, however often it is sent.",
    ),
});

export const traceQuery = z.strictObject({
  from_step: whole(1, stepsMax).optional().describe("Number of the first step that is shown; 1 when absent."),
  limit: whole(1, stepsMax).optional().describe("Steps at most."),
  canonical: flag
    .optional()
    .describe("The canonical trace instead: JSON lines without anything volatile. Its sha256 is the traceHash."),
  all: flag.optional().describe("Also calls that were made again or belong to an earlier try, and policy violations."),
});
export const journalQuery = z.strictObject({
  node: dnsLabel.optional().describe("Only entries of this node."),
  item: whole(0, stepsMax).optional().describe("Only of this item of a forEach node."),
});
const digest = z.string().regex(/^[0-9a-f]{64}$/);
export const recordedBody = z
  .strictObject({
    run: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/)
      .optional()
      .describe(
        "UID of a run that this one replays, or that one in turn: its entries of the same nodes. Absent: the run's own.",
      ),
    after: z
      .record(z.string().max(128), z.int().min(0))
      .optional()
      .describe("How many entries are known already, by node: gather, or rate[3] for an item of a forEach node."),
  })
  .meta({ id: "JournalRequest", description: "Which entries; may be left out." });
export const bodiesMax = 1_024;
export const bodiesBody = z
  .strictObject({
    digests: z.array(digest).min(1).max(bodiesMax).describe("sha256 of each, hex, as journal entries name them."),
  })
  .meta({ id: "BodiesRequest", description: "Which bodies." });
export const eventHeaders = z.object({
  "last-event-id": z
    .string()
    .max(8_192)
    .optional()
    .describe("Id of the last event that was received: the stream goes on after it."),
});

const tokens = z.int().min(0);
const anyJson = z.unknown().describe("Any JSON.");

export const traceRow = z
  .object({
    execution_id: z.string(),
    step_number: z
      .int()
      .min(1)
      .nullable()
      .describe("In canonical order once the run has ended; null before, and for calls that do not count."),
    node: z.string().describe("gather, or rate[3] for an item of a forEach node."),
    state: z.string().describe("Ok, Error, Cut, Refused; with all=true also Repeated, Superseded, Enforce, Audit."),
    input: anyJson.describe("A model step: its request. A tool step: its arguments."),
    output: anyJson.describe("null when there is none; then error says why."),
    error: z.object({ class: z.string(), message: z.string() }).nullable(),
    tool_calls: z.array(z.object({ name: z.string(), arguments: anyJson })),
    token_usage: z
      .object({
        input: tokens,
        output: tokens,
        total: tokens,
        reported: z
          .object({ input: tokens.optional(), output: tokens.optional(), total: tokens.optional() })
          .nullable(),
        estimated: z.object({ input: tokens, output: tokens }),
        counted: z.object({ input: tokens, output: tokens, total: tokens }),
        overshoot: tokens,
      })
      .nullable(),
    timestamp: z.string().describe("When the step was completed, ISO 8601."),
    started_at: z.string(),
    step_key: z.string(),
    path: z.string(),
    attempt: z.int(),
    try: z.int(),
    kind: z.string().describe("model, tool, value, approval, violation."),
    name: z.string().describe("Model or tool name."),
    hash: z.string().describe("Of the stored journal entry, hex."),
  })
  .meta({ id: "TraceRow", description: "One step, as `oao trace -o json` prints it." });

export const hashes = z
  .object({
    execution_id: z.string(),
    executionHash: z.string().optional().describe("What the run is; fixed when it was opened."),
    hashParts: z
      .record(z.string(), z.string())
      .optional()
      .describe("The same by part: task, policy, agents, tools, runtime."),
    steps: z.int().optional().describe("Of a run that has ended."),
    traceHash: z.string().optional().describe("Of a run that has ended: sha256 of its canonical trace."),
    journalHead: z
      .string()
      .optional()
      .describe("Of a run that has ended: sha256 over its journals' lengths and last hashes."),
  })
  .meta({ id: "Hashes", description: "What a run was, and what it did, in digests. They are in the status too." });

export const journalEntry = z
  .object({
    node: z.string(),
    item: z.int().optional(),
    index: z.int().min(0),
    hash: z.string().describe("sha256 of bytes, hex."),
    bytes: z.string().describe("The entry as it is stored, canonical JSON."),
  })
  .meta({ id: "JournalEntry", description: "One stored entry of a node's journal." });

export const storedBody = z
  .object({
    digest: z.string().describe("sha256 of bytes, hex."),
    bytes: z.string().describe("As it is stored, canonical JSON."),
  })
  .meta({ id: "StoredBody", description: "A request's part, an answer, an output, or a long text of one of these." });

export const executionObject = z
  .looseObject({
    apiVersion: z.string(),
    kind: z.literal("Execution"),
    metadata: z.looseObject({ name: z.string(), namespace: z.string(), uid: z.string() }),
    spec: z.looseObject({}),
  })
  .meta({ id: "Execution", description: "The object as the API server has it; its fields are in docs/fields.md." });

export const problem = z
  .object({
    type: z.string().describe("urn:oao:problem:KIND"),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem", description: "Problem details (RFC 9457)." });
