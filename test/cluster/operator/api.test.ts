/** The HTTP API of two replicas of the built operator: who gets in, what they get, and what they cannot do to it. */
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { parse } from "yaml";
import { systemClock } from "../../../src/adapters/clock/system-clock.ts";
import { KubeClient } from "../../../src/adapters/kube/client.ts";
import { loadKubeConfig } from "../../../src/adapters/kube/connection.ts";
import { resourcePath, resources } from "../../../src/adapters/kube/resources.ts";
import type { KubeExecution } from "../../../src/adapters/kube/stored.ts";
import { Authenticator } from "../../../src/operator/api/authenticate.ts";
import { traceRow } from "../../../src/operator/api/schemas.ts";
import { root } from "../../cli/harness.ts";
import { eventually } from "../../support/patience.ts";
import {
  type Api,
  ask,
  type Ask,
  drip,
  type Dripped,
  type Event,
  foreignCertificate,
  listen,
  open,
  type Told,
  type Who,
  whoIs,
} from "./api-client.ts";
import { type ApiField, bodyOf, openApiField, threeSteps } from "./api-field.ts";
import { accessOf } from "./harness.ts";

let field: ApiField;
let api: Api;
let other: Api;
let run: KubeExecution;
/** Who may read journals and create runs here; journals alone; runs alone; the same in another namespace. */
let alice: Who;
let reader: Who;
let editor: Who;
let stranger: Who;
let admin: Who;
let dripped: Promise<Dripped>;

beforeAll(async () => {
  field = await openApiField({ OAO_API_RATE: "200", OAO_API_BURST: "400" }, { OAO_API_RATE: "5" });
  [api, other] = field.apis as [Api, Api];
  run = field.run;
  alice = await field.person("alice", ["oao-view", "oao-edit", "oao-journal-reader"]);
  reader = await field.person("reader", ["oao-journal-reader"]);
  editor = await field.person("editor", ["oao-view", "oao-edit"]);
  stranger = await field.person("stranger", ["oao-edit", "oao-journal-reader"], field.elsewhere);
  admin = whoIs(inject("kubeconfig"));
  dripped = drip(api, replayPath(), alice);
});
afterAll(() => field.end());

const at = (name: string, what: string) => `/executions/${field.namespace}/${name}/${what}`;
const trace = (how: Ask, name = "brief") => ask(api, at(name, "trace"), how);
const replayPath = (name = "brief") => `/replay/${field.namespace}/${name}`;
const problem = (told: Told) => told.json() as { type: string; status: number; detail?: string; errors?: object[] };

