import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { helmBinary } from "../../hack/helm.ts";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const chart = `${root}charts/oao`;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Parsed YAML that a test looks into: as deep as it needs. */
// oxlint-disable-next-line typescript/no-explicit-any -- what Helm renders has the types of a hundred Kubernetes schemas
export type Manifest = any;

export function run(program: string, args: readonly string[], input?: string): Ended {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: "utf8", input });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

export function helm(...args: readonly string[]): Ended {
  return run(helmBinary(), args);
}

/** `--set` for each. */
export function settings(values: readonly string[]): string[] {
  return values.flatMap((value) => ["--set", value]);
}

/** What `helm template` prints; throws with its message where it refuses. */
export function renderText(values: readonly string[] = []): string {
  const { code, stdout, stderr } = helm("template", "oao", chart, "--namespace", "oao-system", ...settings(values));
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

export function parse(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS())
    .filter((manifest) => manifest !== null);
}

export function render(values: readonly string[] = []): Manifest[] {
  return parse(renderText(values));
}

export const external = ["redis.embedded.enabled=false", "redis.external.secret.name=journal"];

/** Every shape that the chart has. */
export const shapes: Readonly<Record<string, readonly string[]>> = {
  "as it comes": [],
  "cluster-wide": ["watch.allNamespaces=true"],
  "two namespaces": ["watch.namespaces={team-b,team-a}", "replicas=1"],
  "external Redis": [...external, "redis.external.caConfigMap.name=ca", "redis.external.workerURL=rediss://redis:6380"],
  "everything given": [...external, "storeKey.existingSecret=key", "shared.install=false"],
  "with the HTTP API": ["api.enabled=true", "watch.namespaces={team-a}"],
  "with the HTTP API under a certificate of somebody else's": [
    "api.enabled=true",
    "api.tls.secretName=given",
    "api.service.type=LoadBalancer",
    "api.names={api.example.test,192.0.2.7}",
  ],
  "without a volume": ["redis.embedded.persistence.enabled=false", "networkPolicy.enabled=false"],
};
