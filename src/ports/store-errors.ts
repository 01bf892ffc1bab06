/** What any store may throw besides replies. */
import { OaoError } from "../core/errors/errors.ts";

/** Nothing is known about the command's effect: send the very same command again (J6). */
export class StoreUnavailable extends OaoError {
  override readonly name = "StoreUnavailable";
  constructor(message: string, options?: { cause?: unknown }) {
    super("OAO_STORE_UNAVAILABLE", message, options);
  }
}

/** Nothing was applied: the store has no room. Wait and send again. */
export class StoreFull extends OaoError {
  override readonly name = "StoreFull";
  constructor(message: string, options?: { cause?: unknown }) {
    super("OAO_STORE_FULL", message, options);
  }
}
