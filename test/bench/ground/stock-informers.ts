/** What anybody would write first: the client library's own informers on Executions and worker pods. Argument: kubeconfig. */
import { CoreV1Api, CustomObjectsApi, KubeConfig, type KubernetesObject, makeInformer } from "@kubernetes/client-node";
import { workerSelector } from "../../../src/adapters/kube/names.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";

const config = new KubeConfig();
config.loadFromFile(process.argv[2] ?? "");
const objects = config.makeApiClient(CustomObjectsApi);
const core = config.makeApiClient(CoreV1Api);
const { group, version, plural } = resources.executions;
const executions = makeInformer<KubernetesObject>(config, resourcePath(resources.executions), () =>
  objects.listClusterCustomObject({ group, version, plural }),
);
const pods = makeInformer(
  config,
  resourcePath(resources.pods),
  () => core.listPodForAllNamespaces({ labelSelector: workerSelector }),
  workerSelector,
);
for (const informer of [executions, pods]) {
  // It stops for good on most errors.
  informer.on("error", () => void setTimeout(() => void informer.start(), 200));
  await informer.start();
}
process.stdout.write("ready\n");
