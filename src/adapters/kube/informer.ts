/**
 * A cache of one kind of object that heals from anything: list in pages, watch from there, and after any error begin again.
 *
 * I1 An object is never replaced by an older version of itself (resourceVersions of one resource are ordered numbers).
 * I2 What the stream has passed is not believed from elsewhere: an answer to an own write enters the cache only when it is
 *    newer than the stream, so that an object deleted meanwhile does not come back.
 * I3 A watch that says nothing for `silenceMs` is over: the server ends every watch, and sends a bookmark before, earlier.
 */
import type { Clock } from "../../ports/clock.ts";
import type { KubeClient } from "./client.ts";
import { errorOf, KubeError } from "./kube-error.ts";
import { isNewer, type KubeObject, type Resource, resourcePath } from "./resources.ts";
import { eventOf, type WatchEvent } from "./watch-event.ts";

export interface InformerOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly resource: Resource;
  /** Absent = all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** What of an object is kept; managedFields never are. */
  readonly trim?: (object: T) => T;
  /** Objects per page; 500 when absent. */
  readonly pageSize?: number;
  /** How long the server keeps a watch open; 40 when absent. */
  readonly watchSeconds?: number;
  /** A watch that is silent for longer is over; 50,000 when absent. Must be longer than `watchSeconds`. */
  readonly silenceMs?: number;
  readonly backoff?: { readonly firstMs: number; readonly maxMs: number };
  /** Told of each error after which it begins again. Must not throw. */
  readonly onRestart?: (error: KubeError) => void;
}

export interface Change<T> {
  readonly type: "Added" | "Changed" | "Deleted";
  /** As it is now; as it was last when Deleted. */
  readonly object: T;
}

interface Page<T> {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly T[];
}

const pageTimeoutMs = 30_000;
/** A watch that held for this long was a working one: the next error is a first error. */
const steadyMs = 1_000;

