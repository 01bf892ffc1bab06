import { type Fields, listOf, objectsOf, type Path } from "./fields.ts";

/** One place where a rule is broken; `path` starts at the rule's `self`. */
export interface Breach {
  readonly path: Path;
  readonly message: string;
  /** What to do, where the message does not say it. */
  readonly hint?: string;
  /** For a name that stands for nothing: the name and those that would be right. */
  readonly unknownName?: { readonly name: string; readonly known: readonly string[] };
}

export interface Rule {
  readonly code: string;
  /** Where `self` is, from the root; `*` stands for every entry of a list. */
  readonly at: readonly string[];
  /** One sentence for all breaches, as the API server prints it. */
  readonly message: string;
  /** CEL over `self`; undefined where the structure says it (list-map-keys refuse a duplicate). */
  readonly cel: string | undefined;
  /** The field below `self` that the API server names; undefined = self. */
  readonly fieldPath?: string;
  /** Every breach in `self`; fields of a wrong type are passed over. */
  readonly check: (self: Fields) => readonly Breach[];
}

/** A rule for changes, of the spec. */
export interface UpdateRule {
  readonly code: string;
  readonly at: readonly string[];
  readonly message: string;
  readonly cel: string;
  readonly fieldPath: string;
  readonly allows: (before: Fields, after: Fields) => boolean;
}

/** A breach for each entry of a list whose key an earlier entry has. */
export function duplicates(self: Fields, list: string, key: string): Breach[] {
  const first = new Map<string, number>();
  return objectsOf(self, list).flatMap(({ index, entry }) => {
    const value = entry[key];
    if (typeof value !== "string") return [];
    const before = first.get(value);
    if (before === undefined) {
      first.set(value, index);
      return [];
    }
    return [
      {
        path: [list, index, key],
        message: `${key} "${value}" is already used by ${list}[${before}]`,
        hint: "give one of them another name",
      },
    ];
  });
}

/** Entries of a list of names that stand there before. */
export function repeats(self: Fields, list: string): Breach[] {
  const first = new Map<unknown, number>();
  return listOf(self, list).flatMap((value, index) => {
    const before = first.get(value);
    if (before === undefined) first.set(value, index);
    return before === undefined || typeof value !== "string"
      ? []
      : [{ path: [list, index], message: `"${value}" is ${list}[${before}] already`, hint: "remove one of them" }];
  });
}
