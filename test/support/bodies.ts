/** The bodies of a record that is made by hand, packed as the worker packs them. */
import type { Json } from "../../src/core/digest/json.ts";
import type { StoredBody } from "../../src/core/protocol/types.ts";
import { packBody } from "../../src/core/steps/bodies.ts";

export class Bodies {
  readonly stored = new Map<string, string>();
  /** Keeps the value and gives its digest. */
  readonly put = (value: Json): string => {
    const packed = packBody(value);
    for (const body of packed.bodies) this.stored.set(body.digest, body.bytes);
    return packed.digest;
  };
}

/** As a store takes them. */
export function listed(bodies: ReadonlyMap<string, string>): readonly StoredBody[] {
  return [...bodies].map(([digest, bytes]) => ({ digest, bytes }));
}
