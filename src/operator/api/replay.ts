/** POST /replay: a new Execution that names its parent. What it may say and what it inherits is the schema's and the host's business. */
import type { KubeClient } from "../../adapters/kube/client.ts";
import { isKubeError, KubeError } from "../../adapters/kube/kube-error.ts";
import type { ObjectMeta } from "../../adapters/kube/resources.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";
import { apiVersion } from "../../api/common.ts";
import { execution } from "../../api/execution.ts";
import { checkRules } from "../../api/rules.ts";
import type { Execution } from "../../api/types.ts";
import { resolveReplay } from "../../host/open-replay.ts";
import type { JournalStore } from "../../ports/store.ts";
import { sizes } from "../../api/defaults.ts";
import { digestJson, sha256Hex } from "../../core/digest/digest.ts";
import type { StoredExecution } from "../../ports/cluster.ts";
import type { Caller } from "./authenticate.ts";
import type { Authorizer } from "./authorize.ts";
import { notFound, Problem } from "./problems.ts";
import { outOfRange } from "./reads.ts";
import type { Runs } from "./runs.ts";
import type { Call, Handlers } from "./server.ts";
import type { Answer } from "./send.ts";

/** Both are the operator's to write: config/admission/requested-by.yaml. */
export const requestedBy = "oao.dev/requested-by";
/** Digest of what was asked for: a key that is used again for something else is told from a repeat. */
export const requestDigest = "oao.dev/request-digest";

export interface ReplayOptions {
  readonly client: KubeClient;
  readonly authorizer: Authorizer;
  readonly runs: Runs;
  readonly store: () => Promise<JournalStore>;
}

interface ReplayRequest {
  readonly fromStep?: number;
  readonly mode?: string;
  readonly toolOutputs?: string;
  readonly patch: Readonly<Record<string, unknown>>;
  readonly name?: string;
  readonly key?: string;
}

interface Created {
  readonly metadata: ObjectMeta;
}

export function replays({
  client,
  authorizer,
  runs,
  store,
}: ReplayOptions): Pick<Handlers, "replayByUid" | "replayByName"> {
  async function replay(parent: StoredExecution, call: Call): Promise<Answer> {
    if (!(await authorizer.may(call.caller, "create", parent.key))) throw notFound();
    const request = requestOf(call);
    checkParent(parent, request);
    const body = replayObject(parent, call.caller, request);
    await checkReplay(parent, body, await store());
    const created = await create(client, parent.key.namespace, body);
    const { managedFields: _, ...metadata } = created.metadata;
    const object = { ...created, metadata };
    return {
      status: 201,
      type: "application/json",
      headers: {
        Location: resourcePath(resources.executions, { namespace: parent.key.namespace, name: metadata.name }),
      },
      body: `${JSON.stringify(object)}\n`,
    };
  }
  return {
    async replayByUid(call) {
      const { execution_id: uid } = call.params as { execution_id: string };
      return replay(await runs.readableByUid(call.caller, uid), call);
    },
    async replayByName(call) {
      const { namespace, name } = call.params as { namespace: string; name: string };
      return replay(await runs.readable(call.caller, { namespace, name }), call);
    },
  };
}

