/** One line of a watch. */
import { KubeError } from "./kube-error.ts";

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

/** Throws KubeError Unreadable: what cannot be read now cannot be skipped either. */
export function eventOf<T>(line: string): WatchEvent<T> {
  try {
    return JSON.parse(line) as WatchEvent<T>;
  } catch (cause) {
    throw new KubeError(0, "Unreadable", "a line of a watch is no JSON", { cause });
  }
}
