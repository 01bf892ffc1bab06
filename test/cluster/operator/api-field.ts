/** Operators with the HTTP API, people with rights of all kinds, and one run that has ended. */
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { sample, serveModel } from "../../cli/harness.ts";
import { type ConfigMap, configMaps, makeNamespace, removeNamespace } from "../adapter/api-server.ts";
import { applyFile } from "../cli/harness.ts";
import { type Api, type Who, whoIs } from "./api-client.ts";
import { accessOf, ended, type Field, openField, type Operator } from "./harness.ts";

export interface ApiField extends Omit<Field, "end"> {
  readonly operators: readonly Operator[];
  /** Of each operator. */
  readonly apis: readonly Api[];
  /** The sample `brief`, sealed. */
  readonly run: KubeExecution;
  /** A namespace that the operators are not for. */
  readonly elsewhere: string;
  /** Of Executions in the field's namespace. */
  readonly executions: string;
  /** Signs in as a service account with these cluster roles; its kubeconfig is `folder`/NAME.kubeconfig. */
  person(name: string, roles: readonly string[], namespace?: string): Promise<Who>;
  end(): Promise<void>;
}

/** One operator for each environment, in a cluster with the roles of people and the admission policies. */
export async function openApiField(...environments: readonly Readonly<Record<string, string>>[]): Promise<ApiField> {
  const field = await openField({ api: true });
  for (const file of ["rbac/users", "admission/approvals", "admission/requested-by"]) applyFile(`config/${file}.yaml`);
  const operators: Operator[] = [];
  for (const [place, env] of environments.entries())
    operators.push(await field.startOperator(`operator-${place}`, env));
  const published = resourcePath(configMaps, { namespace: field.home, name: "oao-api" });
  const ca = (await field.admin.request<ConfigMap>({ path: published })).data?.["ca.crt"] ?? "";
  const elsewhere = await makeNamespace(field.admin);
  const model = await serveModel(field.place, sample("market-brief.model.yaml"));
  await field.apply("market-brief.yaml", "brief", model);
  const run = await field.until("brief", ended);
  return {
    ...field,
    operators,
    apis: operators.map(({ apiPort }) => ({ port: apiPort, ca })),
    run,
    elsewhere,
    executions: resourcePath(resources.executions, { namespace: field.namespace }),
    person: async (name, roles, namespace = field.namespace) =>
      whoIs(await accessOf(field.admin, namespace, field.folder, name, roles)),
    async end() {
      await removeNamespace(field.admin, elsewhere);
      await field.end();
    },
  };
}

/** An approval and nothing else: it stands still until somebody answers. */
export function bodyOf(name: string, annotations: Readonly<Record<string, string>>) {
  return {
    apiVersion: "oao.dev/v1alpha1",
    kind: "Execution",
    metadata: { name, annotations },
    spec: { task: "t", nodes: [{ name: "a", approval: { message: "Really?" } }] },
  };
}

/** Three agents, one after the other. */
export function threeSteps(name: string, model: string) {
  const names = ["one", "two", "three"];
  return {
    ...bodyOf(name, {}),
    spec: {
      task: "t",
      models: [{ name: "main", provider: "openai", model: "gpt-5-mini", baseURL: model }],
      agents: [{ name: "a", model: "main" }],
      nodes: names.map((each, place) => ({
        name: each,
        ...(place === 0 ? {} : { dependsOn: [names[place - 1]] }),
        agent: { ref: "a", prompt: each },
      })),
    },
  };
}
