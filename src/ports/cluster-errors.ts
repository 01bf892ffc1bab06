/** What a host may throw besides its own failures. */

/** The object is not at the version the caller has seen: read it again, then decide again. */
export class Conflict extends Error {
  override readonly name = "Conflict";
}
