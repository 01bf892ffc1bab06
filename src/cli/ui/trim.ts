/** Requests of long conversations: the latest messages are what a person looks at first. */
import type { Json, JsonObject } from "../../core/digest/json.ts";
import type { TraceRow } from "../../core/trace/rows.ts";

const messagesKept = 40;

/** The row with the first and the latest messages of its request; `omitted_messages` tells how many are between them. */
export function trimmed(row: TraceRow): TraceRow {
  const { input } = row;
  if (input === null || typeof input !== "object" || Array.isArray(input)) return row;
  const request = input as JsonObject;
  const messages = request["messages"];
  if (!isList(messages) || messages.length <= messagesKept + 1) return row;
  const omitted = messages.length - messagesKept - 1;
  return {
    ...row,
    input: {
      ...request,
      messages: [...messages.slice(0, 1), { omitted_messages: omitted }, ...messages.slice(-messagesKept)],
    },
  };
}

/** Of the bodies of a step, as `bodiesOf` lists them, those that are left in the trimmed row. */
export function trimmedBodies(digests: readonly string[]): readonly string[] {
  const [begin, end] = [2, messagesKept + 1]; // header and first message; the latest messages and the answer
  return digests.length <= begin + end ? digests : [...digests.slice(0, begin), ...digests.slice(-end)];
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
