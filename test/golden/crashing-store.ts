/** A store in front of the real one that dies at the k-th command, as a killed process would: nothing more gets through. */
import type { Command, Reply } from "../../src/core/protocol/types.ts";
import type { JournalStore } from "../../src/ports/store.ts";
import { StoreUnavailable } from "../../src/ports/store-errors.ts";

export interface Crash {
  /** Counts commands but heartbeats, from 0. */
  readonly at: number;
  /** Before = the command never arrived; After = it took effect and nobody learned the reply. */
  readonly when: "Before" | "After";
}

export function crashingStore(
  inner: JournalStore,
  crash: Crash,
  onCrash: () => void,
): { store: JournalStore; commands: () => number; crashed: () => boolean } {
  let commands = 0;
  let crashed = false;
  const die = (): never => {
    if (!crashed) {
      crashed = true;
      onCrash();
    }
    throw new StoreUnavailable("the process of this worker is dead");
  };
  const execute = async (uid: string, command: Command): Promise<Reply> => {
    if (crashed) return die();
    if (command.op === "heartbeat") return inner.execute(uid, command);
    const index = commands;
    commands += 1;
    if (index === crash.at && crash.when === "Before") return die();
    const reply = await inner.execute(uid, command);
    return index === crash.at ? die() : reply;
  };
  return { store: withExecute(inner, execute), commands: () => commands, crashed: () => crashed };
}

/** Does something else right before the k-th command (heartbeats not counted, from 0). */
export function atCommand(
  inner: JournalStore,
  at: number,
  act: () => Promise<unknown>,
): { store: JournalStore; commands: () => number } {
  let commands = 0;
  const execute = async (uid: string, command: Command): Promise<Reply> => {
    if (command.op !== "heartbeat") {
      commands += 1;
      if (commands - 1 === at) await act();
    }
    return inner.execute(uid, command);
  };
  return { store: withExecute(inner, execute), commands: () => commands };
}

function withExecute(inner: JournalStore, execute: JournalStore["execute"]): JournalStore {
  return new Proxy(inner, {
    get: (target, name) => {
      if (name === "execute") return execute;
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}
