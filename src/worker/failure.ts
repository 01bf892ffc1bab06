/** What a node's own end is called in its finish record. */
import { OaoError, PolicyViolationError } from "../core/errors/errors.ts";
import { ExpressionError } from "../core/expressions/errors.ts";
import { RecordedFailure } from "../ports/step.ts";

export interface NodeFailure {
  readonly class: string;
  readonly message: string;
}

const classes: Partial<Record<OaoError["code"], string>> = {
  OAO_DIVERGENCE: "Divergence",
  OAO_IN_DOUBT: "InDoubt",
  OAO_INVALID_SPEC: "InvalidSpec",
  OAO_MISSING_SECRET: "MissingSecret",
  OAO_RECORD_CHANGED: "RecordChanged",
  OAO_SNAPSHOT_MISMATCH: "SnapshotMismatch",
};

/** What ends the node for good; undefined = not the node's own end (stopped, fenced, infrastructure). `mask` cuts and masks a message. */
export function failureOf(error: unknown, mask: (text: string) => string): NodeFailure | undefined {
  const message = mask(error instanceof Error ? error.message : String(error));
  // RecordedFailure, and the agent's own end (a function of its recorded calls).
  if (error instanceof RecordedFailure || isAgentFailure(error)) return { class: error.failureClass, message };
  if (error instanceof PolicyViolationError) return { class: "PolicyViolation", message };
  if (error instanceof ExpressionError) return { class: error.code, message };
  if (!(error instanceof OaoError)) return { class: "WorkerError", message };
  const known = classes[error.code];
  return known === undefined ? undefined : { class: known, message };
}

/** By its shape: naming the class would load LangChain into workers that run no agent. */
function isAgentFailure(error: unknown): error is Error & { readonly failureClass: string } {
  return (
    error instanceof Error &&
    error.name === "AgentFailure" &&
    typeof (error as { failureClass?: unknown }).failureClass === "string"
  );
}
