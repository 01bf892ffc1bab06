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

export function crashingStore(inner: JournalStore, crash: Crash, onCrash: () => void): { store: JournalStore; commands(): number; crashed(): boolean } {
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
  const store = new Proxy(inner, {
    get: (target, name) => {
      if (name === "execute") return execute;
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
  return { store, commands: () => commands, crashed: () => crashed };
}
