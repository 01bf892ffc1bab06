/** Runs that earlier versions recorded: each is verified, replayed strictly without a server, and forked, by this version. */
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseScript } from "../../src/cli/mock-model/script.ts";
import { startMockModel } from "../../src/cli/mock-model/server.ts";
import { fixtureFiles, fixtureShapes } from "../support/fixture-shapes.ts";
import { root, workplace } from "./harness.ts";

const folder = join(root, "test/golden/fixtures");
const versions = readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

describe.each(versions)("a run that %s recorded", (version) => {
  it.each(fixtureShapes)("can be replayed and forked: $name", async ({ name, script, forkScript, fork, liveCalls }) => {
    const bundle = join(folder, version, `${name}.jsonl`);
    expect(statSync(bundle).size).toBeLessThan(100_000);
    const place = workplace();
    try {
      for (const [file, text] of Object.entries(fixtureFiles)) writeFileSync(join(place.folder, file), text);
      // The server that it was recorded with is long gone.
      const verified = await place.oao(["verify", bundle]);
      expect(verified, verified.stderr).toMatchObject({ code: 0 });
      expect(verified.stdout).toContain("replayed here without a call");
      expect(await place.oao(["import", bundle])).toMatchObject({ code: 0 });
      const server = await startMockModel({ script: parseScript(forkScript ?? script, name) });
      const model = ["--set", `models.main.baseURL=${server.baseURL}`];
      const forked = await place.oao(["replay", name, "--name", "fork", ...fork, ...model, "-o", "json"]);
      expect(forked, forked.stderr).toMatchObject({ code: 0 });
      expect(server.calls()).toHaveLength(liveCalls);
      await server.close();
      const { status } = JSON.parse(forked.stdout);
      expect(status.replay.liveSteps).toBe(liveCalls);
      expect(status.replay.reusedSteps).toBe(status.steps - liveCalls);
      expect(status.replay.reusedSteps).toBeGreaterThan(0);
    } finally {
      await place.end();
    }
  });
});

it("there is a recording of this kind at all", () => {
  expect(versions.length).toBeGreaterThan(0);
});
