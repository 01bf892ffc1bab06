/** Schemathesis makes requests from the OpenAPI document, good and bad ones, and holds the answers against it. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { schemathesisProgram } from "../../../hack/schemathesis.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import { type Ended, watchChild } from "../../cli/harness.ts";
import { makeAuthority, makeServing } from "../../../src/operator/api/certificate.ts";
import { type Api, ask } from "./api-client.ts";
import { type ApiField, openApiField } from "./api-field.ts";

let field: ApiField;
const authority = makeAuthority(Date.now());
const given = makeServing(authority, ["localhost"], Date.now());
const tls = mkdtempSync(join(tmpdir(), "oao-tls-"));
beforeAll(async () => {
  const files = { "tls.crt": given.certificate, "tls.key": given.key, "ca.crt": authority.certificate };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(tls, name), text);
  field = await openApiField({ OAO_API_RATE: "10000", OAO_API_BURST: "10000", OAO_API_TLS_FOLDER: tls });
  // Of the many replays that are asked for one is at work, the others stand in the queue.
  const path = resourcePath(resources.policies, { namespace: field.namespace, name: "market-brief" });
  const body = { spec: { limits: { maxConcurrentExecutions: 1 } } };
  await field.admin.request({ method: "PATCH", patch: "Merge", path, body });
});
afterAll(async () => {
  await field.end();
  rmSync(tls, { recursive: true });
});

const seed = process.env["OAO_SEED"] ?? "1";

/** What is wrong may be refused with any word for it; a document cannot say how many steps a run has, nor what a spec may be. */
const checks = [
  "[checks.negative_data_rejection]",
  'expected-statuses = ["4xx"]',
  "[checks.positive_data_acceptance]",
  'expected-statuses = ["2xx", "404", "409", "422"]',
].join("\n");

/** `config`: TOML. */
function fuzz(token: string, config: string, ...args: readonly string[]): Promise<Ended> {
  const [{ port, ca }] = field.apis as [Api];
  const file = (name: string, text: string) => {
    const path = join(field.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const from = ["run", `https://localhost:${port}/openapi.json`, "--tls-verify", file("ca.crt", ca)];
  const as = ["--header", `Authorization: Bearer ${token}`, "--seed", seed, "--no-color"];
  const all = ["--config-file", file("schemathesis.toml", `${config}${checks}\n`), ...from, ...as, ...args];
  const child = spawn(schemathesisProgram(), all, { cwd: field.folder, stdio: ["ignore", "pipe", "pipe"] });
  return watchChild(child).ended;
}

/** How many answers of each status this caller got of each operation, as the operator's log has it. */
function answersTo(who: string): ReadonlyMap<string, ReadonlyMap<number, number>> {
  const counts = new Map<string, Map<number, number>>();
  for (const line of field.operators[0]?.text().split("\n") ?? []) {
    if (!line.includes(`:${who}"`) || !line.includes('"msg":"api"')) continue;
    const { operation, status } = JSON.parse(line) as { operation: string; status: number };
    const ofIt = counts.get(operation) ?? new Map<number, number>();
    counts.set(operation, ofIt.set(status, (ofIt.get(status) ?? 0) + 1));
  }
  return counts;
}

const operations = [
  "bodies",
  "events",
  "export",
  "hash",
  "journal",
  "journalAfter",
  "replayByName",
  "replayByUid",
  "trace",
];

test("serves with the certificate that it is given, and tells clients its authority", async () => {
  const [api] = field.apis as [Api];
  expect(api.ca).toBe(authority.certificate);
  expect((await ask(api, "/openapi.json")).status).toBe(200);
});

test("keeps its word about a run that is there and may be read, replays of it included", async () => {
  const { token = "" } = await field.person("alice", ["oao-view", "oao-edit", "oao-journal-reader"]);
  const place = `[parameters]\n"path.namespace" = "${field.namespace}"\n"path.name" = "brief"\n"path.execution_id" = "${field.run.metadata.uid}"\n`;
  const { code, stdout } = await fuzz(token, place, "--max-examples", "5", "--phases", "coverage,fuzzing");
  expect(code, stdout).toBe(0);
  const answers = answersTo("alice");
  expect([...answers.keys()].sort()).toEqual(operations);
  for (const [operation, statuses] of answers) {
    expect([operation, statuses.has(operation.startsWith("replay") ? 201 : 200)]).toEqual([operation, true]);
    expect([operation, [...statuses.keys()].filter((status) => status >= 500)]).toEqual([operation, []]);
  }
});

test("says nothing but that it is not there to those who may read nothing, whatever they ask for", async () => {
  const { token = "" } = await field.person("mallory", []);
  const { code, stdout } = await fuzz(token, "", "--max-examples", "15", "--phases", "fuzzing");
  expect(code, stdout).toBe(0);
  const answers = answersTo("mallory");
  expect([...answers.keys()].sort()).toEqual(operations);
  for (const [operation, statuses] of answers) {
    expect([operation, statuses.has(404)]).toEqual([operation, true]);
    expect([operation, [...statuses.keys()].filter((status) => status < 400 || status >= 500)]).toEqual([
      operation,
      [],
    ]);
  }
});
