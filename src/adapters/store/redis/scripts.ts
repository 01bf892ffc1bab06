/** The Lua scripts: one per state change, put together from scripts/*.lua and named by SHA-1 as EVALSHA wants it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Command } from "../../../core/protocol/types.ts";

export type ScriptName = Command["op"] | "drop" | "expire" | "keep" | "restore" | "view";

export interface Script {
  readonly sha: string;
  readonly text: string;
}

/**
 * With a shebang, a full Redis refuses a script as a whole before its first line: all or nothing. `allow-oom` is for those
 * that only overwrite or make room: a run in a full store must still be stoppable and its leases renewable.
 */
const strict = "#!lua\n";
const admittedWhenFull = "#!lua flags=allow-oom\n";
const readsOnly = "#!lua flags=no-writes,allow-oom\n";

const scripts: Readonly<Record<ScriptName, { readonly shebang: string; readonly parts: readonly string[] }>> = {
  open: { shebang: strict, parts: ["prelude", "open"] },
  control: { shebang: admittedWhenFull, parts: ["prelude", "control"] },
  claim: { shebang: strict, parts: ["prelude", "claim"] },
  release: { shebang: admittedWhenFull, parts: ["prelude", "release"] },
  heartbeat: { shebang: admittedWhenFull, parts: ["prelude", "heartbeat"] },
  begin: { shebang: strict, parts: ["prelude", "sequenced", "begin"] },
  grow: { shebang: strict, parts: ["prelude", "sequenced", "grow"] },
  commit: { shebang: strict, parts: ["prelude", "sequenced", "commit"] },
  finish: { shebang: strict, parts: ["prelude", "sequenced", "finish"] },
  heal: { shebang: strict, parts: ["prelude", "sequenced", "heal"] },
  drop: { shebang: admittedWhenFull, parts: ["drop"] },
  expire: { shebang: admittedWhenFull, parts: ["expire"] },
  keep: { shebang: admittedWhenFull, parts: ["keep"] },
  restore: { shebang: strict, parts: ["restore"] },
  view: { shebang: readsOnly, parts: ["view"] },
};

export const scriptNames = Object.keys(scripts) as readonly ScriptName[];

const loaded = new Map<ScriptName, Script>();

/** Read on first use; `./scripts/` lies beside this file in the sources and beside the bundle in dist/. */
export function script(name: ScriptName): Script {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const { shebang, parts } = scripts[name];
  const text =
    shebang + parts.map((part) => readFileSync(new URL(`./scripts/${part}.lua`, import.meta.url), "utf8")).join("\n");
  const made = { text, sha: createHash("sha1").update(text).digest("hex") };
  loaded.set(name, made);
  return made;
}