export class Informer<T extends KubeObject> {
  readonly synced: Promise<void>;
  readonly #options: InformerOptions<T>;
  /** By namespace, by name. */
  readonly #objects = new Map<string, Map<string, T>>();
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #stop = new AbortController();
  readonly #isSynced = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;
  /** Up to here the stream has told everything. */
  #version: string | undefined;
  #failures = 0;
  #restarts = 0;
  #heardMs: number;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.#heardMs = options.clock.monotonicMs();
    this.synced = this.#isSynced.promise;
  }

  /** Times it began again after an error. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How long ago the server was last heard, milliseconds. */
  get silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#heardMs;
  }

  get(namespace: string, name: string): T | undefined {
    return this.#objects.get(namespace)?.get(name);
  }

  *values(): Generator<T> {
    for (const objects of this.#objects.values()) yield* objects.values();
  }

  /** Of one namespace. */
  in(namespace: string): Iterable<T> {
    return this.#objects.get(namespace)?.values() ?? [];
  }

  /** Called for every change of the cache, in its order. A listener that throws is not called back for it. Returns an unsubscribe function. */
  onChange(listener: (change: Change<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Repeat: no-op. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** The answer to an own write (I2). */
  remember(object: T): void {
    if (this.#version === undefined || isNewer(object.metadata.resourceVersion, this.#version)) this.#put(object);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#list();
        this.#isSynced.resolve();
        await this.#watch(this.#version);
      } catch (error) {
        if (signal.aborted) return;
        await this.#begunAgain(error);
      }
    }
  }

  async #begunAgain(thrown: unknown): Promise<void> {
    const { backoff, clock, onRestart } = this.#options;
    const error =
      thrown instanceof KubeError ? thrown : new KubeError(0, "Unreadable", String(thrown), { cause: thrown });
    // Where only the way to the server was lost, the stream goes on from where it was.
    if (!isOnTheWay(error)) this.#version = undefined;
    this.#restarts += 1;
    onRestart?.(error);
    const { firstMs, maxMs } = backoff ?? { firstMs: 200, maxMs: 15_000 };
    const delayMs = Math.min(firstMs * 2 ** Math.min(this.#failures, 10), maxMs) * (0.75 + clock.random() / 2);
    this.#failures += 1;
    await clock.sleep(Math.max(delayMs, error.retryAfterMs ?? 0), this.#stop.signal).catch(() => undefined);
  }

  #request(query: Record<string, string | number | boolean | undefined>, timeoutMs = pageTimeoutMs) {
    const { resource, namespace, labelSelector, fieldSelector } = this.#options;
    const path = resourcePath(resource, { namespace });
    return { path, query: { labelSelector, fieldSelector, ...query }, signal: this.#stop.signal, timeoutMs };
  }

  /** Pages go into the cache as they come; what none of them has is gone. Returns the version of the list. */
  async #list(): Promise<string> {
    const { client, pageSize } = this.#options;
    const seen = new Set<string>();
    let page: Page<T>;
    let next: string | undefined;
    do {
      page = await client.request<Page<T>>(this.#request({ limit: pageSize ?? 500, continue: next }));
      this.#heard();
      for (const object of page.items) {
        seen.add(keyOf(object));
        this.#put(object);
      }
      next = page.metadata.continue;
    } while (next !== undefined && next !== "");
    const version = page.metadata.resourceVersion;
    for (const object of this.values()) {
      if (!seen.has(keyOf(object)) && !isNewer(object.metadata.resourceVersion, version)) this.#drop(object);
    }
    return version;
  }

  /** Returns when the server ends the watch as it was asked to. Throws on anything else. */
  async #watch(from: string): Promise<void> {
    const { client, clock, silenceMs = 50_000, watchSeconds = 40 } = this.#options;
    // A listener of the list may have stopped it, and an event that is past is not told again.
    if (this.#stop.signal.aborted) return;
    const silence = new AbortController();
    const stop = () => silence.abort();
    this.#stop.signal.addEventListener("abort", stop, { once: true });
    const watchdog = setTimeout(() => silence.abort(), silenceMs);
    const beganMs = clock.monotonicMs();
    const query = { watch: true, allowWatchBookmarks: true, resourceVersion: from, timeoutSeconds: watchSeconds };
    const request = { ...this.#request(query, Math.min(pageTimeoutMs, silenceMs)), signal: silence.signal };
    try {
      await client.lines(request, (line) => {
        watchdog.refresh();
        this.#take(eventOf(line));
      });
      // A server that ends every watch at once is in trouble too.
      if (clock.monotonicMs() - beganMs < steadyMs) throw new KubeError(0, "Unreachable", "the watch ended at once");
      this.#heard();
    } catch (error) {
      if (!silence.signal.aborted || this.#stop.signal.aborted) throw error;
      client.dropIdleConnections();
      throw new KubeError(0, "Silent", `${request.path}: the watch said nothing for ${silenceMs} ms`);
    } finally {
      if (clock.monotonicMs() - beganMs >= steadyMs) this.#failures = 0;
      clearTimeout(watchdog);
      this.#stop.signal.removeEventListener("abort", stop);
    }
  }

  #take({ type, object }: WatchEvent<T>): void {
    if (type === "ERROR") throw errorOf(500, JSON.stringify(object), "watch");
    if (type === "ADDED" || type === "MODIFIED") this.#put(object);
    if (type === "DELETED") this.#drop(object);
    this.#version = object.metadata.resourceVersion;
    this.#heard();
  }

  #heard(): void {
    this.#heardMs = this.#options.clock.monotonicMs();
  }

  #put(object: T): void {
    const { namespace = "", name } = object.metadata;
    const objects = this.#objects.get(namespace) ?? new Map<string, T>();
    const held = objects.get(name);
    // A name that is used again is another object, and newer by its version as well.
    if (held !== undefined && !isNewer(object.metadata.resourceVersion, held.metadata.resourceVersion)) return; // I1
    const kept = this.#kept(object);
    this.#objects.set(namespace, objects.set(name, kept));
    this.#tell({ type: held === undefined ? "Added" : "Changed", object: kept });
  }

  #drop(object: T): void {
    const { namespace = "", name } = object.metadata;
    const objects = this.#objects.get(namespace);
    const held = objects?.get(name);
    if (held === undefined || isNewer(held.metadata.resourceVersion, object.metadata.resourceVersion)) return; // I1
    objects?.delete(name);
    if (objects?.size === 0) this.#objects.delete(namespace);
    this.#tell({ type: "Deleted", object: this.#kept(object) });
  }

  #kept(object: T): T {
    const { managedFields: _, ...metadata } = object.metadata;
    const kept = { ...object, metadata };
    return this.#options.trim?.(kept) ?? kept;
  }

  #tell(change: Change<T>): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch {
        // The stream goes on: a listener looks at the cache again at its own next chance.
      }
    }
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function isOnTheWay({ status, reason }: KubeError): boolean {
  return status === 429 || (status === 0 && (reason === "Unreachable" || reason === "Timeout"));
}
