/** One kind of object in several namespaces, or all: one informer each, one face. */
import { Informer, type Change, type InformerOptions } from "./informer.ts";
import type { KubeObject } from "./resources.ts";

export class Cache<T extends KubeObject> {
  readonly #informers: ReadonlyMap<string, Informer<T>>;

  /** `namespaces` empty = all of them. */
  constructor(namespaces: readonly string[], options: Omit<InformerOptions<T>, "namespace">) {
    this.#informers =
      namespaces.length === 0
        ? new Map([["", new Informer<T>(options)]])
        : new Map(namespaces.map((namespace) => [namespace, new Informer<T>({ ...options, namespace })]));
  }

  async start(): Promise<void> {
    for (const informer of this.#informers.values()) informer.start();
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()));
  }

  get(namespace: string, name: string): T | undefined {
    return this.#of(namespace)?.get(namespace, name);
  }

  *values(): Generator<T> {
    for (const informer of this.#informers.values()) yield* informer.values();
  }

  /** Of one namespace. */
  in(namespace: string): Iterable<T> {
    return this.#of(namespace)?.in(namespace) ?? [];
  }

  remember(object: T): void {
    this.#of(object.metadata.namespace ?? "")?.remember(object);
  }

  onChange(listener: (change: Change<T>) => void): void {
    for (const informer of this.#informers.values()) informer.onChange(listener);
  }

  get restarts(): number {
    return [...this.#informers.values()].reduce((sum, informer) => sum + informer.restarts, 0);
  }

  /** The longest silence of any of its watches, milliseconds. */
  get silentMs(): number {
    return Math.max(...[...this.#informers.values()].map((informer) => informer.silentMs));
  }

  #of(namespace: string): Informer<T> | undefined {
    return this.#informers.get(namespace) ?? this.#informers.get("");
  }
}
