/** Control states as a table; an unlisted pair is refused. */
import type { Control, ControlState } from "./types.ts";

const transitions: Readonly<Record<ControlState, readonly ControlState[]>> = {
  Running: ["Suspended", "Cancelled", "Violated", "Finalizing"],
  Suspended: ["Running", "Cancelled", "Violated", "Finalizing"],
  Cancelled: ["Finalizing"],
  Violated: ["Finalizing"],
  Finalizing: [],
};

/** The control after a move; the same object when it is there already, undefined when the move is not listed. */
export function transition(from: Control, to: ControlState, message: string): Control | undefined {
  if (from.state === to) return from;
  if (!transitions[from.state].includes(to)) return undefined;
  return { state: to, revision: from.revision + 1, message };
}
