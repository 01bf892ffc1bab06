import { describe, expect, test } from "vitest";
import { matchPath, parseTarget } from "../../../../src/operator/api/paths.ts";

describe("an address", () => {
  test("is taken as it is written, with each parameter once", () => {
    expect(parseTarget("/executions/a/b/trace?limit=2&all=true")).toEqual({
      path: "/executions/a/b/trace",
      query: new Map([
        ["limit", "2"],
        ["all", "true"],
      ]),
    });
    expect(parseTarget("/openapi.json")?.query.size).toBe(0);
  });

  test.each([
    ["a percent sign", "/a/%2e%2e/b"],
    ["an escaped slash", "/a%2fb"],
    ["an empty part", "/a//b"],
    ["an empty part at the start", "//a/b"],
    ["a slash at the end", "/a/b/"],
    ["a dot part", "/a/../b"],
    ["a hidden part", "/a/.b"],
    ["a backslash", "/a\\b"],
    ["a second question mark", "/a?b=1?c=2"],
    ["a parameter twice", "/a?b=1&b=2"],
    ["a whole URL", "https://x/a"],
    ["nothing", ""],
    ["an asterisk", "*"],
    ["a semicolon", "/a;b"],
    ["a letter beyond ASCII", "/a/\u00e9"],
    ["a null", "/a\u0000"],
  ])("with %s is none of ours", (_, target) => {
    expect(parseTarget(target)).toBeUndefined();
  });

  test("matches a template part by part", () => {
    expect(matchPath("/replay/{namespace}/{name}", "/replay/team-a/brief")).toEqual({
      namespace: "team-a",
      name: "brief",
    });
    expect(matchPath("/replay/{namespace}/{name}", "/replay/team-a")).toBeUndefined();
    expect(matchPath("/replay/{execution_id}", "/other/x")).toBeUndefined();
  });
});
