/** Who is answered: the page that the terminal named, and nobody else. */
import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Stage, stage } from "./page.ts";
import { specOf } from "./seed.ts";

let on: Stage;
let port: number;
let token: string;
beforeAll(async () => {
  on = await stage();
  await on.home.add({ name: "brief", spec: specOf([{ name: "a" }]), status: { phase: "Succeeded" }, rows: [] });
  const server = await on.server();
  port = Number(new URL(server.origin).port);
  token = server.token;
});
afterAll(() => on.end());

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

function ask(path: string, headers: Record<string, string> = {}, method = "GET", body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (data: string) => (text += data));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: text }));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

const signedIn = () => ({ authorization: `Bearer ${token}` });

describe("the local server", () => {
  it("answers whoever has the token", async () => {
    const { status, body } = await ask("/api/runs", signedIn());
    expect([status, (JSON.parse(body) as { runs: unknown[] }).runs.length]).toEqual([200, 1]);
  });

  it.each<[string, () => Record<string, string>]>([
    ["no token", () => ({})],
    ["another token", () => ({ authorization: `Bearer ${"A".repeat(token.length)}` })],
    ["the token in another scheme", () => ({ authorization: `Basic ${token}` })],
    ["the token in a cookie", () => ({ cookie: `token=${token}` })],
  ])("refuses %s on every route", async (_what, headers) => {
    for (const path of ["/api/session", "/api/runs", "/api/runs/default/brief", "/api/events", "/api/nothing"]) {
      const answer = await ask(path, headers());
      expect([path, answer.status]).toEqual([path, 401]);
      expect(answer.headers["content-type"]).toBe("application/problem+json");
    }
  });

  it("refuses a token in the address: it would end up in logs and histories", async () => {
    expect((await ask(`/api/runs?token=${token}`)).status).toBe(401);
  });

  it.each(["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", "[::ffff:7f00:1]"])(
    "refuses the Host %s, even with the token: a stranger's name may point here",
    async (host) => {
      expect((await ask("/api/runs", { ...signedIn(), host })).status).toBe(421);
      expect((await ask("/", { host })).status).toBe(421);
    },
  );

  it.each<Record<string, string>>([
    { origin: "https://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors" },
    { "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors" },
  ])("refuses what a browser sends for another site: %o", async (headers) => {
    expect((await ask("/api/runs", { ...signedIn(), ...headers })).status).toBe(403);
  });

  it.each([
    "/../package.json",
    "/assets/../../package.json",
    "/assets/%2e%2e%2fcli.js",
    "/assets/constructor",
    "/index.html",
    "//evil.example/",
    "/api/runs/default/brief/__proto__",
    "/api/runs/default/brief/steps?from=-1",
    "/api/runs/default/brief/steps?limit=100000",
    "/api/runs/default/%ff",
    "/api/runs/default/other",
  ])("has nothing at %s", async (path) => {
    const { status, headers } = await ask(path, signedIn());
    expect([400, 404]).toContain(status);
    expect(headers["content-type"]).toBe("application/problem+json");
  });

  it("forbids inline code, frames, other origins and markup made of text on everything it sends", async () => {
    for (const path of ["/", "/runs/default/brief", "/assets/app.js", "/api/runs", "/nothing"]) {
      const { headers } = await ask(path);
      const policy = String(headers["content-security-policy"]);
      for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"])
        expect(policy).toContain(part);
      expect(policy).not.toContain("unsafe");
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
      expect(headers).not.toHaveProperty("set-cookie");
      expect(headers).not.toHaveProperty("access-control-allow-origin");
    }
  });

  it("refuses a large body", async () => {
    const body = JSON.stringify({ text: "x".repeat(10_000) });
    expect((await ask("/api/runs/default/brief/replay", signedIn(), "POST", body)).status).toBe(413);
  });
});