describe("who gets in", () => {
  test("nobody without credentials: 401, with what would be one", async () => {
    const told = await trace({});
    expect(told).toMatchObject({
      status: 401,
      headers: { "www-authenticate": 'Bearer realm="oao"', "content-type": "application/problem+json" },
    });
    expect(problem(told)).toMatchObject({ type: "urn:oao:problem:unauthenticated", status: 401 });
  });

  test("nobody with a token that the cluster does not know, that was made for another audience, or that is no token", async () => {
    const account = { namespace: field.namespace, name: "alice", subresource: "token" };
    const { status } = await field.admin.request<{ status: { token: string } }>({
      method: "POST",
      path: resourcePath({ group: "", version: "v1", plural: "serviceaccounts" }, account),
      body: { spec: { audiences: ["somebody-else"] } },
    });
    for (const token of ["made.up.token", status.token]) expect((await trace({ token })).status).toBe(401);
    for (const authorization of ["Basic YTpi", "Bearer", "Bearer a b", "bearer  x"])
      expect((await trace({ headers: { authorization } })).status).toBe(401);
  });

  test("a token of the cluster, and a client certificate of its authority", async () => {
    expect(await trace(alice)).toMatchObject({ status: 200 });
    expect(admin.cert).toContain("BEGIN CERTIFICATE");
    expect(await trace(admin)).toMatchObject({ status: 200 });
  });

  test("no certificate of a foreign authority, whatever name is in it; nor beside a wrong token", async () => {
    const forged = foreignCertificate(field.folder, "/O=system:masters/CN=kubernetes-admin");
    expect((await trace(forged)).status).toBe(401);
    expect((await trace({ ...admin, token: "made.up.token" })).status).toBe(401);
    expect((await trace({ ...forged, ...alice })).status).toBe(200);
  });

  test("nobody by a certificate that a browser shows for another site's page", async () => {
    for (const site of ["cross-site", "same-site"])
      expect((await trace({ ...admin, headers: { "Sec-Fetch-Site": site } })).status).toBe(401);
    expect((await trace({ ...admin, headers: { "Sec-Fetch-Site": "none" } })).status).toBe(200);
    expect((await trace({ ...alice, headers: { "Sec-Fetch-Site": "cross-site" } })).status).toBe(200);
  });

  test("whoever was known, however many guess from the same address, also once what was said of them is too old", async () => {
    let nowMs = 0;
    const { admin: client } = field;
    const authenticator = new Authenticator({ client, nowMs: () => nowMs, trustsCertificates: () => false });
    const as = (token: string) =>
      authenticator.identify({
        headers: { authorization: `Bearer ${token}` },
        socket: { remoteAddress: "192.0.2.7" },
      } as IncomingMessage);
    expect(await as(alice.token ?? "")).toMatchObject({ groups: expect.arrayContaining(["system:serviceaccounts"]) });
    for (let count = 0; count < 50; count += 1) expect(await as(`guess${count}`)).toBeUndefined();
    nowMs = 60;
    await expect(as("guess")).rejects.toMatchObject({ kind: "too-many-requests" });
    nowMs = 10_001;
    for (let count = 0; count < 50; count += 1) await as(`again${count}`);
    await expect(as(reader.token ?? "")).rejects.toMatchObject({ kind: "too-many-requests" });
    expect(await as(alice.token ?? "")).toMatchObject({ username: `system:serviceaccount:${field.namespace}:alice` });
  });

  test("nobody by what a proxy in front would say of them, and nobody as somebody else", async () => {
    const claims = {
      "X-Remote-User": "kubernetes-admin",
      "X-Remote-Group": "system:masters",
      "X-Remote-Extra-Scopes": "all",
    };
    expect((await trace({ headers: claims })).status).toBe(401);
    expect(await trace({ ...stranger, headers: claims })).toMatchObject({ status: 404 });
    expect((await trace({ ...admin, headers: { "Impersonate-User": "somebody" } })).status).toBe(400);
  });
});

describe("what they may do", () => {
  test("a journal is for those who may read it here: others are told byte for byte what they are told of what is not there", async () => {
    const unknown = await trace(alice, "no-such-run");
    expect(unknown.status).toBe(404);
    for (const who of [stranger, editor]) {
      for (const name of ["brief", "no-such-run"]) {
        const told = await trace(who, name);
        expect([told.status, told.text]).toEqual([404, unknown.text]);
        const { "x-request-id": _, date: __, ...headers } = told.headers;
        const { "x-request-id": ___, date: ____, ...wanted } = unknown.headers;
        expect(headers).toEqual(wanted);
      }
    }
    const outside = await ask(api, `/executions/${field.elsewhere}/brief/trace`, alice);
    expect([outside.status, outside.text]).toEqual([404, unknown.text]);
  });

  test("a replay needs the right to create runs too, by name and by UID", async () => {
    const uid = run.metadata.uid;
    const unknown = await ask(api, replayPath("no-such-run"), { ...alice, method: "POST" });
    expect(unknown.status).toBe(404);
    for (const path of [replayPath(), `/replay/${uid}`, "/replay/00000000-0000-0000-0000-000000000000"])
      for (const who of [stranger, editor, reader]) {
        const told = await ask(api, path, { ...who, method: "POST" });
        expect([told.status, told.text]).toEqual([404, unknown.text]);
      }
  });

  test("who asked for a replay is written by the operator alone", async () => {
    const client = new KubeClient(
      loadKubeConfig(
        await accessOf(field.admin, field.namespace, field.folder, "forger", ["oao-view", "oao-edit", "oao-approver"]),
      ),
      { clock: systemClock },
    );
    const annotations = { "oao.dev/requested-by": "somebody else" };
    const refused = { status: 403, message: expect.stringContaining("written by the operator alone") };
    await eventually(() =>
      expect(
        client.request({
          method: "POST",
          path: field.executions,
          query: { dryRun: "All" },
          body: bodyOf("forged", annotations),
        }),
      ).rejects.toMatchObject(refused),
    );
    const path = resourcePath(resources.executions, { namespace: field.namespace, name: "brief" });
    await expect(
      client.request({ method: "PATCH", patch: "Merge", path, body: { metadata: { annotations } } }),
    ).rejects.toMatchObject(refused);
    await client.request({
      method: "PATCH",
      patch: "Merge",
      path,
      body: { metadata: { annotations: { "team/note": "x" } } },
    });
    client.close();
  });
});

