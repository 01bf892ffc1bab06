/** StepScope: the recorded calls of one scope. Paths and occurrences are fixed synchronously at call entry (J5). */
import type { Json, JsonObject } from "../core/digest/json.ts";
import { type RequestDigest, toolRequestDigest, valueDigest } from "../core/steps/identity.ts";
import type { LiveCall, ModelAnswer, ModelRequest, StepPath, StepScope, ToolRequest } from "../ports/step.ts";
import { digestOf, modelIdentity, modelStep, type PreviousRequest, toolCallsOf } from "./model-step.ts";
import type { NodeContext } from "./node-context.ts";
import { type CallIdentity, keyOf, Recorder } from "./recorder.ts";
import { toolStep } from "./tool-step.ts";

/** What becomes of calls once it is fixed which step each is: made and recorded, or answered from a record. */
export interface StepCalls {
  model(
    identity: CallIdentity,
    request: ModelRequest,
    digest: RequestDigest,
    previous: PreviousRequest | undefined,
    live: (call: LiveCall) => Promise<ModelAnswer>,
  ): Promise<{ readonly message: JsonObject; readonly previous: PreviousRequest | undefined }>;
  tool(identity: CallIdentity, request: ToolRequest, inside: () => StepScope): Promise<Json>;
  value(identity: CallIdentity, make: () => Json): Promise<Json>;
  /** Told of each call of a model or a tool before it is made. */
  count(requestDigest: string): void;
}

/** A node's own scope, whose calls are made and recorded. */
export function stepScope(context: NodeContext): StepScope {
  return scopeOver({
    model: (identity, request, digest, previous, live) => modelStep(context, identity, request, digest, previous, live),
    tool: (identity, request, inside) => toolStep(context, identity, request, inside),
    async value(identity, make) {
      const known = context.values.get(keyOf(identity));
      if (known !== undefined) return known;
      const recorder = new Recorder(context);
      const found = await recorder.lookup(identity);
      if (found !== undefined) return found.output;
      const made = make();
      await recorder.value(identity, made);
      return made;
    },
    count: (digest) => void context.callCounts.set(digest, (context.callCounts.get(digest) ?? 0) + 1),
  });
}

/** The calls below `path`; [] is a node's own scope. */
export function scopeOver(calls: StepCalls, path: StepPath = []): StepScope {
  return new Scope(calls, path);
}

class Scope implements StepScope {
  readonly path: StepPath;
  readonly #calls: StepCalls;
  #previous: PreviousRequest | undefined;
  #values = 0;
  /** Content -> how often it was seen in this scope. */
  readonly #seen = new Map<string, number>();
  /** Content of a tool call -> the places, in message order, where the model asked for it. */
  readonly #asked = new Map<string, string[]>();

  constructor(calls: StepCalls, path: StepPath) {
    this.#calls = calls;
    this.path = path;
  }

  async model(o: number, request: ModelRequest, live: (call: LiveCall) => Promise<ModelAnswer>): Promise<JsonObject> {
    const digest = digestOf(request);
    const identity = modelIdentity([...this.path, o, 0], request, digest, this.#occurrence(digest.digest));
    this.#calls.count(digest.digest);
    const { message, previous } = await this.#calls.model(identity, request, digest, this.#previous, live);
    this.#previous = previous;
    for (const [i, call] of toolCallsOf(message).entries())
      this.#ask(toolRequestDigest(call.name, call.arguments), `${o}.${i}`);
    return message;
  }

  async tool(o: number, i: number, request: ToolRequest): Promise<Json> {
    const digest = toolRequestDigest(request.tool, request.arguments);
    const path = [...this.path, o, 1 + i];
    const identity: CallIdentity = {
      path,
      kind: "tool",
      name: request.tool,
      requestDigest: digest,
      occurrence: this.#toolOccurrence(digest, `${o}.${i}`),
    };
    this.#calls.count(digest);
    return this.#calls.tool(identity, request, () => scopeOver(this.#calls, path));
  }

  async value(name: string, make: () => Json): Promise<Json> {
    const digest = valueDigest(name);
    const identity: CallIdentity = {
      path: [...this.path, this.#values, 0],
      kind: "value",
      name,
      requestDigest: digest,
      occurrence: this.#occurrence(digest),
    };
    this.#values += 1;
    return this.#calls.value(identity, make);
  }

  #occurrence(digest: string): number {
    const seen = this.#seen.get(digest) ?? 0;
    this.#seen.set(digest, seen + 1);
    return seen;
  }

  #ask(digest: string, place: string): void {
    this.#asked.set(digest, [...(this.#asked.get(digest) ?? []), place]);
  }

  /** Equal calls of one message start in any order, so their place in the message decides, not their arrival. */
  #toolOccurrence(digest: string, place: string): number {
    const asked = this.#asked.get(digest)?.indexOf(place) ?? -1;
    return asked >= 0 ? asked : this.#occurrence(digest);
  }
}
