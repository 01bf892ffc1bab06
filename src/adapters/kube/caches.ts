/** One kind of object in several namespaces, or all: one informer each, one face. */
import type { KubeError } from "./kube-error.ts";
import { Informer, type Change, type InformerOptions } from "./informer.ts";
import type { KubeObject } from "./resources.ts";

export class Cache<T extends KubeObject> {
  readonly #informers: ReadonlyMap<string, Informer<T>>;

  /** `namespaces` empty = all of them. `onRestart` is told which. */
  constructor(
    namespaces: readonly string[],
    {
      onRestart,
      ...options
    }: Omit<InformerOptions<T>, "namespace" | "onRestart"> & {
      readonly onRestart: (error: KubeError, namespace: string) => void;
    },
  ) {
    const informerOf = (namespace: string) =>
      new Informer<T>({
        ...options,
        ...(namespace === "" ? {} : { namespace }),
        onRestart: (error) => onRestart(error, namespace),
      });
    const watched = namespaces.length === 0 ? [""] : namespaces;
    this.#informers = new Map(watched.map((namespace) => [namespace, informerOf(namespace)]));
  }

  start(): void {
    for (const informer of this.#informers.values()) informer.start();
  }

  /** Resolves when everything of the namespace is here; "" = of all of them, where all are watched. */
  async synced(namespace: string): Promise<void> {
    await this.#informers.get(namespace)?.synced;
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