describe("a trace", () => {
  test("has the rows of the run, numbered, in the form that is documented, as JSON and as lines, whole and in part", async () => {
    const rows = (await trace(alice)).json() as { step_number: number; node: string }[];
    expect(rows.map(({ step_number }) => step_number)).toEqual(rows.map((_, index) => index + 1));
    expect(rows.length).toBe(run.status?.steps);
    expect(traceRow.strict().array().safeParse(rows)).toMatchObject({ success: true });
    const lines = await trace({ ...alice, headers: { accept: "application/jsonl" } });
    expect(lines.headers["content-type"]).toBe("application/jsonl");
    expect(
      lines.text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual(rows);
    const part = await ask(api, `${at("brief", "trace")}?from_step=3&limit=2`, alice);
    expect(part.json()).toEqual(rows.slice(2, 4));
    const past = await ask(api, `${at("brief", "trace")}?from_step=99`, alice);
    expect(past.status).toBe(422);
    expect(problem(past).errors).toEqual([
      { field: "query.from_step", message: `the run has steps 1 to ${rows.length}` },
    ]);
  });

  test("has nothing for HEAD but the head; OPTIONS says what is served, other methods are not", async () => {
    expect(await trace({ ...alice, method: "HEAD" })).toMatchObject({ status: 200, text: "" });
    expect(await trace({ method: "OPTIONS" })).toMatchObject({ status: 204, headers: { allow: "GET, HEAD, OPTIONS" } });
    expect(await trace({ ...alice, method: "DELETE" })).toMatchObject({
      status: 405,
      headers: { allow: "GET, HEAD, OPTIONS" },
    });
    expect((await ask(api, replayPath(), alice)).status).toBe(405);
    expect((await trace({ ...alice, headers: { accept: "image/png" } })).status).toBe(406);
  });

  test("is made of the journal, which can be read as it is stored", async () => {
    const told = await ask(api, `${at("brief", "journal")}?node=${run.status?.nodes[0]?.name}`, reader);
    const entries = told.text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { node: string; index: number; bytes: string });
    expect(entries.map(({ node, index }) => [node, index])).toEqual(
      entries.map((_, index) => [run.status?.nodes[0]?.name, index]),
    );
    expect(JSON.parse(entries[0]?.bytes ?? "")).toMatchObject({ type: "start" });
  });
});

