/** What the client throws, in the port's words. */
import { OaoError } from "../../../core/errors/errors.ts";
import { StoreFull, StoreUnavailable } from "../../../ports/store-errors.ts";

/** Replies that say "not now": nothing was applied. Users of a restarted Redis lack their rights until the operator sets them again. */
const later = new Set([
  "LOADING",
  "READONLY",
  "MASTERDOWN",
  "BUSY",
  "MISCONF",
  "NOREPLICAS",
  "TRYAGAIN",
  "CLUSTERDOWN",
  "NOAUTH",
  "WRONGPASS",
  "NOPERM",
  "NOSCRIPT",
]);

/** The first word of an error reply, such as NOSCRIPT; undefined when the connection, not the server, failed. */
export function replyCode(error: unknown): string | undefined {
  return error instanceof Error && error.name === "ReplyError" ? error.message.split(" ", 1)[0] : undefined;
}

/** Never resent here: the caller sends the same command again (J6). */
export function translate(error: unknown): unknown {
  if (error instanceof OaoError || error instanceof TypeError || error instanceof SyntaxError) return error;
  const code = replyCode(error);
  const message = error instanceof Error ? error.message : String(error);
  // The client's own words are about an option of its.
  const told = message.includes("enableOfflineQueue") ? "the connection is lost" : message;
  if (code === undefined) return new StoreUnavailable(`Redis did not answer: ${told}`, { cause: error });
  if (code === "OOM")
    return new StoreFull("Redis is full (maxmemory): give it more memory or shorten journal retention", {
      cause: error,
    });
  if (later.has(code)) return new StoreUnavailable(`Redis cannot serve now: ${message}`, { cause: error });
  return new OaoError("OAO_PROTOCOL", `Redis refused a command: ${message}`, { cause: error });
}
