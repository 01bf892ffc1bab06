/** A person's way to a cluster: a context of a kubeconfig, and requests as whoever it names. */
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../../ports/clock.ts";
import { KubeClient } from "./client.ts";
import { readKubeConfig } from "./connection.ts";
import { type ApiPlace, OperatorApi } from "./operator-api.ts";

export interface AccessOptions {
  /** Kubeconfigs; empty = the service account of the pod this runs in. */
  readonly files: readonly string[];
  /** The file's current one when absent. */
  readonly context?: string | undefined;
  readonly clock: Clock;
  readonly userAgent: string;
}

export interface Access {
  readonly client: KubeClient;
  readonly context: string;
  readonly server: string;
  /** Of the context; `default` where it names none. */
  readonly namespace: string;
  /** Credentials come from a program, which may be slow or ask a person something. */
  readonly asksProgram: boolean;
  /** The operator's HTTP API, as the same person. Talks to nobody yet. */
  api(place: ApiPlace): OperatorApi;
}

/** A person waits for the answer: two tries are enough. */
const timeoutMs = 10_000;
const triesMax = 2;

export class UnknownContext extends Error {
  override readonly name = "UnknownContext";
  readonly context: string;
  readonly known: readonly string[];
  constructor(context: string, known: readonly string[]) {
    super(`there is no context ${JSON.stringify(context)}`);
    this.context = context;
    this.known = known;
  }
}

/** Throws UnknownContext, or whatever is wrong with the file. Talks to nobody. */
export function openAccess({ files, context, clock, userAgent }: AccessOptions): Access {
  const config = mergedConfig(files);
  if (context !== undefined) config.setCurrentContext(context);
  const name = config.getCurrentContext();
  const server = config.getCurrentCluster()?.server;
  if (server === undefined)
    throw new UnknownContext(
      name ?? "",
      config.getContexts().map((each) => each.name),
    );
  const user = config.getCurrentUser();
  const namespace = config.getContextObject(name)?.namespace;
  const client = new KubeClient(config, { clock, userAgent, timeoutMs, triesMax });
  return {
    client,
    context: name,
    server,
    namespace: namespace === undefined || namespace === "" ? "default" : namespace,
    asksProgram: user?.exec !== undefined || user?.authProvider !== undefined,
    api: (place) => new OperatorApi(config, client, place),
  };
}

/** As kubectl does it, where the client library takes the last current context and no name twice: what comes first holds. */
function mergedConfig(files: readonly string[]): KubeConfig {
  const [first = readKubeConfig(), ...others] = files.map((file) => readKubeConfig(file));
  const isNew =
    <T extends { readonly name: string }>(known: readonly T[]) =>
    (each: T) =>
      known.every(({ name }) => name !== each.name);
  for (const other of others) {
    first.clusters.push(...other.clusters.filter(isNew(first.clusters)));
    first.users.push(...other.users.filter(isNew(first.users)));
    first.contexts.push(...other.contexts.filter(isNew(first.contexts)));
    if ((first.currentContext ?? "") === "") first.currentContext = other.currentContext;
  }
  return first;
}
