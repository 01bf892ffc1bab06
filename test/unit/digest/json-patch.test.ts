import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "../../../src/core/digest/digest.ts";
import type { Json } from "../../../src/core/digest/json.ts";
import { patched, patchOf } from "../../../src/core/digest/json-patch.ts";
import { baseSeed } from "../../support/random.ts";

const seed = baseSeed();
/** Names that pointers escape, and the one that plain assignment takes for something else. */
const names = fc.oneof(fc.constantFrom("a", "b", "a/b", "~", "~1", "", "__proto__", "0"), fc.string({ maxLength: 3 }));
const json = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, 0, 1, "", "x", "long ".repeat(9)),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.array(fc.tuple(names, tie("value")), { maxLength: 4 }).map((pairs) => Object.fromEntries(pairs) as Json),
  ),
})).value;

test(`a patch makes the one value of the other, which stays as it was (seed ${seed})`, () => {
  fc.assert(
    fc.property(json, json, (before, after) => {
      const [was, wanted] = [canonicalJson(before), canonicalJson(after)];
      // As it is read back from where it was stored.
      const patch = JSON.parse(canonicalJson(patchOf(before, after))) as ReturnType<typeof patchOf>;
      expect(canonicalJson(patched(before, patch))).toBe(wanted);
      expect(canonicalJson(before)).toBe(was);
      expect(patch.length === 0).toBe(was === wanted);
      const whole = canonicalJson([{ op: "replace", path: "", value: after }]);
      expect(canonicalJson(patch).length).toBeLessThanOrEqual(whole.length);
    }),
    { seed, numRuns: 2_000 },
  );
});

test("what is the same is not said again", () => {
  const nodes = Array.from({ length: 1_000 }, (_, n) => ({ name: `n${n}`, agent: { ref: "a", prompt: `Go ${n}.` } }));
  const changed = nodes.with(999, { name: "n999", agent: { ref: "a", prompt: "Stop." } });
  expect(patchOf({ nodes }, { nodes: changed })).toEqual([
    { op: "replace", path: "/nodes/999/agent/prompt", value: "Stop." },
  ]);
  expect(patchOf({ nodes }, { nodes: nodes.slice(0, 998), "a/b": 1 })).toEqual([
    { op: "remove", path: "/nodes/999" },
    { op: "remove", path: "/nodes/998" },
    { op: "add", path: "/a~1b", value: 1 },
  ]);
});

test("a value of which most is another is said as a whole, and long lists take no longer for it", () => {
  const digits = (shift: number) => Array.from({ length: 200_000 }, (_, n) => (n + shift) % 10);
  const [before, after] = [
    { input: { xs: digits(0) }, task: "t" },
    { input: { xs: digits(1) }, task: "t" },
  ];
  const patch = patchOf(before, after);
  expect(patch).toEqual([{ op: "replace", path: "/input/xs", value: after.input.xs }]);
  expect(patched(before, patch)).toEqual(after);
  const grown = { input: { xs: [...before.input.xs, ...Array.from({ length: 5_000 }, () => 1)] }, task: "t" };
  expect(patched(before, patchOf(before, grown))).toEqual(grown);
});

test.each([
  ["an element that is not there", { op: "replace", path: "/list/2", value: 1 }],
  ["an element in the middle", { op: "remove", path: "/list/0" }],
  ["a place behind a gap", { op: "add", path: "/list/5", value: 1 }],
  ["a member that is not there", { op: "remove", path: "/other" }],
  ["a member that is there already", { op: "add", path: "/list", value: 1 }],
  ["something inside of a text", { op: "add", path: "/text/0", value: 1 }],
  ["an inherited member", { op: "replace", path: "/constructor/name", value: 1 }],
] as const)("a patch that was edited is refused: %s", (_what, operation) => {
  expect(() => patched({ list: [1, 2], text: "x" }, [operation])).toThrow(RangeError);
});
