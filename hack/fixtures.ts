// `npm run fixtures [-- NAME]`: records the runs of test/support/fixture-shapes.ts with the program as it is now and keeps them in
// test/golden/fixtures/NAME, for every later version to replay. NAME is the version of package.json unless given. What is there
// already is never written again: it is worth something because an earlier program wrote it.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseScript } from "../src/cli/mock-model/script.ts";
import { type MockModel, startMockModel } from "../src/cli/mock-model/server.ts";
import { setup } from "../test/cli/build.ts";
import { root, type Workplace, workplace } from "../test/cli/harness.ts";
import { fixtureFiles, type FixtureShape, fixtureShapes } from "../test/support/fixture-shapes.ts";

const bytesMax = 100_000;
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const name = process.argv[2] ?? version;
const folder = join(root, "test/golden/fixtures", name);

if (!/^[a-z0-9.-]+$/.test(name)) fail(`${name} is no name for a folder: letters, digits, dots and dashes`);
if (existsSync(folder))
  fail(`test/golden/fixtures/${name} is there already, and is never written again; give another name`);
setup();
const bundles = new Map<string, Buffer>();
for (const shape of fixtureShapes) bundles.set(shape.name, await record(shape));
mkdirSync(folder, { recursive: true });
for (const [shape, bytes] of bundles) {
  writeFileSync(join(folder, `${shape}.jsonl`), bytes);
  console.log(`test/golden/fixtures/${name}/${shape}.jsonl  ${bytes.length} bytes`);
}

function fail(why: string): never {
  console.error(`fixtures: ${why}`);
  process.exit(2);
}

async function record(shape: FixtureShape): Promise<Buffer> {
  const place = workplace();
  const server = await startMockModel({ script: parseScript(shape.script, shape.name) });
  try {
    return await recordAt(place, server, shape);
  } finally {
    await place.end();
    await server.close();
  }
}

async function recordAt(place: Workplace, server: MockModel, shape: FixtureShape): Promise<Buffer> {
  const path = (file: string) => join(place.folder, file);
  const files = { ...fixtureFiles, "run.yaml": shape.manifest(server.baseURL) };
  for (const [file, text] of Object.entries(files)) writeFileSync(path(file), text);
  const run = place.start(["run", "run.yaml"]);
  if (shape.cancelAt !== undefined) {
    const wanted = shape.cancelAt;
    const reached = server.waitForCall(({ ruleName }) => ruleName === wanted);
    await Promise.race([reached, run.ended]);
    await place.oao(["cancel", shape.name]);
  }
  const { code, stderr } = await run.ended;
  if (code !== shape.exitCode) throw new Error(`${shape.name} ended with ${code}, not ${shape.exitCode}:\n${stderr}`);
  const exported = await place.oao(["export", shape.name, "-O", "run.jsonl"]);
  if (exported.code !== 0) throw new Error(exported.stderr);
  const { size } = statSync(path("run.jsonl"));
  if (size > bytesMax) throw new Error(`${shape.name} takes ${size} bytes, more than ${bytesMax}`);
  return readFileSync(path("run.jsonl"));
}
