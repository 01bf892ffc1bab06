/** Whether somebody may: the cluster is asked for each call (SubjectAccessReview), and nothing of its answers is kept. */
import type { KubeClient } from "../../adapters/kube/client.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";
import { group } from "../../api/common.ts";
import type { ObjectKey } from "../../ports/cluster.ts";
import type { Caller } from "./authenticate.ts";

/** `create` is about the namespace: an object that is not there yet has no name. */
export type Wanted = "create" | "journal";

export interface Authorizer {
  /** Throws KubeError when the cluster cannot be asked. */
  may(caller: Caller, wanted: Wanted, key: ObjectKey): Promise<boolean>;
}

export function authorizer(client: KubeClient): Authorizer {
  return {
    async may({ username, uid, groups, extra }, wanted, { namespace, name }) {
      const what =
        wanted === "create"
          ? { verb: "create", resource: "executions" }
          : { verb: "get", resource: "executions", subresource: "journal", name };
      const { status } = await client.request<{ status: { allowed?: boolean; denied?: boolean } }>({
        method: "POST",
        path: resourcePath(resources.subjectReviews),
        body: {
          apiVersion: "authorization.k8s.io/v1",
          kind: "SubjectAccessReview",
          spec: { user: username, uid, groups, extra, resourceAttributes: { group, version: "*", namespace, ...what } },
        },
        repeatable: true,
      });
      return status.allowed === true && status.denied !== true;
    },
  };
}
