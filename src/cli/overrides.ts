/** `--input k=v` and `--set path=v`: changes to a manifest before it is looked at. */
import { type Json, setOwn } from "../core/digest/json.ts";
import { CliError } from "./errors.ts";

export interface Override {
  readonly path: readonly string[];
  readonly value: Json;
}

/** `topic=heat pumps` or `limits={"n":3}`: what is JSON is taken as JSON, anything else as text. */
export function inputOverride(text: string): Override {
  const { path, value } = split(text, "--input");
  return { path: ["spec", "input", path], value };
}

/** `spec.models.main.baseURL=http://…`: fields by dots, entries of a named list by name, of any list by [number]. */
export function setOverride(text: string): Override {
  const { path, value } = split(text, "--set");
  const steps = [...path.matchAll(/\[(?:"([^"]+)"|([^\]]+))\]|[^.[\]]+/g)].map(
    (match) => match[1] ?? match[2] ?? match[0],
  );
  if (steps.length === 0)
    throw new CliError(`--set ${text}: there is no field before "="`, ["as in --set spec.parallelism=2"]);
  // Only spec can be set: a name is given with --name.
  return { path: steps[0] === "spec" ? steps : ["spec", ...steps], value };
}

function split(text: string, flag: string): { path: string; value: Json } {
  const at = text.indexOf("=");
  if (at < 1)
    throw new CliError(`${flag} ${text}: expected name=value`, [
      `as in ${flag} ${flag === "--input" ? "topic=heat-pumps" : "spec.parallelism=2"}`,
    ]);
  return { path: text.slice(0, at), value: valueOf(text.slice(at + 1)) };
}

function valueOf(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

/** A copy with each override applied. Throws CliError for a path that leads nowhere. */
export function applyOverrides(root: Json, overrides: readonly Override[]): Json {
  return overrides.reduce((value, override) => setAt(value, override.path, override), root);
}

function setAt(at: Json | undefined, path: readonly string[], override: Override): Json {
  const [step, ...rest] = path;
  if (step === undefined) return override.value;
  if (Array.isArray(at)) {
    const list = at as readonly Json[];
    const index = entryOf(list, step);
    if (index === undefined) throw missing(step, list, override);
    return list.map((entry, place) => (place === index ? setAt(entry, rest, override) : entry));
  }
  if (at !== undefined && at !== null && typeof at !== "object")
    throw new CliError(
      `--set ${override.path.join(".")}: there is no field ${step} in a value that is ${JSON.stringify(at)}`,
    );
  const copy: Record<string, Json> = {};
  for (const [key, value] of Object.entries(at ?? {})) setOwn(copy, key, value);
  setOwn(copy, step, setAt(copy[step], rest, override));
  return copy;
}

function entryOf(list: readonly Json[], step: string): number | undefined {
  const named = list.findIndex((entry) => nameOf(entry) === step);
  if (named >= 0) return named;
  const index = Number(step);
  return /^\d+$/.test(step) && index < list.length ? index : undefined;
}

function nameOf(entry: Json): Json | undefined {
  return entry !== null && typeof entry === "object" && !Array.isArray(entry)
    ? (entry as { readonly name?: Json }).name
    : undefined;
}

function missing(step: string, list: readonly Json[], override: Override): CliError {
  const names = list.map(nameOf).filter((name) => typeof name === "string");
  const known = names.length === 0 ? `it has ${list.length} entries, from [0]` : `it has ${names.join(", ")}`;
  return new CliError(`--set ${override.path.join(".")}: the list has no entry ${step}; ${known}`);
}