describe("a replay", () => {
  const post = (how: Ask, path = replayPath(), at = api) => ask(at, path, { ...alice, method: "POST", ...how });
  const objectOf = (told: Told) => told.json() as KubeExecution;
  const author = () => `system:serviceaccount:${field.namespace}:alice`;

  test("is made for who asks, from a step on, by UID: of the spec alone, with their name on it, and it runs", async () => {
    await field.patch("brief", { metadata: { labels: { team: "a" }, annotations: { note: "x" } } });
    const told = await post({}, `/replay/${run.metadata.uid}?from_step=3`);
    expect(told.status).toBe(201);
    const made = objectOf(told);
    expect(told.headers.location).toBe(`${field.executions}/${made.metadata.name}`);
    expect(made.metadata.name).toMatch(/^brief-replay-/);
    expect(made.metadata.labels).toBeUndefined();
    expect(made.metadata.finalizers).toBeUndefined();
    expect(Object.keys(made.metadata.annotations ?? {}).sort()).toEqual([
      "oao.dev/request-digest",
      "oao.dev/requested-by",
    ]);
    expect(made.metadata.annotations?.["oao.dev/requested-by"]).toBe(author());
    expect(made.spec).toEqual({ replay: { executionRef: { name: "brief", uid: run.metadata.uid }, fromStep: 3 } });
    const ended = await field.until(made.metadata.name, ({ status }) => status?.completedAt !== undefined);
    expect(ended.status).toMatchObject({ phase: "Succeeded", replay: { mode: "Fork", fromStep: 3 } });
    const rows = (await trace(reader, made.metadata.name)).json() as { output: unknown; step_number: number }[];
    const before = (await trace(reader)).json() as { output: unknown }[];
    expect(rows.map(({ step_number }) => step_number)).toEqual(before.map((_, index) => index + 1));
    expect(rows.slice(0, 2).map(({ output }) => output)).toEqual(before.slice(0, 2).map(({ output }) => output));
  });

  test("is strict without a step, and its trace hash is its parent's", async () => {
    const made = objectOf(await post({ body: '{"name":"strictly"}' }));
    const ended = await field.until("strictly", ({ status }) => status?.completedAt !== undefined);
    expect(made.metadata.name).toBe("strictly");
    expect(ended.status).toMatchObject({ phase: "Succeeded", replay: { mode: "Strict" } });
    const hash = async (name: string) => (await ask(api, at(name, "hash"), reader)).json() as Record<string, string>;
    const [child, parent] = [await hash("strictly"), await hash("brief")];
    expect(parent["traceHash"]).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(child["traceHash"]).toBe(parent["traceHash"]);
    expect(child["executionHash"]).toBe(run.status?.executionHash);
    expect(((await trace(reader, "strictly")).json() as object[]).length).toBe(run.status?.steps);
  });

  test("with an Idempotency-Key is made once, however often and at whichever replica; the key means nothing for others", async () => {
    const headers = { "Idempotency-Key": "ticket 4711".replace(" ", "-") };
    const told = await Promise.all(
      Array.from({ length: 6 }, (_, index) => post({ headers }, `${replayPath()}?from_step=1`, field.apis[index % 2])),
    );
    expect(told.map(({ status }) => status)).toEqual(told.map(() => 201));
    expect(new Set(told.map((each) => objectOf(each).metadata.uid)).size).toBe(1);
    const other = await post({ headers }, `${replayPath()}?from_step=2`);
    expect(other.status).toBe(409);
    const admins = await ask(api, `${replayPath()}?from_step=1`, { ...admin, method: "POST", headers });
    expect(objectOf(admins).metadata.uid).not.toBe(objectOf(told[0] as Told).metadata.uid);
    expect((await post({ headers: { "Idempotency-Key": "a b" } })).status).toBe(422);
  });

  test("takes a patch of the spec, and says which field is wrong", async () => {
    const patched = await post(
      { body: JSON.stringify({ patch: { journalRetentionSeconds: 60 } }) },
      `${replayPath()}?from_step=2`,
    );
    expect(patched.status).toBe(201);
    expect(objectOf(patched).spec).toMatchObject({ journalRetentionSeconds: 60, replay: { fromStep: 2 } });
    // As docs/http-api.md has it.
    const agents = [{ name: "writer", model: "main", systemPrompt: "You are a writer of briefs. One sentence." }];
    const brief = await post({ body: JSON.stringify({ patch: { agents } }) }, `${replayPath()}?from_step=7`);
    expect(objectOf(brief).spec).toMatchObject({ agents, replay: { fromStep: 7 } });
    const ended = await field.until(objectOf(brief).metadata.name, ({ status }) => status?.completedAt !== undefined);
    expect(ended.status).toMatchObject({ phase: "Succeeded", replay: { mode: "Fork" } });
    const wrong = async (body: object, query = "") => {
      const told = await post({ body: JSON.stringify(body) }, `${replayPath()}${query}`);
      return [told.status, problem(told).errors ?? problem(told).detail];
    };
    expect(await wrong({ patch: { nodez: [] } })).toMatchObject([422, [{ field: "spec" }]]);
    expect(await wrong({ patch: { nodes: "x" } })).toMatchObject([422, [{ field: "spec.nodes" }]]);
    expect(await wrong({ patch: { replay: {} } })).toMatchObject([422, [{ field: "body.patch.replay" }]]);
    expect(await wrong({ mode: "Strict" }, "?from_step=2")).toMatchObject([422, [{ field: "spec.replay.fromStep" }]]);
    expect(await wrong({ patch: { task: "other" } })).toEqual([422, expect.stringContaining("Strict replay proves")]);
    expect(await wrong({ name: "brief" })).toEqual([409, expect.stringContaining("not this replay")]);
    expect(await wrong({}, "?from_step=99")).toEqual([
      422,
      [{ field: "query.from_step", message: `the run has steps 1 to ${run.status?.steps}` }],
    ]);
    expect(await wrong({}, "?from_step=x")).toMatchObject([422, [{ field: "query.from_step" }]]);
  });
});

