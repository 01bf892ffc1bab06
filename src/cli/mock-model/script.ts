/**
 * The YAML script of the scripted model server: what it may hold, and how a mistake in it is reported.
 * Answer fields and behaviour fields stand side by side in `reply`, so that a rule is two short lines.
 */
import { closest } from "fastest-levenshtein";
import { LineCounter, parseDocument, type Document } from "yaml";
import { z } from "zod";

const FILLER_TOKENS_MAX = 10_000_000;

/** An object that refuses unknown fields and names the allowed ones. */
function closed<Shape extends z.ZodRawShape>(shape: Shape) {
  const allowed = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === "unrecognized_keys") {
        const unknown = issue["keys"]
          .map((key) => `unknown field \`${key}\` (did you mean \`${closest(key, allowed)}\`?)`)
          .join(", ");
        return `${unknown}; allowed: ${allowed.join(", ")}`;
      }
      return `must be an object with the fields ${allowed.join(", ")}`;
    },
  });
}

const count = z.int("must be a whole number of tokens, 0 or more").min(0, "must be 0 or more");
const milliseconds = z
  .number("must be a number of milliseconds")
  .min(0, "must be 0 or more")
  .max(3_600_000, "must be at most 3600000 (an hour)");
const jsonObject = z.record(z.string(), z.json(), { error: "must be an object" });

const usageModes = ["Exact", "Missing", "Zero", "Low", "High"] as const;
const usage = z.union([z.enum(usageModes), closed({ inputTokens: count, outputTokens: count })], {
  error: `must be one of ${usageModes.join(", ")}, or { inputTokens, outputTokens }`,
});

const behaviourShape = {
  tokensPerSecond: z.number("must be a number; 0 is full speed").min(0, "must be 0 (full speed) or more").optional(),
  delayMsPerToken: milliseconds.optional(),
  headerDelayMs: milliseconds.optional(),
  firstTokenDelayMs: milliseconds.optional(),
  stallAfterTokens: count.optional(),
  cutAfterTokens: count.optional(),
  endAfterTokens: count.optional(),
  errorAfterTokens: count.optional(),
  usage: usage.optional(),
  ignoreMaxTokens: z.boolean("must be true or false").optional(),
};

const faultFields = ["stallAfterTokens", "cutAfterTokens", "endAfterTokens", "errorAfterTokens"] as const;
const paceFields = ["tokensPerSecond", "delayMsPerToken"] as const;

type BehaviourFields = z.output<z.ZodObject<typeof behaviourShape>>;

function atMostOne(value: BehaviourFields, fields: readonly (keyof BehaviourFields)[], context: z.RefinementCtx): void {
  const given = fields.filter((field) => value[field] !== undefined);
  if (given.length > 1) {
    context.addIssue({
      code: "custom",
      path: [given[1] ?? ""],
      message: `give only one of ${fields.join(", ")}; found ${given.join(" and ")}`,
    });
  }
}

function checkBehaviour(value: BehaviourFields, context: z.RefinementCtx): void {
  atMostOne(value, faultFields, context);
  atMostOne(value, paceFields, context);
}

const toolCall = closed({
  name: z.string("must be the name of a tool").min(1, "must not be empty"),
  arguments: jsonObject.default({}),
});

const contentFields = ["text", "json", "structured", "tokens"] as const;

const reply = closed({
  text: z.string("must be a string").optional(),
  json: z.json().optional(),
  structured: jsonObject.optional(),
  tokens: count.max(FILLER_TOKENS_MAX, `must be at most ${FILLER_TOKENS_MAX}`).optional(),
  toolCalls: z
    .array(toolCall, "must be a list of { name, arguments }")
    .min(1, "must hold at least one call")
    .optional(),
  malformedToolArguments: z.boolean("must be true or false").optional(),
  status: z
    .int("must be an HTTP error status")
    .min(400, "must be between 400 and 599")
    .max(599, "must be between 400 and 599")
    .optional(),
  retryAfterSeconds: z.int("must be whole seconds").min(0, "must be 0 or more").optional(),
  errorCode: z.string("must be a string, for example insufficient_quota").optional(),
  errorMessage: z.string("must be a string").optional(),
  ...behaviourShape,
}).superRefine((value, context) => {
  checkBehaviour(value, context);
  const contents = contentFields.filter((field) => value[field] !== undefined);
  const answers = contents.length > 0 || value.toolCalls !== undefined;
  if (contents.length > 1) {
    context.addIssue({
      code: "custom",
      message: `give only one of ${contentFields.join(", ")}; found ${contents.join(" and ")}`,
    });
  }
  if (value.structured !== undefined && value.toolCalls !== undefined) {
    context.addIssue({ code: "custom", message: "structured answers alone; put toolCalls into a rule of its own" });
  }
  if (answers === (value.status !== undefined)) {
    context.addIssue({
      code: "custom",
      message: answers
        ? "a reply is an answer or an error: remove status or the answer"
        : `a reply needs one of ${contentFields.join(", ")}, toolCalls, or status for an error`,
    });
  }
});

