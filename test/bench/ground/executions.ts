/** Executions that benchmarks make, and how they are waited for. */
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import type { KubeClient } from "../../../src/adapters/kube/client.ts";
import { Informer } from "../../../src/adapters/kube/informer.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { apiVersion } from "../../../src/api/common.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";

/** `nodes` tools, each after the one before it or, with `inARow` false, all at once. */
export function toolRun(nodes: number, inARow = true): ExecutionSpec {
  return {
    task: "look it up",
    tools: [
      {
        name: "look",
        description: "Looks something up",
        effect: "ReadOnly",
        http: { method: "POST", url: "https://tools.example.com/look", inputSchema: { type: "object" } },
      },
    ],
    nodes: Array.from({ length: nodes }, (_, n) => ({
      name: `n${n}`,
      tool: { ref: "look", arguments: { q: `question ${n}` } },
      ...(inARow && n > 0 ? { dependsOn: [`n${n - 1}`] } : {}),
    })),
  };
}

export async function create(
  client: KubeClient,
  namespace: string,
  name: string,
  spec: ExecutionSpec,
): Promise<KubeExecution> {
  const path = resourcePath(resources.executions, { namespace });
  return client.request({ method: "POST", path, body: { apiVersion, kind: "Execution", metadata: { name }, spec } });
}

/** Succeeded, and let go of by its operator. */
export function isOver({ metadata, status }: KubeExecution): boolean {
  if (status?.phase === "Failed") throw new Error(`${metadata.name} failed: ${JSON.stringify(status.conditions)}`);
  return status?.completedAt !== undefined && (metadata.finalizers ?? []).length === 0;
}

/** Counts what is over as it is told; keeps nothing else. */
export class Finish {
  readonly #over = new Set<string>();
  readonly #informer: Informer<KubeExecution>;
  #failure: Error | undefined;

  constructor(client: KubeClient) {
    this.#informer = new Informer<KubeExecution>({ client, clock: systemClock, resource: resources.executions });
    this.#informer.onChange(({ type, object }) => {
      try {
        if (type !== "Deleted" && isOver(object)) this.#over.add(object.metadata.uid);
      } catch (error) {
        this.#failure = error as Error;
      }
    });
  }

  async start(): Promise<void> {
    this.#informer.start();
    await this.#informer.synced;
  }

  stop(): Promise<void> {
    return this.#informer.stop();
  }

  get count(): number {
    return this.#over.size;
  }

  #open(): string {
    const open = [...this.#informer.values()].find(({ metadata }) => !this.#over.has(metadata.uid));
    return JSON.stringify({ name: open?.metadata.name, status: open?.status });
  }

  /** Until so many are over since the start. Throws when one failed or none ended for two minutes. */
  async until(count: number, whileWaiting: () => void = () => undefined): Promise<void> {
    let [last, sinceMs] = [this.count, performance.now()];
    while (this.count < count) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.count > last) [last, sinceMs] = [this.count, performance.now()];
      if (performance.now() - sinceMs > 120_000)
        throw new Error(`${this.count} of ${count} are over, and no more come; one that is not: ${this.#open()}`);
      whileWaiting();
      await systemClock.sleep(5);
    }
  }
}
