/** What any store may throw besides replies. */

/** Nothing is known about the command's effect: send the very same command again (J6). */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
  readonly code = "OAO_STORE_UNAVAILABLE";
}

/** Nothing was applied: the store has no room. Wait and send again. */
export class StoreFull extends Error {
  override readonly name = "StoreFull";
  readonly code = "OAO_STORE_FULL";
}