describe("events", () => {
  const steps = (told: readonly Event[]) => told.filter(({ event }) => event === "step");

  test("tell a run from its first to its last step as it happens, and end with it", async () => {
    const model = await field.script("slow.yaml", "rules: [{ reply: { tokens: 10, tokensPerSecond: 20 } }]");
    const body = threeSteps("told", model);
    await field.admin.request({ method: "POST", path: field.executions, body });
    const told = await listen(api, at("told", "events"), reader);
    const ended = await field.until("told", ({ status }) => status?.completedAt !== undefined);
    expect(steps(told).map(({ data }) => data.node)).toEqual(["one", "two", "three"]);
    expect(told.at(-1)).toMatchObject({ event: "end" });
    const phases = told.flatMap(({ data }) => data.phase ?? []);
    expect(phases).toContain("Running");
    expect(phases.at(-1)).toBe("Succeeded");
    // The first step was told before the last was made.
    expect(told.findIndex(({ data }) => data.node === "one")).toBeLessThan(
      told.findIndex(({ data }) => data.phase === "Succeeded"),
    );
    expect(ended.status?.phase).toBe("Succeeded");
  });

  test("go on after the last id, at the other replica too: each step once; and nothing is left after the end", async () => {
    const all = await listen(api, at("brief", "events"), reader);
    const first = await listen(api, at("brief", "events"), reader, (told) => steps(told).length > 0);
    const headers = { "Last-Event-ID": first.findLast(({ id }) => id !== undefined)?.id ?? "" };
    const rest = await listen(other, at("brief", "events"), { ...reader, headers });
    const hashes = (told: readonly Event[]) => steps(told).map(({ data }) => data.hash);
    expect(hashes(first).length).toBeLessThan(hashes(all).length);
    expect(new Set([...hashes(first), ...hashes(rest)])).toEqual(new Set(hashes(all)));
    expect(hashes(first).length + hashes(rest).length).toBe(hashes(all).length);
    const end = all.findLast(({ id }) => id !== undefined)?.id ?? "";
    expect((await ask(api, at("brief", "events"), { ...reader, headers: { "Last-Event-ID": end } })).status).toBe(204);
    expect(
      (await ask(api, at("brief", "events"), { ...reader, headers: { "Last-Event-ID": "nonsense" } })).status,
    ).toBe(200);
  });

  test("are for nobody else, and of so many streams at once", async () => {
    expect((await ask(api, at("brief", "events"), stranger)).status).toBe(404);
    const model = await field.script("endless.yaml", "rules: [{ reply: { tokens: 100000, tokensPerSecond: 20 } }]");
    await field.admin.request({ method: "POST", path: field.executions, body: threeSteps("endless", model) });
    const answers = await Promise.all(Array.from({ length: 11 }, () => open(api, at("endless", "events"), reader)));
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([...Array.from({ length: 10 }, () => 200), 429]);
    for (const answer of answers) answer.destroy();
    await eventually(async () => {
      const again = await open(api, at("endless", "events"), reader);
      again.destroy();
      expect(again.statusCode).toBe(200);
    });
    expect((await ask(api, replayPath("endless"), { ...alice, method: "POST" })).status).toBe(409);
    await field.patch("endless", { spec: { desiredState: "Cancelled" } });
  });
});