function requestOf({ query, body, headers }: Call): ReplayRequest {
  const { from_step: fromStep } = query as { from_step?: number };
  const { mode, toolOutputs, patch = {}, name } = body as Partial<Omit<ReplayRequest, "fromStep" | "key">>;
  const { "idempotency-key": key } = headers as { "idempotency-key"?: string };
  const given = { fromStep, mode, toolOutputs, name, key };
  return { patch, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

/** Throws Problem. */
function checkParent({ key, status }: StoredExecution, { fromStep, patch }: ReplayRequest): void {
  if (Object.hasOwn(patch, "replay"))
    throw new Problem("invalid", "", {
      errors: [{ field: "body.patch.replay", message: "which run is replayed is said by the address" }],
    });
  if (status?.completedAt === undefined)
    throw new Problem("conflict", `${key.name} is still running: cancel it, or wait for its end`);
  const steps = status.steps ?? 0;
  if (fromStep !== undefined && (fromStep < 1 || fromStep > steps))
    throw new Problem("invalid", "", { errors: [outOfRange("query.from_step", steps)] });
}

/** What the host would refuse is refused before a run is made for it. Throws Problem. */
async function checkReplay(parent: StoredExecution, body: object, journals: JournalStore): Promise<void> {
  const { spec } = body as { readonly spec: unknown };
  const parsed = execution.shape.spec.safeParse(spec);
  const found = parsed.success
    ? checkRules("Execution", { spec }).map(({ path, message }) => ({ path: path.slice(1), message }))
    : parsed.error.issues;
  const errors = found.map(({ path, message }) => ({ field: ["spec", ...path].join("."), message }));
  if (errors.length > 0) throw new Problem("invalid", "", { errors });
  const asked = parsed.data?.replay;
  if (asked === undefined) return;
  const child = { ...parent, object: { ...parent.object, spec: parsed.data as Execution["spec"] } };
  const cluster = { get: async () => parent };
  const resolved = await resolveReplay(child, asked, { cluster, journal: () => journals });
  if ("refused" in resolved) throw new Problem("invalid", resolved.refused);
}

/** Of the parent only its name and UID: labels, annotations and finalizers are never taken over. */
function replayObject(parent: StoredExecution, caller: Caller, request: ReplayRequest): object {
  const { fromStep, mode, toolOutputs, patch, name, key } = request;
  const replay = {
    executionRef: { name: parent.key.name, uid: parent.uid },
    ...(fromStep === undefined ? {} : { fromStep }),
    ...(mode === undefined ? {} : { mode }),
    ...(toolOutputs === undefined ? {} : { toolOutputs }),
  };
  const annotations = {
    [requestedBy]: caller.username,
    [requestDigest]: digestJson({ parent: parent.uid, replay, patch, name: name ?? null, key: key ?? null }),
  };
  return {
    apiVersion,
    kind: "Execution",
    metadata: { ...nameFor(parent, caller, request), namespace: parent.key.namespace, annotations },
    spec: { ...patch, replay },
  };
}

const keyDigits = 12;

function nameFor(parent: StoredExecution, { username }: Caller, { name, key }: ReplayRequest): object {
  if (name !== undefined) return { name };
  const prefix = `${parent.key.name.replaceAll(".", "-").slice(0, sizes.name - keyDigits - "-replay-".length)}-replay-`;
  // The API server appends five characters of its own.
  if (key === undefined) return { generateName: prefix };
  return { name: `${prefix}${sha256Hex(JSON.stringify([parent.uid, username, key])).slice(0, keyDigits)}` };
}

interface Wanted {
  readonly metadata?: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> };
}

/** The one that was made before, where the same caller asks for the same again. Throws Problem. */
async function create(client: KubeClient, namespace: string, body: object): Promise<Created> {
  const { name, annotations = {} } = (body as Wanted).metadata ?? {};
  try {
    return await client.request<Created>({
      method: "POST",
      path: resourcePath(resources.executions, { namespace }),
      // A field that the schema does not know is refused, not dropped.
      query: { fieldValidation: "Strict" },
      body,
      // With a name of its own it is made once however often it is sent.
      repeatable: name !== undefined,
    });
  } catch (error) {
    if (name !== undefined && isKubeError(error, 409, "AlreadyExists")) {
      const there = await client.request<Created>({ path: resourcePath(resources.executions, { namespace, name }) });
      const isSame = [requestedBy, requestDigest].every(
        (each) => there.metadata.annotations?.[each] === annotations[each],
      );
      if (isSame) return there;
      throw new Problem("conflict", `there is an Execution ${name} already, and it is not this replay`);
    }
    throw refusal(error);
  }
}

/** What the schema, a rule, a quota or an admission policy said of the object is for the caller. */
function refusal(error: unknown): unknown {
  if (!(error instanceof KubeError) || ![400, 403, 422].includes(error.status)) return error;
  const { said, causes = [] } = error.refusal ?? {};
  const errors = causes.map(({ field, message }) => ({ field: `object.${field}`, message }));
  return new Problem("invalid", errors.length === 0 ? (said ?? error.message) : "", { errors, cause: error });
}
