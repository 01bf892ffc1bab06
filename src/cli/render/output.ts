import { CliError } from "../errors.ts";

export const outputFormats = ["table", "json", "yaml", "jsonl"] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** JSON with two spaces, or YAML, with a line feed at the end. */
export async function structured(value: unknown, format: "json" | "yaml"): Promise<string> {
  if (format === "json") return `${JSON.stringify(value, undefined, 2)}\n`;
  const { stringify } = await import("./yaml.ts");
  return stringify(value, { lineWidth: 0 });
}

/** Throws CliError naming the formats that this command has. */
export function checkFormat<F extends OutputFormat>(format: string | undefined, allowed: readonly F[]): F | undefined {
  if (format === undefined) return undefined;
  const found = allowed.find((one) => one === format);
  if (found === undefined) throw new CliError(`-o ${format} is not one of ${allowed.join(", ")}`);
  return found;
}
