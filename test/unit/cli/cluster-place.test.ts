import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { connect } from "../../../src/cli/cluster/connect.ts";
import { askedPlace, hasKubeconfig, type PlaceFlags } from "../../../src/cli/cluster/place.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "oao-place-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const terminal = (env: Readonly<Record<string, string>>): Terminal => ({
  env,
  cwd: folder,
  out: () => undefined,
  write: async () => undefined,
  body: () => undefined,
  err: () => undefined,
  draw: () => undefined,
  interactive: false,
  colorOut: false,
  colorErr: false,
  size: () => ({ columns: 80, rows: 24 }),
  onResize: () => () => undefined,
});

function kubeconfig(name: string, contexts: readonly { name: string; server: string; namespace?: string }[]): string {
  const file = join(folder, name);
  const config = {
    "current-context": contexts[0]?.name ?? "",
    clusters: contexts.map(({ name: context, server }) => ({ name: context, cluster: { server } })),
    users: contexts.map(({ name: context }) => ({ name: context, user: { token: "t" } })),
    contexts: contexts.map(({ name: context, namespace }) => ({
      name: context,
      context: { cluster: context, user: context, namespace },
    })),
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

function connected(flags: PlaceFlags, env: Readonly<Record<string, string>>) {
  const cluster = connect(flags, terminal(env));
  cluster.executions.close();
  return cluster;
}

describe("the place of a command", () => {
  it("is the cluster where a context or a kubeconfig is given, and nobody's choice without a flag", () => {
    expect(askedPlace({})).toBeUndefined();
    expect(askedPlace({ on: "local" })).toBe("local");
    expect(askedPlace({ context: "production" })).toBe("cluster");
    expect(askedPlace({ kubeconfig: "file" })).toBe("cluster");
    expect(() => askedPlace({ on: "local", kubeconfig: "file" })).toThrow("contradict each other");
  });

  it("is never a cluster where no kubeconfig is there", () => {
    expect(hasKubeconfig({ env: {} })).toBe(false);
    expect(hasKubeconfig({ env: { HOME: folder } })).toBe(false);
    expect(hasKubeconfig({ env: { HOME: folder, KUBECONFIG: join(folder, "absent") } })).toBe(false);
    mkdirSync(join(folder, "home/.kube"), { recursive: true });
    kubeconfig("home/.kube/config", [{ name: "a", server: "https://a" }]);
    expect(hasKubeconfig({ env: { HOME: join(folder, "home") } })).toBe(true);
    // KUBECONFIG stands for all of it.
    expect(hasKubeconfig({ env: { HOME: join(folder, "home"), KUBECONFIG: join(folder, "absent") } })).toBe(false);
  });
});

describe("a kubeconfig of several files", () => {
  it("is read as kubectl does: absent files are left out, and what comes first holds", () => {
    const first = kubeconfig("first", [{ name: "one", server: "https://one.first", namespace: "team-a" }]);
    const second = kubeconfig("second", [
      { name: "two", server: "https://two" },
      { name: "one", server: "https://one.second" },
    ]);
    const env = { KUBECONFIG: [join(folder, "absent"), first, second].join(delimiter) };
    expect(connected({}, env)).toMatchObject({ context: "one", server: "https://one.first", namespace: "team-a" });
    expect(connected({ context: "two" }, env)).toMatchObject({ server: "https://two", namespace: "default" });
    expect(() => connected({ context: "tow" }, env)).toThrow("no context tow");
  });
});

describe("a run of a cluster", () => {
  it("is typed with what finds it again: the namespace where it is not the context's, and the place as it was given", () => {
    const file = kubeconfig("typed", [{ name: "it's", server: "https://a", namespace: "team-a" }]);
    const env = { KUBECONFIG: file };
    const key = { namespace: "team-a", name: "brief" };
    expect(connected({ on: "cluster" }, env).args(key)).toBe("brief --on cluster");
    expect(connected({ namespace: "team-b" }, env).args({ ...key, namespace: "team-b" })).toBe(
      "-n team-b brief --on cluster",
    );
    expect(connected({ context: "it's", kubeconfig: file }, {}).args(key)).toBe(
      `brief --kubeconfig ${file} --context 'it'\\''s'`,
    );
    expect(connected({ namespace: "team-b" }, env).flags).toBe("-n team-b --on cluster");
  });
});
