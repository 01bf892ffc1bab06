import { describe, expect, it } from "vitest";
import type { HttpToolSpec } from "../../../src/api/tool.ts";
import type { JsonObject } from "../../../src/core/digest/json.ts";
import {
  buildRequest,
  httpEndpoint,
  parseUrlTemplate,
  resolveHeaders,
} from "../../../src/adapters/tool/http-request.ts";
import { noSecrets } from "./calls.ts";

function build(http: HttpToolSpec, args: JsonObject) {
  return buildRequest("t", http, parseUrlTemplate("t", http.url), args);
}

describe("URL templates", () => {
  it.each([
    ["http://h/a{b", /brace/],
    ["http://h/a}", /brace/],
    ["http://h/{}", /without a name/],
    ["http://{host}/", /path only/],
    ["http://h:80/?q={q}", /path only/],
    ["http://h/#x", /fragment/],
    ["ftp://h/", /http:\/\//],
    ["/relative", /absolute/],
    ["http://h/a b", /spaces/],
    ["ht\ntp://h/", /spaces/],
    ["http://{user}@h/", /credentials/],
  ])("refuses %j and names the field", (url, problem) => {
    expect(() => parseUrlTemplate("t", url)).toThrow(problem);
    expect(() => parseUrlTemplate("t", url)).toThrow(/^Tool t: http\.url: /);
  });

  it("gives the policy check host, port and secrets", () => {
    const http: HttpToolSpec = {
      method: "GET",
      url: "https://Catalog.Internal/x",
      headers: [
        { name: "A", secretKeyRef: { name: "crm", key: "a" } },
        { name: "B", secretKeyRef: { name: "crm", key: "b" } },
        { name: "C", value: "plain" },
      ],
    };
    expect(httpEndpoint("t", http)).toEqual({ host: "catalog.internal", port: 443, secrets: ["crm"] });
    expect(httpEndpoint("t", { method: "GET", url: "http://[::1]:8080/" })).toEqual({
      host: "[::1]",
      port: 8080,
      secrets: [],
    });
  });

  it("is not confused by a template that holds its own marks", () => {
    const http: HttpToolSpec = { method: "GET", url: "http://h/oaoarg1z/{id}/OAOARGX" };
    expect(build(http, { id: "7" }).path).toBe("/oaoarg1z/7/OAOARGX");
  });
});

describe("arguments in the path", () => {
  const http: HttpToolSpec = { method: "GET", url: "http://h/items/{id}/parts/{part}.json?v=1" };

  it.each([
    ["plain", "plain"],
    ["a b", "a%20b"],
    ["50%", "50%25"],
    ["%2e%2e", "%252e%252e"],
    ["%2F", "%252F"],
    ["a?b#c;d&e", "a%3Fb%23c%3Bd%26e"],
    ["ü", "%C3%BC"],
    ["...", "..."],
    ["{x}", "%7Bx%7D"],
    [7, "7"],
    [true, "true"],
  ])("escapes %j to %s", (id, expected) => {
    expect(build(http, { id, part: "p" }).path).toBe(`/items/${expected}/parts/p.json?v=1`);
  });

  it.each(["", ".", "..", "a/b", "/", "..\\x", "../x", "a\u0000", "a\nb", null, ["x"], { a: 1 }])(
    "refuses %j",
    (id) => {
      expect(() => build(http, { id, part: "p" })).toThrow(/^Invalid arguments of tool t: id goes into the URL's path/);
    },
  );

  it("refuses a missing one, also where every object inherits the name", () => {
    expect(() => build(http, { part: "p" })).toThrow(/id goes into/);
    expect(() => build({ method: "GET", url: "http://h/{constructor}" }, {})).toThrow(/constructor goes into/);
  });

  it("refuses harmless pieces that make a parent folder together", () => {
    const glued: HttpToolSpec = { method: "GET", url: "http://h/a/{x}.{y}/b" };
    expect(build(glued, { x: "1", y: "2" }).path).toBe("/a/1.2/b");
    const tight: HttpToolSpec = { method: "GET", url: "http://h/a/.{x}/b" };
    expect(() => build(tight, { x: "." })).toThrow(/must not be/);
    expect(build(tight, { x: ".a" }).path).toBe("/a/..a/b");
  });
});

describe("arguments elsewhere", () => {
  it("puts declared ones into the query in their order, lists repeated, null left out, and the rest of a GET after them", () => {
    const http: HttpToolSpec = { method: "GET", url: "http://h/s?fixed=1", query: ["q", "tag", "none"] };
    const path = build(http, { z: 2, tag: ["a", "b&c"], none: null, q: "x y", a: false }).path;
    expect(path).toBe("/s?fixed=1&q=x+y&tag=a&tag=b%26c&a=false&z=2");
  });

  it.each(["POST", "PUT", "PATCH"] as const)("puts the rest of a %s into a canonical JSON body", (method) => {
    const http: HttpToolSpec = { method, url: "http://h/{id}", query: ["q"] };
    expect(build(http, { id: 1, q: 2, z: { b: 1, a: [null] }, a: "x" })).toEqual({
      path: "/1?q=2",
      body: '{"a":"x","z":{"a":[null],"b":1}}',
    });
    expect(build(http, { id: 1 }).body).toBe("{}");
  });

  it.each(["GET", "HEAD", "DELETE"] as const)("sends no body with %s", (method) => {
    expect(build({ method, url: "http://h/" }, { a: 1 })).toEqual({ path: "/?a=1", body: undefined });
  });

  it.each([{ a: { b: 1 } }, { a: [[1]] }, { a: [null] }])("refuses %j in a query", (args) => {
    expect(() => build({ method: "GET", url: "http://h/" }, args)).toThrow(/a goes into the query/);
  });

  it("keeps a member named __proto__ in the body", () => {
    const args = JSON.parse('{"__proto__":{"x":1}}') as JsonObject;
    expect(build({ method: "POST", url: "http://h/" }, args).body).toBe('{"__proto__":{"x":1}}');
  });
});

describe("headers", () => {
  const resolve = (headers: NonNullable<HttpToolSpec["headers"]>, secret?: string) =>
    resolveHeaders("t", { method: "GET", url: "http://h/", headers }, secret === undefined ? noSecrets : () => secret);
  const ref = { name: "crm", key: "token" };

  it("takes literal and secret values", () => {
    const { headers, secrets } = resolve(
      [
        { name: "X-A", value: "1" },
        { name: "Authorization", secretKeyRef: ref },
      ],
      "Bearer t0ken",
    );
    expect(Object.fromEntries(headers)).toEqual({ "x-a": "1", authorization: "Bearer t0ken" });
    expect(secrets).toEqual(["Bearer t0ken"]);
  });

  it.each(["Host", "content-length", "Transfer-Encoding", "Connection", "Idempotency-Key", "Accept-Encoding"])(
    "refuses %s",
    (name) => {
      expect(() => resolve([{ name, value: "x" }])).toThrow(/http\.headers\[0\].*set by OAO/);
    },
  );

  it("refuses a header given twice, and one with both values or none", () => {
    expect(() =>
      resolve([
        { name: "A", value: "1" },
        { name: "a", value: "2" },
      ]),
    ).toThrow(/headers\[1\]: a is given twice/);
    expect(() => resolve([{ name: "A" }])).toThrow(/exactly one/);
    expect(() => resolve([{ name: "A", value: "1", secretKeyRef: ref }], "x")).toThrow(/exactly one/);
  });

  it.each(["hunter22\r\nX-Evil: 1", "hunter22\n", "hunter22\u0000", "hunter22€"])(
    "refuses the value %j without showing it",
    (value) => {
      expect(() => resolve([{ name: "A", value }])).toThrow(/line break|cannot carry/);
      expect(() => resolve([{ name: "A", secretKeyRef: ref }], value)).toThrow(/line break|cannot carry/);
      expect(() => resolve([{ name: "A", secretKeyRef: ref }], value)).not.toThrow(/hunter22/);
    },
  );
});