describe("a caller who means no good, or is in a hurry", () => {
  test("gets nowhere by other spellings of an address", async () => {
    const base = `/executions/${field.namespace}`;
    for (const path of [
      `${base}/%62rief/trace`,
      `${base}/x/../brief/trace`,
      `${base}/%2e%2e/${field.namespace}/brief/trace`,
      `${base}%2fbrief/trace`,
      `/${base}/brief/trace`,
      `${base}//brief/trace`,
      `${base}/brief/trace/`,
      `${base}/brief/./trace`,
      `${base}/brief\\trace`,
      `${base}/brief;x=y/trace`,
      `${base}/brief/trace?limit=1&limit=2`,
      `${base}/BRIEF/trace`,
      "*",
      `https://127.0.0.1${base}/brief/trace`,
    ]) {
      const told = await ask(api, path, alice);
      expect([path, told.status]).toEqual([path, 404]);
    }
    expect((await ask(api, `/${"x".repeat(3_000)}`, alice)).status).toBe(414);
    expect((await ask(api, `${at("brief", "trace")}?from_step=-1`, alice)).status).toBe(422);
    expect((await ask(api, `${at("brief", "trace")}?step=1`, alice)).status).toBe(422);
  });

  test("is told that a body is too large, no JSON, or of another kind, and is heard no longer", async () => {
    const post = (how: Ask) => ask(api, replayPath(), { ...alice, method: "POST", ...how });
    const large = JSON.stringify({ patch: { task: "x".repeat(2_000_000) } });
    expect((await post({ body: large })).status).toBe(413);
    expect((await post({ body: "{" })).status).toBe(400);
    expect((await post({ body: Buffer.from([0x22, 0xff, 0x22]) })).status).toBe(400);
    expect((await post({ body: "{}", headers: { "Content-Type": "text/plain" } })).status).toBe(415);
    expect((await post({ body: "[]" })).status).toBe(422);
    expect(problem(await post({ body: '{"nme":"x"}' })).errors).toMatchObject([{ field: "body.nme" }]);
    expect((await ask(api, "/openapi.json", { headers: { "X-Filler": "x".repeat(40_000) } })).status).toBe(431);
  });

  test("who sends a body drop by drop is cut off", async () => {
    const { said, tookMs } = await dripped;
    expect(said).toMatch(/^HTTP\/1\.1 408 /);
    expect(tookMs).toBeLessThan(30_000);
  });

  test("is slowed down, alone, and so is whoever guesses tokens", async () => {
    const slow = other;
    const told = await Promise.all(Array.from({ length: 120 }, () => ask(slow, at("x", "trace"), reader)));
    const refused = told.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(5);
    expect((await ask(slow, at("brief", "trace"), alice)).status).toBe(200);
    expect(refused[0]).toMatchObject({ status: 429, headers: { "retry-after": "1" } });
    const guesses: number[] = [];
    for (let count = 0; count < 300 && guesses.at(-1) !== 429; count += 1)
      guesses.push((await ask(slow, at("x", "trace"), { token: `guess${count}` })).status);
    expect(guesses.slice(0, 50)).toEqual(guesses.slice(0, 50).map(() => 401));
    // Who is known already is not kept waiting for it.
    expect((await ask(slow, at("brief", "trace"), alice)).status).toBe(200);
    expect(guesses.at(-1)).toBe(429);
  });

  test("finds the id of each request in the answer and in the log, and no credentials there", async () => {
    const told = await trace({ ...alice, headers: { "X-Request-Id": "my-id.1" } });
    expect(told.headers["x-request-id"]).toBe("my-id.1");
    expect((await trace({ ...alice, headers: { "X-Request-Id": "a b\u00e9" } })).headers["x-request-id"]).toMatch(
      /^[0-9a-f-]{36}$/,
    );
    await eventually(() => expect(field.operators[0]?.text()).toContain('"requestId":"my-id.1"'));
    const log = field.operators.map((each) => each.text()).join("");
    for (const secret of [alice.token, reader.token, "made.up.token", "guess3", "OAO_"])
      expect(log).not.toContain(secret);
    expect(log).not.toContain("BEGIN");
  });
});

describe("the document", () => {
  test("is readable by everybody, and is the one in docs", async () => {
    const told = await ask(api, "/openapi.json");
    expect(told.status).toBe(200);
    expect(told.json()).toEqual(parse(readFileSync(join(root, "docs/openapi.json"), "utf8")));
  });
});
