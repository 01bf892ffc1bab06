/** Executions of a cluster as a person works with them, with that person's rights. The operator's own view is kube-cluster.ts. */
import type { DesiredState, Execution } from "../../api/execution.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ObjectKey, StoredExecution, StoredPolicy } from "../../ports/cluster.ts";
import type { KubeClient, KubeRequest } from "./client.ts";
import { Informer } from "./informer.ts";
import { isKubeError, type KubeError } from "./kube-error.ts";
import { podLabels } from "./names.ts";
import { type KubeObject, type Resource, resourcePath, resources } from "./resources.ts";
import { type KubeExecution, type KubePolicy, storedExecution, storedPolicy } from "./stored.ts";
import type { WorkerPod } from "./worker-view.ts";

/** What a request needs, in the words of RBAC. */
export interface Right {
  readonly verb: "create" | "get" | "list" | "watch" | "patch" | "update";
  readonly resource: keyof typeof resources;
  readonly subresource?: string;
  /** Undefined = in all. */
  readonly namespace: string | undefined;
  readonly name?: string;
}

/** The caller may not do it; where RBAC allows it and something else refused, that is a KubeError. */
export class MissingRight extends Error {
  override readonly name = "MissingRight";
  readonly right: Right;
  constructor(right: Right, cause: KubeError) {
    super(cause.message, { cause });
    this.right = right;
  }
}

export interface LoggedPod {
  readonly name: string;
  /** gather#1, rate[3]#2 */
  readonly source: string;
  /** `gather`, `rate[3]` */
  readonly item: string;
  /** It has begun, so that it has a log. */
  readonly hasBegun: boolean;
}

interface Page<T> {
  readonly metadata: { readonly continue?: string };
  readonly items: readonly T[];
}

const pageSize = 100;
/** The head of a log that nobody has written to yet may take as long as the node does. */
const logHeadMs = 3_600_000;

export class KubeExecutions {
  readonly #client: KubeClient;
  readonly #clock: Clock;

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  close(): void {
    this.#client.close();
  }

