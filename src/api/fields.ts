/** Reading JSON that may not have the expected shape. */

/** Any JSON object, before or after it has been validated. */
export type Fields = Readonly<Record<string, unknown>>;
export type Path = readonly (string | number)[];

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The entries of a list, or none if it is no list. */
export function listOf(self: Fields, field: string): readonly unknown[] {
  const value = self[field];
  return Array.isArray(value) ? value : [];
}

/** The object entries of a list with their indices. */
export function objectsOf(self: Fields, field: string): { readonly index: number; readonly entry: Fields }[] {
  return listOf(self, field).flatMap((entry, index) => (isFields(entry) ? [{ index, entry }] : []));
}

/** The names of a named list. */
export function namesOf(self: Fields, field: string): string[] {
  return objectsOf(self, field).flatMap(({ entry }) => (typeof entry.name === "string" ? [entry.name] : []));
}

/** Present in the sense of CEL's `has`: a null is as good as absent. */
export function has(self: Fields, field: string): boolean {
  return self[field] !== undefined && self[field] !== null;
}
