/** Whether a Redis keeps what it acknowledged through a crash (J2-J4, B1): the condition CheckpointsDurable. */
import type { Redis } from "ioredis";
import type { Durability } from "../../../ports/store.ts";
import { replyCode } from "./errors.ts";

/** Setting, the value it must have, and what goes wrong otherwise. */
const needed = [
  ["appendonly", "yes", "without it a restart loses everything since the last snapshot"],
  ["appendfsync", "always", "with any other value a crash loses acknowledged writes"],
  ["no-appendfsync-on-rewrite", "no", "otherwise acknowledged writes are not synced while the log is rewritten"],
  ["aof-load-truncated", "no", "otherwise a log that was cut short is loaded without a word"],
  ["maxmemory-policy", "noeviction", "any other value lets Redis drop journals"],
] as const;

/** False also when nobody may ask; the reasons say so. */
export async function readDurability(redis: Redis): Promise<Durability> {
  let settings: Map<string, string>;
  try {
    const pairs = await redis.config(
      "GET",
      "append*",
      "save",
      "no-appendfsync-on-rewrite",
      "aof-load-truncated",
      "maxmemory-policy",
    );
    settings = new Map(
      pairs.flatMap((name, place) => (place % 2 === 0 ? [[name, pairs[place + 1] ?? ""] as const] : [])),
    );
  } catch (error) {
    const code = replyCode(error);
    // A server that is still loading will answer later; one that refuses will not.
    if (code !== "NOPERM" && code !== "ERR") throw error;
    return {
      durable: false,
      unfit: [],
      reasons: [`unknown: this Redis does not let us read its settings (${(error as Error).message})`],
    };
  }
  const log = await logReader(redis);
  const reasons = needed.flatMap(([name, value, why]) => {
    const found = settings.get(name);
    if (found === undefined) return [`${name} is unknown: this Redis does not show it`];
    return found === value ? [] : [`${name} is ${found}: set it to ${value}, ${why}`];
  });
  return {
    durable: reasons.length === 0 && log.length === 0,
    reasons: [...reasons, ...log],
    unfit: [...unfitOf(settings), ...log],
  };
}

/**
 * Redis reads its own log as the user `default`, whether that may log in or not; what this user may not do is refused then, and
 * every transaction of a script with it (redis/redis#14541). Empty where nobody may ask.
 */
async function logReader(redis: Redis): Promise<string[]> {
  try {
    const answer = (await redis.call("ACL", "GETUSER", "default")) as readonly unknown[];
    const of = (name: string) => answer[answer.indexOf(name) + 1];
    const mayAll = String(of("commands")).split(" ").includes("+@all") && String(of("commands")).trim() === "+@all";
    if (mayAll && String(of("keys")).includes("~*")) return [];
    return [
      "the user default may not do everything, so Redis refuses its own log at a restart (redis/redis#14541): ACL SETUSER default ~* &* +@all (it may stay off)",
    ];
  } catch (error) {
    if (replyCode(error) === "NOPERM" || replyCode(error) === "ERR") return [];
    throw error;
  }
}

/** What loses journals without any crash. Settings that are not shown are given the benefit of the doubt. */
function unfitOf(settings: ReadonlyMap<string, string>): string[] {
  const eviction = settings.get("maxmemory-policy") ?? "noeviction";
  const onDisk = settings.get("appendonly") !== "no" || settings.get("save") !== "";
  return [
    ...(eviction === "noeviction" ? [] : [`maxmemory-policy is ${eviction}: set it to noeviction`]),
    ...(onDisk ? [] : ["appendonly is no and save is empty, so nothing is kept on disk: set appendonly to yes"]),
  ];
}

/** Share of maxmemory that is used, from the memory section of INFO; 0 without a limit. */
export function fillOf(info: string): number {
  const figure = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
  const limit = figure("maxmemory");
  return limit === 0 ? 0 : figure("used_memory") / limit;
}