const substring = z.string("must be a string: the text that has to occur").min(1, "must not be empty");

const match = closed({
  model: z.string("must be a model name; * stands for any text").min(1, "must not be empty").optional(),
  system: substring.optional(),
  prompt: substring.optional(),
  lastUser: substring.optional(),
  lastTool: z.string("must be the name of a tool").min(1, "must not be empty").optional(),
  turn: z.int("must be the number of answers already in the request").min(0, "must be 0 or more").optional(),
  tools: z.array(z.string("must be the name of a tool"), "must be a list of tool names").optional(),
  times: z.int("must be a whole number").min(1, "must be 1 or more").optional(),
});

const rule = closed({
  name: z.string("must be a string").max(100, "must be at most 100 characters").optional(),
  match: match.default({}),
  reply,
});

const scriptSchema = closed({
  models: z.array(z.string("must be a model name"), "must be a list of model names").optional(),
  randomIds: z.boolean("must be true or false").default(true),
  defaults: closed(behaviourShape).superRefine(checkBehaviour).default({}),
  rules: z.array(rule, "must be a list of { match, reply }").min(1, "must hold at least one rule").max(10_000),
});

/** A script as a person writes it (in YAML or as an object in a test). */
export type MockScriptInput = z.input<typeof scriptSchema>;
/** A checked script. */
export type MockScript = z.output<typeof scriptSchema>;
export type MockRule = MockScript["rules"][number];
export type MockReply = MockRule["reply"];
export type MockBehaviour = MockScript["defaults"];

/** A script that cannot be used; `problems` holds every mistake with file, line and path. */
export class ScriptError extends Error {
  override readonly name = "ScriptError";
  readonly problems: readonly string[];

  constructor(fileName: string, problems: readonly string[]) {
    super(`${fileName} is not a usable mock-model script:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

function showPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : `${text}${text === "" ? "" : "."}${String(part)}`),
    "",
  );
}

/** The line of the deepest part of `path` that the document holds. */
function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] | null } | undefined;
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

/**
 * Check a script given as a value. Throws ScriptError listing every problem.
 * `locate` turns a field path into the place that a message starts with.
 */
export function parseScript(
  value: unknown,
  fileName: string,
  locate: (path: readonly PropertyKey[]) => string = () => fileName,
): MockScript {
  const parsed = scriptSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ScriptError(
    fileName,
    parsed.error.issues.map((issue) => {
      const path = showPath(issue.path);
      const message = issue.message.replace("Invalid input: expected nonoptional, received undefined", "is required");
      return `${locate(issue.path)}: ${path === "" ? "" : `${path}: `}${message}`;
    }),
  );
}

/**
 * Read a YAML script. `fileName` appears in messages only.
 * Throws ScriptError with `file:line: path: what is wrong and what is allowed` for every problem.
 */
export function loadScript(text: string, fileName: string): MockScript {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new ScriptError(
      fileName,
      document.errors.map((error) => `${fileName}:${lines.linePos(error.pos[0]).line}: not YAML: ${error.message}`),
    );
  }
  return parseScript(document.toJS(), fileName, (path) => `${fileName}:${lineOf(document, lines, path)}`);
}

/** A reply with the script's defaults under it. A pace or a fault of the reply replaces the default one as a whole. */
export function withDefaults(reply: MockReply, defaults: MockBehaviour): MockReply {
  const base: Record<string, unknown> = { ...defaults };
  for (const group of [faultFields, paceFields]) {
    if (group.some((field) => reply[field] !== undefined)) for (const field of group) delete base[field];
  }
  return { ...base, ...reply };
}
