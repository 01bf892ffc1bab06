/**
 * Addresses of the API. No name in them ever needs an escape, so a path with a percent sign, an empty part or a dot part is
 * simply not one of ours: there is nothing to normalise, and so nothing to get wrong.
 */

/** Parts of a path, or the name of what may stand there in braces: /executions/{namespace}/{name}/trace. */
export type PathTemplate = `/${string}`;

export interface Target {
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
}

export const targetLengthMax = 2_048;
const plainPath = /^(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)+$/;

/** Of the request line; undefined = no address of ours. A parameter given twice counts as wrong, so that nobody reads another one. */
export function parseTarget(target: string): Target | undefined {
  const [path = "", search, ...others] = target.split("?");
  if (!plainPath.test(path) || others.length > 0) return undefined;
  const query = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(search ?? "")) {
    if (query.has(name)) return undefined;
    query.set(name, value);
  }
  return { path, query };
}

/** What stands for the names in braces; undefined = another path. */
export function matchPath(template: PathTemplate, path: string): Readonly<Record<string, string>> | undefined {
  const wanted = template.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return undefined;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    const name = /^\{(\w+)\}$/.exec(part)?.[1];
    if (name === undefined && part !== value) return undefined;
    if (name !== undefined) found[name] = value;
  }
  return found;
}
