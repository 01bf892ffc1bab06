/** A run's record as a sequence: the run, then item by item its entries, then the bodies that these refer to. */
import type { Execution } from "../../api/types.ts";
import type { ExecutionStatus } from "../../api/status.ts";
import type { NodeKey, StoredBody } from "../protocol/types.ts";
import type { JournalEntry } from "../steps/format.ts";
import { isRequestRef } from "./request.ts";

/** An Execution as it is exported: with its status, and of its metadata no more than says which run it is. */
export type RecordedExecution = Omit<Execution, "status" | "metadata"> & {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly creationTimestamp: string;
    readonly generation: number;
    readonly labels?: Readonly<Record<string, string>> | undefined;
  };
  readonly status: ExecutionStatus;
};

/** DigestOnly: bodies but the snapshot were dropped at the end of the run. */
export type RecordedContent = "Full" | "DigestOnly";

export type RecordPart =
  | { readonly kind: "run"; readonly execution: RecordedExecution; readonly content: RecordedContent }
  /**
   * The entries that follow are those of this item. In canonical order; before an item that reuses steps of other runs comes the same
   * item of each of those, the oldest first, with `run` their uid.
   */
  | { readonly kind: "item"; readonly key: NodeKey; readonly run: string | undefined }
  /** As it is stored; its index is its place in the item. */
  | { readonly kind: "entry"; readonly hash: string; readonly bytes: string }
  | { readonly kind: "body"; readonly body: StoredBody };

/** Hex digests of the bodies that an entry refers to; the texts of these come on top. */
export function bodiesOfEntry(entry: JournalEntry): string[] {
  switch (entry.type) {
    case "step":
    case "repeat":
      return [
        ...(isRequestRef(entry.input) ? [entry.input.header, ...entry.input.append] : [entry.input.body]),
        ...(entry.output === null ? [] : [entry.output.body]),
      ];
    case "finish":
      return entry.output === null ? [] : [entry.output.body];
    case "start":
    case "intent":
    case "violation":
      return [];
  }
}

/** Hex digests of the bodies that a status refers to, the snapshot first. */
export function bodiesOfStatus(status: ExecutionStatus): string[] {
  const digests = [status.snapshot, status.result?.digest, ...status.nodes.map((node) => node.output)];
  return digests.flatMap((digest) => (digest === undefined ? [] : [digest.replace(/^sha256:/, "")]));
}
