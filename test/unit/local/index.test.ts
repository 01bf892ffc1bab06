import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AlreadyExists, LocalIndex } from "../../../src/adapters/local/local-index.ts";
import { Conflict } from "../../../src/ports/cluster-errors.ts";
import { changed, clock, createRun, execution, openCluster, otherHost, status, temporaryHome } from "./harness.ts";

let home: string;
let remove: () => void;
let index: LocalIndex;
beforeEach(() => {
  ({ home, remove } = temporaryHome());
  index = new LocalIndex(home, clock);
});
afterEach(() => {
  index.close();
  remove();
});

describe("objects on a laptop", () => {
  it("are there for the next process with uid, generation and place", () => {
    const run = createRun(index, home);
    index.close();
    index = new LocalIndex(home, clock);
    expect(index.get(run.key)).toEqual(run);
    expect(run.object.metadata).toMatchObject({ name: "brief", namespace: "default", uid: run.uid, generation: 1 });
    expect(run.place.baseDir).toBe(home);
  });

  it("keep a name for one run", () => {
    const run = createRun(index, home);
    expect(() => createRun(index, home)).toThrow(AlreadyExists);
    expect(index.create({ namespace: "team-b", name: "brief" }, execution("brief"), run.place).uid).not.toBe(run.uid);
  });

  it("refuse a status decided on an older version", () => {
    const run = createRun(index, home);
    const version = index.writeStatus(run, status("Running"));
    expect(() => index.writeStatus(run, status("Failed"))).toThrow(Conflict);
    expect(index.get(run.key)).toMatchObject({ resourceVersion: version, generation: 1, status: { phase: "Running" } });
  });

  it("refuse a status decided before the spec changed, and count the spec's changes only", () => {
    const run = createRun(index, home);
    const suspended = index.setDesiredState(run.key, "Suspended");
    expect(suspended?.generation).toBe(2);
    expect(() => index.writeStatus(run, status("Running"))).toThrow(Conflict);
    expect(index.setDesiredState(run.key, "Suspended")?.resourceVersion).toBe(suspended?.resourceVersion);
  });

  it("take Cancelled back from nobody, and Suspended from everybody", () => {
    const { key } = createRun(index, home);
    index.setDesiredState(key, "Suspended");
    expect(index.setDesiredState(key, undefined)?.object.spec).not.toHaveProperty("desiredState");
    index.setDesiredState(key, "Cancelled");
    expect(index.setDesiredState(key, undefined)?.object.spec.desiredState).toBe("Cancelled");
  });

  it("are removed only as the object that was seen, and listed as unfinished until they are over", () => {
    const [ended, open] = [createRun(index, home, "ended"), createRun(index, home, "open")];
    index.writeStatus(ended, { ...status("Succeeded"), completedAt: "2026-01-01T00:00:00.000Z" });
    expect(index.unfinished("default").map((run) => run.key.name)).toEqual(["open"]);
    index.remove({ key: open.key, uid: ended.uid });
    expect(index.get(open.key)).toBeDefined();
    index.remove(open);
    index.remove(open);
    expect(index.get(open.key)).toBeUndefined();
  });

  it("are listed newest first, of one namespace or all, up to a limit", () => {
    for (const name of ["a", "b", "c"]) createRun(index, home, name);
    index.create({ namespace: "team-b", name: "d" }, execution("d"), { baseDir: home, store: "file:x" });
    expect(index.list({ limit: 10 })).toHaveLength(4);
    expect(index.list({ namespace: "default", limit: 2 })).toHaveLength(2);
    expect(index.namespacesOf("d")).toEqual(["team-b"]);
  });

  it("hold policies by namespace; the later of a name replaces the earlier", () => {
    const policy = (maxTokens: number) => ({
      apiVersion: "oao.dev/v1alpha1" as const,
      kind: "GovernancePolicy" as const,
      metadata: { name: "standard" },
      spec: { maxTokens },
    });
    index.policies.put("default", policy(1));
    index.policies.put("default", policy(2));
    index.policies.put("team-b", policy(3));
    expect(index.policies.list("default").map((found) => [found.metadata.namespace, found.spec.maxTokens])).toEqual([
      ["default", 2],
    ]);
  });

  it("name the journals whose time is over, a bounded number at once", () => {
    for (const [name, expiresMs] of [
      ["a", 10],
      ["b", 20],
      ["c", 99],
    ] as const)
      index.setExpiry(createRun(index, home, name).uid, expiresMs);
    expect(index.expired(50, 10).map((run) => run.key.name)).toEqual(["a", "b"]);
    expect(index.expired(50, 1).map((run) => run.key.name)).toEqual(["a"]);
  });

  it("survive 8 processes that make the same new folder at once", async () => {
    const fresh = join(home, "new", ".oao");
    const others = Array.from({ length: 8 }, () => otherHost(fresh, "suspend", "brief"));
    expect(await Promise.all(others.map((other) => other.next()))).toEqual(Array.from({ length: 8 }, () => ({})));
  });
});

describe("a change by another process", () => {
  it("is told to whoever watches, by key", async () => {
    const run = createRun(index, home);
    const opened = openCluster(home);
    const keys: unknown[] = [];
    const unwatch = opened.cluster.watch((key) => keys.push(key));
    const other = otherHost(home, "suspend", "brief");
    const seen = await changed(opened.cluster, async () =>
      opened.index.get(run.key)?.object.spec.desiredState === undefined ? undefined : "Suspended",
    );
    await other.next();
    expect(seen).toBe("Suspended");
    await Promise.resolve();
    expect(keys).toContainEqual(run.key);
    unwatch();
    opened.cluster.close();
    opened.index.close();
  });
});
