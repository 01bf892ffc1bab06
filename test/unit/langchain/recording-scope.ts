/** A step scope in memory: the first run makes the calls and records them, a second one only reads the record. */
import { canonicalJson } from "../../../src/core/digest/digest.ts";
import type { Json, JsonObject } from "../../../src/core/digest/json.ts";
import { modelRequestDigest } from "../../../src/core/steps/identity.ts";
import {
  type LiveCall,
  type ModelAnswer,
  type ModelRequest,
  RecordedFailure,
  type StepScope,
  type ToolRequest,
} from "../../../src/ports/step.ts";

export type Recorded =
  | { readonly digest: string; readonly output: string }
  | { readonly digest: string; readonly failure: { readonly class: string; readonly message: string } };

export interface ScopeOptions {
  readonly record?: Map<string, Recorded>;
  readonly tools?: Readonly<Record<string, (args: never, path: string) => Promise<Json> | Json>>;
  readonly call?: Partial<LiveCall>;
}

export class RecordingScope implements StepScope {
  readonly path = [];
  readonly steps = new Map<string, Recorded>();
  readonly requests: ModelRequest[] = [];
  readonly answers: ModelAnswer[] = [];
  readonly metered: string[] = [];
  /** Paths in the order in which calls entered. */
  readonly entered: string[] = [];
  #live = 0;
  readonly #options: ScopeOptions;

  constructor(options: ScopeOptions = {}) {
    this.#options = options;
  }

  get live(): number {
    return this.#live;
  }

  async model(o: number, request: ModelRequest, live: (call: LiveCall) => Promise<ModelAnswer>): Promise<JsonObject> {
    this.requests.push(request);
    const { digest } = modelRequestDigest(request.header, request.messages);
    const output = await this.#step(`${o},0`, digest, async () => {
      const answer = await live({
        signal: new AbortController().signal,
        outputCap: undefined,
        meter: (piece) => Promise.resolve(void this.metered.push(piece)),
        idempotencyKey: "key",
        ...this.#options.call,
      });
      this.answers.push(answer);
      return answer.message;
    });
    return output as JsonObject;
  }

  async tool(o: number, i: number, request: ToolRequest): Promise<Json> {
    const path = `${o},${1 + i}`;
    return this.#step(path, canonicalJson(request), async () => {
      const run = this.#options.tools?.[request.tool];
      if (run === undefined) throw new Error(`no tool ${request.tool}`);
      return run(request.arguments as never, path);
    });
  }

  value(): Promise<Json> {
    return Promise.reject(new Error("not used"));
  }

  async #step(path: string, digest: string, make: () => Promise<Json>): Promise<Json> {
    this.entered.push(path);
    const recorded = this.#options.record?.get(path);
    if (this.#options.record !== undefined && recorded?.digest !== digest) throw new Error(`divergence at ${path}`);
    const step = recorded ?? (await this.#make(digest, make));
    this.steps.set(path, step);
    if ("failure" in step) throw new RecordedFailure(step.failure.class, step.failure.message);
    return JSON.parse(step.output) as Json;
  }

  async #make(digest: string, make: () => Promise<Json>): Promise<Recorded> {
    this.#live += 1;
    try {
      return { digest, output: canonicalJson(await make()) };
    } catch (error) {
      if (!(error instanceof RecordedFailure)) throw error;
      return { digest, failure: { class: error.failureClass, message: error.message } };
    }
  }

  /** Everything recorded, as bytes, in the order of paths. */
  bytes(): string {
    return canonicalJson([...this.steps].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}