  /** Throws KubeError 409 AlreadyExists. No repeat: a lost answer leaves open whether it was made. */
  async create({ namespace, name }: ObjectKey, object: Execution): Promise<StoredExecution> {
    const { generateName: _, ...metadata } = object.metadata;
    return shown(
      await this.#request<KubeExecution>(
        { verb: "create", resource: "executions", namespace },
        { method: "POST", body: { ...object, metadata: { ...metadata, namespace, name } } },
      ),
    );
  }

  /** Undefined = it does not exist. With a signal, only one try. */
  async get({ namespace, name }: ObjectKey, signal?: AbortSignal): Promise<StoredExecution | undefined> {
    try {
      return shown(
        await this.#request<KubeExecution>(
          { verb: "get", resource: "executions", namespace, name },
          { signal, repeatable: signal === undefined },
        ),
      );
    } catch (error) {
      if (isKubeError(error, 404) && error.refusal?.name === name) return undefined;
      throw error;
    }
  }

  /** Newest first. `namespace` undefined = all. */
  async list(namespace: string | undefined): Promise<StoredExecution[]> {
    const found = await this.#all<KubeExecution>({ verb: "list", resource: "executions", namespace });
    return found.map(shown).sort((a, b) => b.createdAtMs - a.createdAtMs || (a.key.name < b.key.name ? -1 : 1));
  }

  /** Of one page, in no order: to guess what was meant. */
  async someNames(namespace: string): Promise<string[]> {
    const right: Right = { verb: "list", resource: "executions", namespace };
    const page = await this.#request<Page<KubeObject>>(right, { query: { limit: pageSize }, repeatable: false });
    return page.items.map(({ metadata }) => metadata.name);
  }

  async policies(namespace: string): Promise<StoredPolicy[]> {
    return (await this.#all<KubePolicy>({ verb: "list", resource: "policies", namespace })).map(storedPolicy);
  }

  /** Undefined = Running: the field goes. Of this object and no later one of its name. */
  async setDesiredState(run: StoredExecution, desiredState: DesiredState | undefined): Promise<StoredExecution> {
    return this.#patch(run, { spec: { desiredState: desiredState ?? null } });
  }

  /** The API server's own policy wants the right on executions/approval too. */
  async annotateApproval(run: StoredExecution, annotation: string, value: string): Promise<StoredExecution> {
    const approval: Right = { verb: "update", resource: "executions", subresource: "approval", ...run.key };
    return this.#patch(run, { metadata: { annotations: { [annotation]: value } } }, approval);
  }

  /**
   * Calls back with the run as it is and after every change, with undefined once it is gone, until the signal aborts.
   * `onTrouble` hears what passes by itself. Throws KubeError or MissingRight for what does not.
   */
  async follow(
    run: StoredExecution,
    onChange: (run: StoredExecution | undefined) => void,
    onTrouble: (error: KubeError) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const over = Promise.withResolvers<void>();
    const { namespace, name } = run.key;
    const informer = new Informer<KubeExecution>({
      client: this.#client,
      clock: this.#clock,
      resource: resources.executions,
      namespace,
      fieldSelector: `metadata.name=${name}`,
      backoff: { firstMs: 200, maxMs: 5_000 },
      onRestart: (error) => {
        if ([401, 403, 404].includes(error.status) || error.reason === "Credentials") over.reject(error);
        else onTrouble(error);
      },
    });
    const isGone = (object: KubeExecution | undefined) => object?.metadata.uid !== run.uid;
    informer.onChange(({ type, object }) =>
      onChange(type === "Deleted" || isGone(object) ? undefined : storedExecution(object)),
    );
    const stop = () => over.resolve();
    signal.addEventListener("abort", stop, { once: true });
    informer.start();
    // One that went before the first list is never told of.
    void informer.synced.then(() => isGone(informer.get(namespace, name)) && onChange(undefined));
    try {
      await over.promise;
    } catch (error) {
      throw await this.#explained(error, [
        { verb: "list", resource: "executions", namespace },
        { verb: "watch", resource: "executions", namespace },
      ]);
    } finally {
      signal.removeEventListener("abort", stop);
      await informer.stop();
    }
  }

  /** Of every attempt whose pod is still there, oldest first. */
  async pods({ key: { namespace }, uid }: StoredExecution): Promise<LoggedPod[]> {
    const labelSelector = `${podLabels.uid}=${uid}`;
    const found = await this.#all<WorkerPod>({ verb: "list", resource: "pods", namespace }, { labelSelector });
    return found.sort((a, b) => (createdAt(a) < createdAt(b) ? -1 : 1)).map(loggedPod);
  }

  /** Each line of what the worker says; with `follow` until it ends. Throws KubeError, MissingRight. */
  async log(
    { key: { namespace } }: StoredExecution,
    { name }: LoggedPod,
    options: { readonly follow: boolean; readonly signal?: AbortSignal | undefined },
    onLine: (line: string) => void,
  ): Promise<void> {
    const right: Right = { verb: "get", resource: "pods", subresource: "log", namespace, name };
    const query = { container: "worker", ...(options.follow ? { follow: true } : {}) };
    const path = resourcePath(resources.pods, { namespace, name, subresource: "log" });
    await this.#client
      .lines({ path, query, signal: options.signal, timeoutMs: logHeadMs }, onLine)
      .catch(async (error: unknown) => Promise.reject(await this.#explained(error, [right])));
  }

  /** The name by which the API server knows the caller. */
  async whoAmI(): Promise<string> {
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const { status } = await this.#client.request<{ status: { userInfo: { username: string } } }>({
      method: "POST",
      path: resourcePath(resources.selfReviews),
      body,
      repeatable: true,
    });
    return status.userInfo.username;
  }

  async #patch(run: StoredExecution, change: object, ...alsoNeeded: readonly Right[]): Promise<StoredExecution> {
    const metadata = { ...(change as { metadata?: object }).metadata, uid: run.uid };
    return shown(
      await this.#request<KubeExecution>(
        { verb: "patch", resource: "executions", ...run.key },
        { method: "PATCH", patch: "Merge", body: { ...change, metadata } },
        alsoNeeded,
      ),
    );
  }

  async #all<T>(right: Right, query: KubeRequest["query"] = {}): Promise<T[]> {
    const found: T[] = [];
    let next: string | undefined;
    do {
      const page: Page<T> = await this.#request(right, { query: { ...query, limit: pageSize, continue: next } });
      found.push(...page.items);
      next = page.metadata.continue;
    } while (next !== undefined && next !== "");
    return found;
  }

  async #request<T>(right: Right, request: Omit<KubeRequest, "path">, alsoNeeded: readonly Right[] = []): Promise<T> {
    const { namespace, name } = right;
    const path = resourcePath(resources[right.resource], { namespace, ...(name === undefined ? {} : { name }) });
    try {
      return await this.#client.request<T>({ ...request, path });
    } catch (error) {
      throw await this.#explained(error, [right, ...alsoNeeded]);
    }
  }

  /** Of a 403, the first right that is missing: RBAC, quotas and admission all answer the same. */
  async #explained(error: unknown, needed: readonly Right[]): Promise<unknown> {
    if (!isKubeError(error, 403)) return error;
    for (const right of needed) if (!(await this.#may(right).catch(() => true))) return new MissingRight(right, error);
    return error;
  }

  async #may({ verb, resource, subresource, namespace, name }: Right): Promise<boolean> {
    const { group, plural }: Resource = resources[resource];
    const resourceAttributes = { verb, group, resource: plural, subresource, namespace, name };
    const { status } = await this.#client.request<{ status: { allowed: boolean } }>({
      method: "POST",
      path: resourcePath(resources.accessReviews),
      body: { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } },
      repeatable: true,
    });
    return status.allowed;
  }
}

/** Who wrote which field is of no use to a person who looks at a run. */
function shown(object: KubeExecution): StoredExecution {
  const { managedFields: _, ...metadata } = object.metadata;
  return storedExecution({ ...object, metadata });
}

function createdAt({ metadata }: KubeObject): string {
  return metadata.creationTimestamp ?? "";
}

function loggedPod({ metadata: { name, labels = {} }, status }: WorkerPod): LoggedPod {
  const index = labels[podLabels.item];
  const item = `${labels[podLabels.node] ?? name}${index === undefined ? "" : `[${index}]`}`;
  const state = status?.containerStatuses?.find((each) => each.name === "worker")?.state;
  return {
    name,
    item,
    source: `${item}#${labels[podLabels.attempt] ?? ""}`,
    hasBegun: state?.running !== undefined || state?.terminated !== undefined,
  };
}
