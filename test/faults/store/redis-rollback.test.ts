/** `oao run` over a Redis that is killed and forgets while its worker is dead too: whatever comes of it is said. */
import { writeFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ExecutionStatus } from "../../../src/api/status.ts";
import { type Ended, type Workplace, workplace } from "../../cli/harness.ts";
import { durable, RedisProcess } from "../../support/redis-process.ts";

const everysec = { ...durable, appendfsync: "everysec" };
let place: Workplace;
let redis: RedisProcess;
let gate: Gate;

/** A catalogue whose answers wait until the test has done what it does at that moment. */
class Gate {
  readonly #server: Server;
  readonly paths: string[] = [];
  at: (path: string) => Promise<void> = async () => undefined;

  constructor() {
    this.#server = createServer((request, response) => void this.#answer(request.url ?? "", response));
  }
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
  async #answer(path: string, response: ServerResponse): Promise<void> {
    this.paths.push(path);
    await this.at(path);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ from: path }));
  }
}

beforeEach(async () => {
  place = workplace();
  gate = new Gate();
  const url = await gate.listen();
  writeFileSync(
    join(place.folder, "two.yaml"),
    `apiVersion: oao.dev/v1alpha1
kind: Execution
metadata: { name: two }
spec:
  task: Two in a row
  tools:
    - { name: one, effect: ReadOnly, http: { method: GET, url: "${url}/first" } }
    - { name: two, effect: ReadOnly, http: { method: GET, url: "${url}/second" } }
  nodes:
    - { name: first, tool: { ref: one } }
    - { name: second, dependsOn: [first], tool: { ref: two } }
`,
  );
});
afterEach(async () => {
  await place.end();
  gate.close();
  await redis.remove();
});

async function run(): Promise<{ ended: Ended; status: ExecutionStatus; durability: readonly string[] }> {
  const ended = await place.oao(["run", "two.yaml", "--redis", redis.url]);
  const { stdout } = await place.oao(["get", "two", "-o", "json"], { OAO_REDIS_URL: redis.url });
  const { status } = JSON.parse(stdout) as { status: ExecutionStatus };
  const found = status.conditions.find((each) => each.type === "CheckpointsDurable");
  return { ended, status, durability: [found?.status ?? "", found?.reason ?? "", found?.message ?? ""] };
}

/** Every worker that the index knows, by pid. */
function killWorkers(): void {
  const index = new DatabaseSync(join(place.folder, ".oao/index.db"), { readOnly: true });
  for (const { pid } of index.prepare("SELECT pid FROM workers").all() as { pid: number }[])
    process.kill(pid, "SIGKILL");
  index.close();
}

/** At the request for `path`, once: the crash. Redis first, so that the host cannot start anew before it is back. */
function crashAt(path: string, before: Readonly<Record<string, () => Promise<void>>> = {}): void {
  let crashed = false;
  gate.at = async (asked) => {
    await before[asked]?.();
    if (asked !== path || crashed) return;
    crashed = true;
    await redis.rollBack();
    killWorkers();
    await redis.start();
  };
}

describe("a Redis that crashes together with the worker", () => {
  test("and is not durable: the run goes on, and says that steps may be gone and made again", async () => {
    redis = await RedisProcess.start(everysec);
    crashAt("/second");
    const { ended, status, durability } = await run();
    expect(ended.stderr).toContain("CheckpointsDurable=False (LossWindow): a crash of the journal store may lose");
    expect(ended.stderr).toContain("appendfsync is everysec: set it to always");
    expect(ended.stderr).toContain("CheckpointsDurable=False (LossWindow): the journal store was restarted, seen at");
    expect(durability.slice(0, 2)).toEqual(["False", "LossWindow"]);
    expect(durability[2]).toContain("may be made again");
    expect([status.phase, ended.code]).toEqual(["Succeeded", 0]);
    expect(gate.paths).toEqual(["/first", "/second", "/second"]);
  });

  test("and comes back with less than the status has seen: the run fails with DurabilityLost", async () => {
    redis = await RedisProcess.start(everysec);
    crashAt("/second", { "/first": () => redis.keepLog() });
    const { ended, status, durability } = await run();
    expect(durability.slice(0, 2)).toEqual(["False", "DurabilityLost"]);
    expect(status.conditions.find((each) => each.type === "Succeeded")).toMatchObject({
      status: "False",
      reason: "DurabilityLost",
    });
    expect([status.phase, ended.code]).toEqual(["Failed", 7]);
    expect(ended.stderr).toContain("DurabilityLost");
  });

  test("and is durable: nothing is lost and nothing is said", async () => {
    redis = await RedisProcess.start(durable);
    crashAt("/second");
    const { ended, status, durability } = await run();
    expect(durability).toEqual(["True", "Durable", ""]);
    expect(ended.stderr).not.toContain("CheckpointsDurable");
    expect([status.phase, ended.code]).toEqual(["Succeeded", 0]);
  });
});
