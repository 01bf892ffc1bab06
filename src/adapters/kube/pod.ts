/** The pod of one attempt of one node. Pure: the same order gives the same pod. */
import type { V1EnvVar, V1Pod, V1Toleration } from "@kubernetes/client-node";
import { apiVersion } from "../../api/common.ts";
import type { ExecutionSpec, NodeSpec } from "../../api/types.ts";
import { secretGrants } from "../../core/policy/secret-grants.ts";
import type { Snapshot } from "../../core/steps/format.ts";
import type { StoredExecution, WorkerOrder } from "../../ports/cluster.ts";
import { type PodResources, resourcesOf } from "./pod-resources.ts";
import { podLabels, podName, secretName, workerLabels } from "./names.ts";

export interface PodSettings {
  readonly workerImage: string;
  /** As pods see it, without credentials. */
  readonly storeUrl: string;
  /** Whether the run's Secret holds the store's certificate authority too. */
  readonly hasStoreCa: boolean;
  readonly leaseTtlMs: number;
  /** Addresses that tools must not reach: those of the API server. */
  readonly denyCidrs: readonly string[];
  /** Where the node does not say. */
  readonly resources: PodResources;
  /** Between SIGTERM and SIGKILL, whoever ends the pod. */
  readonly graceSeconds: number;
}

export const storePasswordKey = "password";
export const storeCaKey = "ca.crt";
const storeCaFolder = "/etc/oao/store";
const configMapsFolder = "/etc/oao/modules";
/** Any that is not root; the image's files are readable by all. */
const userId = 65_532;
/** A node that is not heard of gives its pods up after this, not after Kubernetes' 300 s. */
const lostNodeSeconds = 15;

/** `user` is the run's own at the journal store; its password comes from the Secret of the run. */
export function workerPod(
  run: StoredExecution,
  order: WorkerOrder,
  snapshot: Snapshot,
  user: string,
  settings: PodSettings,
): V1Pod {
  const { spec, policy } = snapshot;
  const node = [...spec.nodes, ...(spec.finally ?? [])].find((each) => each.name === order.node);
  const placement: Partial<NodeSpec> = node ?? {};
  const maps = configMapsOf(spec, placement);
  const secrets = secretGrants(spec, policy, placement).map(({ name, key, variable }) =>
    fromSecret(variable, name, key),
  );
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(run.uid, order, order.attempt),
      namespace: run.key.namespace,
      labels: {
        ...workerLabels,
        [podLabels.uid]: run.uid,
        [podLabels.node]: order.node,
        ...(order.item === undefined ? {} : { [podLabels.item]: String(order.item) }),
        [podLabels.attempt]: String(order.attempt),
      },
      ownerReferences: [ownerReference(run)],
    },
    spec: {
      restartPolicy: "Never",
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: settings.graceSeconds,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: userId,
        runAsGroup: userId,
        seccompProfile: { type: "RuntimeDefault" },
      },
      ...(placement.nodeSelector === undefined ? {} : { nodeSelector: { ...placement.nodeSelector } }),
      tolerations: [...(placement.tolerations ?? []).map(withoutUndefined), ...lostNodeTolerations],
      containers: [
        {
          name: "worker",
          image: placement.image ?? settings.workerImage,
          imagePullPolicy: "IfNotPresent",
          command: ["node", "/app/dist/worker.js"],
          env: [...environment(run, order, user, settings), ...secrets],
          resources: resourcesOf(placement, settings.resources),
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          volumeMounts: [
            { name: "tmp", mountPath: "/tmp" },
            ...(settings.hasStoreCa ? [{ name: "store-ca", mountPath: storeCaFolder, readOnly: true }] : []),
            ...maps.map(({ name }, place) => ({
              name: `module-${place}`,
              mountPath: `${configMapsFolder}/${name}`,
              readOnly: true,
            })),
          ],
        },
      ],
      volumes: [
        { name: "tmp", emptyDir: {} },
        ...(settings.hasStoreCa
          ? [
              {
                name: "store-ca",
                secret: {
                  secretName: secretName(run.uid),
                  items: [{ key: storeCaKey, path: storeCaKey }],
                  defaultMode: 0o444,
                },
              },
            ]
          : []),
        ...maps.map(({ name, keys }, place) => ({
          name: `module-${place}`,
          configMap: { name, items: keys.map((key) => ({ key, path: key })), defaultMode: 0o444 },
        })),
      ],
    },
  };
}

/** ConfigMaps that this node's own module tools come from, each with the keys it needs, by name. */
function configMapsOf(spec: ExecutionSpec, node: Partial<NodeSpec>): readonly { name: string; keys: string[] }[] {
  const agent = spec.agents?.find(({ name }) => name === node.agent?.ref);
  const tools = new Set([...(agent?.tools ?? []), ...(node.tool === undefined ? [] : [node.tool.ref])]);
  const keys = new Map<string, Set<string>>();
  for (const { name, module } of spec.tools ?? []) {
    const ref = module?.configMapRef;
    if (ref === undefined || !tools.has(name)) continue;
    keys.set(ref.name, (keys.get(ref.name) ?? new Set()).add(ref.key));
  }
  return [...keys].map(([name, each]) => ({ name, keys: [...each].sort() })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What belongs to a run goes with it. */
export function ownerReference(run: Pick<StoredExecution, "key" | "uid">) {
  return {
    apiVersion,
    kind: "Execution",
    name: run.key.name,
    uid: run.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

const lostNodeTolerations: readonly V1Toleration[] = ["not-ready", "unreachable"].map((taint) => ({
  key: `node.kubernetes.io/${taint}`,
  operator: "Exists",
  effect: "NoExecute",
  tolerationSeconds: lostNodeSeconds,
}));

/** What the client's types ask for: absent, not undefined. */
function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

/** Names, numbers and digests: no text of a manifest reaches the environment, where the kubelet would expand `$(…)`. */
function environment(run: StoredExecution, order: WorkerOrder, user: string, settings: PodSettings): V1EnvVar[] {
  return [
    // The kubelet expands `$(…)`, and names of users are anybody's text.
    { name: "OAO_ORDER", value: JSON.stringify(order).replaceAll("$", "\\u0024") },
    { name: "OAO_STORE", value: settings.storeUrl },
    { name: "OAO_STORE_USER", value: user },
    fromSecret("OAO_STORE_PASSWORD", secretName(run.uid), storePasswordKey),
    ...(settings.hasStoreCa ? [{ name: "OAO_STORE_CA", value: `${storeCaFolder}/${storeCaKey}` }] : []),
    { name: "OAO_BASE_DIR", value: "/app" },
    { name: "OAO_CONFIG_MAPS_DIR", value: configMapsFolder },
    { name: "OAO_ALLOW_LOOPBACK", value: "false" },
    ...(settings.denyCidrs.length === 0 ? [] : [{ name: "OAO_DENY_CIDRS", value: settings.denyCidrs.join(",") }]),
    { name: "OAO_LEASE_TTL_MS", value: String(settings.leaseTtlMs) },
    { name: "HOME", value: "/tmp" },
  ];
}

/** Not optional: a missing key is a CreateContainerConfigError that names it, not a worker without its secret. */
function fromSecret(variable: string, name: string, key: string): V1EnvVar {
  return { name: variable, valueFrom: { secretKeyRef: { name, key, optional: false } } };
}
