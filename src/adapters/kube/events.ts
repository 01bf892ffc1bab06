/** Kubernetes Events: what a person would ask about, said once. Telemetry: it never throws and keeps nobody waiting. */
import { sha256Hex } from "../../core/digest/digest.ts";
import type { Clock } from "../../ports/clock.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import { apiVersion } from "../../api/common.ts";
import type { KubeClient } from "./client.ts";
import { isKubeError } from "./kube-error.ts";
import { resourcePath, resources } from "./resources.ts";

export interface EventRecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Name of the controller, as in "oao.dev/operator". */
  readonly controller: string;
  /** Of this process; at most 128 characters are kept. */
  readonly instance: string;
}

export interface RunEvent {
  readonly regarding: Pick<StoredExecution, "key" | "uid">;
  readonly type: "Normal" | "Warning";
  /** One word in CamelCase: why. */
  readonly reason: string;
  /** One word in CamelCase: what was done about it. */
  readonly action: string;
  /** For people; at most 1,024 bytes are kept. */
  readonly note: string;
}

interface Told {
  readonly name: string;
  count: number;
}

/** Waiting to be sent; more are dropped and counted. */
const queueMax = 1_000;
/** Events whose repeats are counted in the same object; the oldest are forgotten. */
const toldMax = 4_096;
const noteBytesMax = 1_024;

export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #queue = new Map<string, { readonly event: RunEvent; count: number }>();
  readonly #told = new Map<string, Told>();
  #sending: Promise<void> | undefined;
  #dropped = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Events that could not be told: too many at once, or refused. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The same about the same object is one Event with a count. Returns at once, never throws. */
  record(event: RunEvent): void {
    const id = [event.regarding.uid, event.type, event.reason, event.action, event.note].join("\0");
    const waiting = this.#queue.get(id);
    if (waiting !== undefined) waiting.count += 1;
    else if (this.#queue.size >= queueMax) this.#dropped += 1;
    else this.#queue.set(id, { event, count: 1 });
    this.#sending ??= this.#send().finally(() => (this.#sending = undefined));
  }

  /** Resolves when what was recorded so far is told or dropped. */
  async flush(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
  }

  async #send(): Promise<void> {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const [id, { event, count }] = next;
      try {
        await this.#tell(id, event, count);
      } catch {
        this.#dropped += count;
      }
    }
  }

  #next() {
    const [first] = this.#queue;
    if (first !== undefined) this.#queue.delete(first[0]);
    return first;
  }

  async #tell(id: string, event: RunEvent, count: number): Promise<void> {
    const { client, clock } = this.#options;
    const { namespace } = event.regarding.key;
    const now = new Date(clock.nowMs()).toISOString().replace("Z", "000Z");
    const told = this.#told.get(id);
    if (told !== undefined) {
      told.count += count;
      const path = resourcePath(resources.events, { namespace, name: told.name });
      const body = { series: { count: told.count, lastObservedTime: now } };
      try {
        await client.request({ method: "PATCH", patch: "Merge", path, body });
        return;
      } catch (error) {
        // Events are kept for an hour: then it is told as a new one.
        if (!isKubeError(error, 404)) throw error;
      }
    }
    const name = `${event.regarding.key.name.slice(0, 200)}.${sha256Hex(`${id}\0${clock.uuid()}`).slice(0, 16)}`;
    await client.request({
      method: "POST",
      path: resourcePath(resources.events, { namespace }),
      body: this.#object(name, event, count, now),
      repeatable: true,
    });
    this.#told.delete(id);
    this.#told.set(id, { name, count });
    const [oldest] = this.#told.keys();
    if (this.#told.size > toldMax && oldest !== undefined) this.#told.delete(oldest);
  }

  #object(name: string, { regarding, type, reason, action, note }: RunEvent, count: number, now: string) {
    const { key, uid } = regarding;
    return {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: { name, namespace: key.namespace },
      eventTime: now,
      type,
      reason: reason.slice(0, 128),
      action: action.slice(0, 128),
      note: Buffer.from(note)
        .subarray(0, noteBytesMax - 3)
        .toString("utf8"),
      regarding: { apiVersion, kind: "Execution", namespace: key.namespace, name: key.name, uid },
      reportingController: this.#options.controller,
      reportingInstance: this.#options.instance.slice(0, 128),
      ...(count > 1 ? { series: { count, lastObservedTime: now } } : {}),
    };
  }
}
