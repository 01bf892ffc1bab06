/** Reading from the server, again when something changed there, and never more often than it answers. */
import { type Signal, signal } from "@preact/signals";
import type { Problem, ServerEvent, SessionInfo } from "../wire.ts";
import { get, listen, problemOf, takeToken } from "./client.ts";

export const session = signal<SessionInfo | undefined>(undefined);
/** Why nothing can be shown at all. */
export const fatal = signal<Problem | undefined>(undefined);
export const isLive = signal(false);

/** Changes that come while a reading is on its way are read together by the next. */
const restMs = 300;

export interface Loaded<T> {
  readonly value: Signal<T | undefined>;
  readonly problem: Signal<Problem | undefined>;
  readonly again: () => void;
  readonly stop: () => void;
}

/** Begins at once. What was read stays while it is read anew; a failure is told beside it. */
export function load<T>(read: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const value = signal<T | undefined>(undefined);
  const problem = signal<Problem | undefined>(undefined);
  const stop = new AbortController();
  let isReading = false;
  let isStale = false;
  const run = async () => {
    isReading = true;
    isStale = false;
    try {
      value.value = await read(stop.signal);
      problem.value = undefined;
    } catch (error) {
      if (!stop.signal.aborted) problem.value = problemOf(error);
    }
    await new Promise((resolve) => setTimeout(resolve, restMs));
    isReading = false;
    if (isStale && !stop.signal.aborted) await run();
  };
  const again = () => {
    if (isReading) isStale = true;
    else void run();
  };
  again();
  return { value, problem, again, stop: () => stop.abort() };
}

/** Events of the server, told to whoever looks at a run now. */
export function follow(path: string, onEvent: (event: ServerEvent) => void, onBack: () => void): () => void {
  let wasLost = false;
  return listen(path, onEvent, (isConnected) => {
    isLive.value = isConnected;
    // What happened meanwhile was not told.
    if (isConnected && wasLost) onBack();
    wasLost = !isConnected;
  });
}

export async function startSession(): Promise<void> {
  try {
    await takeToken();
    session.value = await get<SessionInfo>("session");
  } catch (error) {
    fatal.value = problemOf(error);
  }
}
