/** The last check of every tool's answer. */
import { canonicalJson } from "../../core/digest/digest.ts";
import { type Json, toPlainJson } from "../../core/digest/json.ts";
import { CallFailure } from "../../ports/step.ts";

/** Plain JSON of at most `bodyBytesMax` bytes in canonical form; undefined becomes null. Throws CallFailure ToolFailure. */
export function plainAnswer(tool: string, answer: unknown, bodyBytesMax: number): Json {
  let plain: Json;
  let bytes: number;
  try {
    plain = answer === undefined ? null : toPlainJson(answer);
    bytes = Buffer.byteLength(canonicalJson(plain));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CallFailure("ToolFailure", `Tool ${tool} returned what cannot be recorded: ${reason}`, { cause: error });
  }
  if (bytes > bodyBytesMax) throw answerTooLarge(tool, `${bytes} bytes`, bodyBytesMax);
  return plain;
}

export function answerTooLarge(tool: string, size: string, bodyBytesMax: number): CallFailure {
  return new CallFailure(
    "ToolFailure",
    `Tool ${tool} returned ${size}; the cap is ${bodyBytesMax} bytes (recording.maxBodyBytes of the policy)`,
  );
}
