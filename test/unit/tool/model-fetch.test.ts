import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { guardedModelFetch } from "../../../src/adapters/tool/model-fetch.ts";
import { modelAddressRules } from "../../../src/core/policy/addresses.ts";
import { openPolicy } from "../../support/policies.ts";

let url: string;
const seen: string[] = [];
const server = createServer((request, response) => {
  seen.push(request.url ?? "");
  if (request.url === "/away") response.writeHead(302, { location: "http://169.254.169.254/" }).end();
  else response.end("fine");
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

const naming = (...baseURLs: string[]) =>
  openPolicy({
    rules: [
      { name: "p", enforcement: "Enforce", tools: {}, models: { endpoints: baseURLs.map((baseURL) => ({ baseURL })) } },
    ],
  });
const fetchUnder = (policy = openPolicy(), denyCidrs: readonly string[] = []) =>
  guardedModelFetch(modelAddressRules(policy, { allowLoopback: false, denyCidrs }));
const reasonOf = async (attempt: Promise<Response>): Promise<string> => {
  const error: unknown = await attempt.then(
    () => new Error("it was reached"),
    (thrown: unknown) => thrown,
  );
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
};

describe("a model client in a pod", () => {
  it.each([
    ["http://169.254.169.254/latest", "169.254.169.254 is an address of a cloud's metadata service"],
    ["http://127.0.0.1:1/", "127.0.0.1 is a loopback address"],
    ["http://[::1]:1/", "::1 is a loopback address"],
    ["http://[::ffff:169.254.169.254]/", "an address of a cloud's metadata service"],
    ["http://localhost:8099/", "is a loopback address"],
    ["https://10.96.0.1/", "10.96.0.1 is in the denied range 10.96.0.1/32"],
  ])("does not connect to %s", async (target, reason) => {
    expect(await reasonOf(fetchUnder(openPolicy(), ["10.96.0.1/32"])(target))).toContain(reason);
  });

  it("reaches an address that a policy names, and follows no redirect from there", async () => {
    const fetch = fetchUnder(naming(`${url}/*`));
    expect(await (await fetch(`${url}/v1`, { method: "POST", body: "{}" })).text()).toBe("fine");
    expect(await reasonOf(fetch(`${url}/away`))).toContain("redirect");
    expect(await reasonOf(fetchUnder(naming("http://*/v1"))(url))).toContain("is a loopback address");
    expect(seen).toEqual(["/v1", "/away"]);
  });
});
