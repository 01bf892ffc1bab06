/** Schemathesis makes requests from the OpenAPI document, good and bad ones, and holds the answers against it. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { schemathesisProgram } from "../../../hack/schemathesis.ts";
import { resourcePath } from "../../../src/adapters/kube/resources.ts";
import { sample, serveModel } from "../../cli/harness.ts";
import { configMaps, type ConfigMap } from "../adapter/api-server.ts";
import { whoIs } from "./api-client.ts";
import { accessOf, type Field, openField, type Operator } from "./harness.ts";

let field: Field;
let operator: Operator;
beforeAll(async () => {
  field = await openField({ api: true });
  operator = await field.startOperator("operator-0", { OAO_API_RATE: "10000", OAO_API_BURST: "10000" });
  const model = await serveModel(field.place, sample("market-brief.model.yaml"));
  await field.apply("market-brief.yaml", "brief", model);
  await field.until("brief", ({ status }) => status?.completedAt !== undefined && status.sealed === true);
});
afterAll(() => field.end());

const seed = process.env["OAO_SEED"] ?? "1";

/** `config`: TOML. */
async function fuzz(
  token: string,
  config: string,
  ...args: readonly string[]
): Promise<{ code: number | null; text: string }> {
  const path = resourcePath(configMaps, { namespace: field.home, name: "oao-api" });
  const ca = (await field.admin.request<ConfigMap>({ path })).data?.["ca.crt"] ?? "";
  writeFileSync(join(field.folder, "ca.crt"), ca);
  writeFileSync(join(field.folder, "schemathesis.toml"), config);
  const child = spawn(
    schemathesisProgram(),
    [
      "--config-file",
      join(field.folder, "schemathesis.toml"),
      "run",
      `https://localhost:${operator.apiPort}/openapi.json`,
      "--tls-verify",
      join(field.folder, "ca.crt"),
      "--header",
      `Authorization: Bearer ${token}`,
      "--seed",
      seed,
      "--no-color",
      ...args,
    ],
    { cwd: field.folder, stdio: ["ignore", "pipe", "pipe"] },
  );
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (text += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, text };
}

test("keeps its word about a run that is there and may be read, replays of it included", async () => {
  const roles = ["oao-view", "oao-edit", "oao-journal-reader"];
  const { token = "" } = whoIs(await accessOf(field.admin, field.namespace, field.folder, "alice", roles));
  const place = `[parameters]\n"path.namespace" = "${field.namespace}"\n"path.name" = "brief"\n`;
  expect(await fuzz(token, place, "--max-examples", "20", "--phases", "coverage,fuzzing")).toMatchObject({ code: 0 });
});

test("says nothing but that it is not there to those who may read nothing, whatever they ask for", async () => {
  const { token = "" } = whoIs(await accessOf(field.admin, field.namespace, field.folder, "mallory", []));
  expect(await fuzz(token, "", "--max-examples", "60", "--phases", "fuzzing")).toMatchObject({ code: 0 });
  expect(operator.text()).not.toContain('"status":500');
});
