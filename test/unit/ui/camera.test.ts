import { describe, expect, it } from "vitest";
import { begin, fit, legibleFrom, reveal, shows, zoom } from "../../../src/ui/page/graph/camera.ts";

const view = { width: 840, height: 260 };
const chain = { width: 60 * 232, height: 34 };
const large = { width: 33 * 232, height: 32 * 46 };

describe("what is seen of a graph", () => {
  it("is all of it, when it fits or when no part of it could be read with its surroundings", () => {
    expect(begin({ width: 600, height: 100 }, view)).toEqual(fit({ width: 600, height: 100 }, view));
    expect(begin(large, view)).toEqual(fit(large, view));
  });

  it("is the beginning of a long chain, large enough for names", () => {
    expect(fit(chain, view).scale).toBeLessThan(legibleFrom);
    const camera = begin(chain, view);
    expect(camera.scale).toBeGreaterThanOrEqual(legibleFrom);
    expect(shows(camera, view, { x: 0, y: 0, width: 176, height: 34 })).toBe(true);
  });

  it("moves to a node no further than is needed, and not at all when it is in sight", () => {
    const camera = begin(chain, view);
    const far = { x: 40 * 232, y: 0, width: 176, height: 34 };
    expect(shows(camera, view, far)).toBe(false);
    expect(shows(reveal(camera, view, far), view, far)).toBe(true);
    expect(reveal(camera, view, { ...far, x: 232 })).toEqual(camera);
  });

  it("keeps the point under the pointer in its place", () => {
    const at = { x: 300, y: 120 };
    const before = fit(large, view);
    const after = zoom(before, 1.7, at);
    expect(after.x + at.x / after.scale).toBeCloseTo(before.x + at.x / before.scale);
    expect(after.y + at.y / after.scale).toBeCloseTo(before.y + at.y / before.scale);
  });
});
