/** One real control plane for all tests of this suite: KUBECONFIG when it is set, else one of its own, ended afterwards. */
import type { TestProject } from "vitest/node";
import { down, up } from "../../hack/cluster/control-plane.ts";
import { kubeBinary } from "../../hack/cluster/kube-binary.ts";
import { layoutOf } from "../../hack/cluster/layout.ts";

declare module "vitest" {
  interface ProvidedContext {
    kubeconfig: string;
    /** Program whose first argument is a component: kubectl, … */
    kube: string;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide("kube", kubeBinary());
  const given = process.env["KUBECONFIG"];
  if (given !== undefined && given !== "") {
    project.provide("kubeconfig", given);
    return () => Promise.resolve();
  }
  const layout = layoutOf(`test-${process.pid}`);
  await up(layout);
  project.provide("kubeconfig", layout.kubeconfig);
  return () => down(layout);
}
