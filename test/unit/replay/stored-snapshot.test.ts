import { expect, test } from "vitest";
import { canonicalJson, sha256Hex } from "../../../src/core/digest/digest.ts";
import type { Replay } from "../../../src/core/replay/types.ts";
import { snapshotBodies, SnapshotReader } from "../../../src/core/replay/stored-snapshot.ts";
import type { Snapshot } from "../../../src/core/steps/format.ts";

const first = {
  v: 1,
  uid: "u0",
  namespace: "n",
  name: "r0",
  spec: { task: "t".repeat(5_000), nodes: [{ name: "a", agent: { ref: "x", prompt: "Go." } }] },
  policy: { policies: [], maxRestarts: 3 },
  rules: [{ limits: { maxDurationSeconds: 60 } }],
} as unknown as Snapshot;

function replayOf(parent: Snapshot, place: number, base: string, prompt: string): Snapshot {
  const replay = {
    mode: "Fork",
    lineage: [parent.uid, ...(parent.replay?.lineage ?? [])],
    base,
    at: "2026-01-01T00:00:00.000Z",
  } as unknown as Replay;
  const { rules: _rules, ...rest } = parent;
  const nodes = [{ name: "a", agent: { ref: "x", prompt } }];
  return { ...rest, uid: `u${place}`, name: `r${place}`, spec: { ...parent.spec, nodes }, replay };
}

/** As stored by digest, each as a change of the one before it. */
function generations(count: number): { readonly bodies: Map<string, string>; readonly last: Snapshot; digest: string } {
  const bodies = new Map<string, string>();
  const put = ({ snapshot }: ReturnType<typeof snapshotBodies>) => {
    bodies.set(snapshot.digest, snapshot.bytes);
    return snapshot.digest;
  };
  let [last, digest] = [first, put(snapshotBodies(first, undefined))];
  for (let place = 1; place <= count; place += 1) {
    const next = replayOf(last, place, digest, `Go ${place}.`);
    digest = put(snapshotBodies(next, last));
    last = next;
  }
  return { bodies, last, digest };
}

function read(bodies: ReadonlyMap<string, string>, digest: string): SnapshotReader {
  const reader = new SnapshotReader(digest);
  while (reader.wanted !== undefined) reader.read(bodies.get(reader.wanted) ?? "");
  return reader;
}

test("a replay's snapshot is stored as a change of its parent's, and read as if it were whole", () => {
  for (const count of [0, 1, 2, 9]) {
    const { bodies, last, digest } = generations(count);
    const { snapshot } = read(bodies, `sha256:${digest}`);
    // Members in canonical order, as one that is stored whole has them.
    expect(JSON.stringify(snapshot)).toBe(canonicalJson(last));
    const replays = [...bodies.values()].slice(1);
    for (const bytes of replays) expect(bytes.length).toBeLessThan(500);
  }
});

test("how the nodes of the parent of a Strict replay ended is stored once, whoever replays it", () => {
  const nodes = Array.from({ length: 500 }, (_, n) => ({ name: `n${n}`, state: "Succeeded", steps: n }));
  const end = { phase: "Succeeded", reason: "Succeeded", message: "", nodes };
  const strict = (uid: string) =>
    ({ ...first, uid, replay: { mode: "Strict", lineage: ["u0"], base: "", end } }) as unknown as Snapshot;
  const [one, two] = [snapshotBodies(strict("u1"), first), snapshotBodies(strict("u2"), first)];
  expect(one.ends).toEqual(two.ends);
  expect(one.snapshot.bytes.length).toBeLessThan(500);
  const { digest, bytes } = one.ends ?? { digest: "", bytes: "" };
  // Without a base it is stored whole but for that.
  const whole = snapshotBodies(strict("u1"), undefined).snapshot;
  const reader = read(
    new Map([
      [whole.digest, whole.bytes],
      [digest, bytes],
    ]),
    whole.digest,
  );
  expect(reader.home).toBe("u0");
  expect(JSON.stringify(reader.snapshot)).toBe(canonicalJson(strict("u1")));
  // Where that went with the parent's journal, which was brought back: shown all the same.
  const lacking = new SnapshotReader(whole.digest);
  lacking.read(whole.bytes);
  expect([lacking.wanted, lacking.snapshot]).toEqual([digest, undefined]);
  lacking.lacks();
  const { nodes: _nodes, ...told } = end;
  expect([lacking.wanted, lacking.snapshot?.replay?.end, lacking.snapshot?.spec]).toEqual([
    undefined,
    told,
    first.spec,
  ]);
});

test("one that another version stored as a whole is read as it is", () => {
  const snapshot = {
    ...first,
    replay: { mode: "Strict", lineage: ["u0"], end: { phase: "Failed", nodes: [{ name: "a" }] } },
  };
  const bytes = canonicalJson(snapshot);
  expect(read(new Map([["d", bytes]]), "d").snapshot).toEqual(snapshot);
});

test("a change of nothing, or that does not fit, is no snapshot", () => {
  const nowhere = canonicalJson({ v: 1, uid: "u", replay: { lineage: [] }, patch: [] });
  expect(() => read(new Map([["d", nowhere]]), "d")).toThrow("a change of a snapshot that it does not name");
  const base = canonicalJson(first);
  const patch = [{ op: "remove", path: "/spec/nodes/7" }];
  const misfit = canonicalJson({ v: 1, uid: "u", replay: { lineage: [], base: sha256Hex(base) }, patch });
  expect(() =>
    read(
      new Map([
        ["d", misfit],
        [sha256Hex(base), base],
      ]),
      "d",
    ),
  ).toThrow(RangeError); // prettier-ignore
});
