import fc from "fast-check";
import { expect, test } from "vitest";
import type { ExecutionSpec, PolicySpec, ToolEffect } from "../../../src/api/types.ts";
import { addressRules } from "../../../src/core/policy/addresses.ts";
import { checkModel, checkSpecAgainstPolicy, checkTool, effectOf } from "../../../src/core/policy/checks.ts";
import { combinePolicies } from "../../../src/core/policy/combine.ts";
import { hostMatches, normalModulePath, urlMatches } from "../../../src/core/policy/endpoints.ts";
import { globMatches } from "../../../src/core/policy/glob.ts";

function policies(specs: readonly PolicySpec[], requirePairing = false) {
  return combinePolicies(
    specs.map((spec, index) => ({
      role: "Default" as const,
      policy: {
        apiVersion: "oao.dev/v1alpha1",
        kind: "GovernancePolicy",
        metadata: { name: `p${index}`, namespace: "t" },
        spec,
      },
    })),
    { requirePairing },
  );
}

test.each([
  ["a*", "a", true],
  ["a*", "ba", false],
  ["*delete*", "crm.delete_all", true],
  ["a?c", "abc", true],
  ["a?c", "ac", false],
  ["openai/gpt-5*", "openai/gpt-5-mini", true],
  ["openai/gpt-5*", "OpenAI/gpt-5", false],
  ["", "", true],
  ["*", "", true],
  ["a.c", "abc", false],
  ["a*b*c", "a__b__b__c", true],
  ["a*b*c", "a__b__b__", false],
])("glob %j on %j is %j", (pattern, text, wanted) => {
  expect(globMatches(pattern, text)).toBe(wanted);
});

test("globs agree with the obvious regular expression", () => {
  const piece = fc.constantFrom("a", "b", "*", "?", ".");
  fc.assert(
    fc.property(
      fc.string({ unit: piece, maxLength: 8 }),
      fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 }),
      (pattern, text) => {
        const expression = pattern.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".");
        expect(globMatches(pattern, text)).toBe(new RegExp(`^${expression}$`).test(text));
      },
    ),
    { numRuns: 2_000, seed: 3 },
  );
});

test("a hostile glob costs no more than pattern times text", () => {
  expect(globMatches(`${"*a".repeat(127)}b`, "a".repeat(2_048))).toBe(false);
});

test.each([
  ["https://llm.internal/*", "https://llm.internal/v1", true],
  ["https://llm.internal/*", "https://LLM.internal/v1/", true],
  ["https://llm.internal", "https://llm.internal/v1", true],
  ["https://llm.internal/v1", "https://llm.internal/v1", true],
  ["https://llm.internal/v1", "https://llm.internal/v1/chat", true],
  ["https://llm.internal/v1", "https://llm.internal/v10", false],
  ["https://llm.internal/v1/*", "https://llm.internal/v1/../admin", false],
  ["https://llm.internal/*", "https://llm.internal@evil.example/", false],
  ["https://llm.internal/*", "https://llm.internal.evil.example/", false],
  ["https://*.internal/*", "https://evil.example/x.internal/", false],
  ["https://*.internal/*", "https://a.internal/", true],
  ["https://llm.internal:443/*", "https://llm.internal/v1", true],
  ["https://llm.internal/*", "https://llm.internal:8443/v1", false],
  ["https://llm.internal:*/*", "https://llm.internal:8443/v1", true],
  ["https://llm.internal/*", "http://llm.internal/v1", false],
  ["http*://llm.internal/*", "http://llm.internal/v1", true],
  ["http://[::1]:8080/*", "http://[::1]:8080/v1", true],
  ["*", "https://anything.example", true],
  ["*", "groq:default", true],
  ["https://*", "groq:default", false],
  ["llm.internal", "https://llm.internal", false],
])("endpoint pattern %s on %s is %j", (pattern, url, wanted) => {
  expect(urlMatches(pattern, url)).toBe(wanted);
});

test.each([
  ["catalog.internal:443", "catalog.internal", 443, true],
  ["catalog.internal:443", "Catalog.Internal.", 443, true],
  ["catalog.internal:443", "catalog.internal", 80, false],
  ["catalog.internal", "catalog.internal", 443, true],
  ["catalog.internal", "catalog.internal", 8443, false],
  ["catalog.internal:*", "catalog.internal", 8443, true],
  ["*.internal:443", "a.b.internal", 443, true],
  ["*.internal:443", "internal.evil", 443, false],
  ["[::1]:80", "::1", 80, true],
  ["*", "x", 443, true],
])("host pattern %s on %s:%i is %j", (pattern, host, port, wanted) => {
  expect(hostMatches(pattern, host, port)).toBe(wanted);
});

test.each([
  ["tools/a.js", "tools/a.js"],
  ["./tools//a.js", "tools/a.js"],
  ["tools/../lib/a.js", "lib/a.js"],
  ["../a.js", undefined],
  ["tools/../../a.js", undefined],
  ["/etc/a.js", undefined],
  ["tools\\a.js", undefined],
  [".", undefined],
])("module path %s is %s", (path, wanted) => {
  expect(normalModulePath(path)).toBe(wanted);
});

const model = { policyName: "openai/gpt-5-mini", endpoint: "https://llm.internal/v1", secret: undefined };

test("a model must pass every policy, and deny wins over allow", () => {
  const paths = (...specs: PolicySpec[]) =>
    checkModel(policies(specs), model).map(({ policy, path }) => `${policy} ${path}`);
  expect(paths()).toEqual([]);
  expect(paths({ models: { allow: ["openai/*"] } })).toEqual([]);
  expect(paths({ models: { allow: [] } })).toEqual(["p0 spec.models.allow"]);
  expect(paths({ models: { allow: ["openai/*"], deny: ["*mini"] } })).toEqual(["p0 spec.models.deny"]);
  expect(paths({ models: { allow: ["openai/*"] } }, { models: { allow: ["anthropic/*"] } })).toEqual([
    "p1 spec.models.allow",
  ]);
  expect(paths({ models: { allow: ["x"], endpoints: [{ baseURL: "https://other/*" }] } })).toEqual([
    "p0 spec.models.allow",
    "p0 spec.models.endpoints",
  ]);
});

test("a violation says what, which policy, and whether it stops the call", () => {
  const [found] = checkModel(policies([{ enforcement: "Audit", models: { allow: ["anthropic/*"] } }]), model);
  expect(found).toEqual({
    policy: "p0",
    enforcement: "Audit",
    reason: "PolicyViolation",
    message:
      "PolicyViolation: Model Not Allowed: openai/gpt-5-mini is not in the allow list (policy p0, spec.models.allow)",
    path: "spec.models.allow",
  });
});

const paired: PolicySpec = { models: { endpoints: [{ baseURL: "https://llm.internal/*", secrets: ["llm"] }] } };
const unpaired: PolicySpec = { models: { endpoints: [{ baseURL: "https://llm.internal/*" }] } };

test.each([
  ["no policy, laptop", [], false, []],
  ["no policy, cluster", [], true, ["Enforce "]],
  ["a policy without a list, cluster", [{ maxTokens: 5 }], true, ["Enforce "]],
  ["paired, cluster", [paired], true, []],
  ["paired beside a policy without a list, cluster", [paired, { maxTokens: 5 }], true, []],
  ["listed without the secret, laptop", [unpaired], false, ["Enforce p0"]],
  ["paired by one and left out by the other, cluster", [paired, unpaired], true, ["Enforce p1"]],
] as const)("a secret with %s", (_, specs, requirePairing, wanted) => {
  const found = checkModel(policies(specs as readonly PolicySpec[], requirePairing), { ...model, secret: "llm" });
  expect(found.map(({ enforcement, policy }) => `${enforcement} ${policy}`)).toEqual(wanted);
});

test("a secret that is paired with one endpoint is refused at another", () => {
  const both: PolicySpec = {
    models: {
      endpoints: [
        { baseURL: "https://llm.internal/*", secrets: ["llm"] },
        { baseURL: "https://evil.example/*", secrets: ["other"] },
      ],
    },
  };
  const found = checkModel(policies([both], true), { ...model, endpoint: "https://evil.example/v1", secret: "llm" });
  expect(found.map(({ message }) => message)).toEqual([
    "PolicyViolation: Secret Not Paired: no policy pairs secret llm with https://evil.example/v1",
  ]);
});

test("a tool is checked by name, host, each secret and module", () => {
  const rules = policies([
    {
      tools: {
        allow: ["search"],
        deny: ["*delete*"],
        hosts: [{ host: "catalog.internal:443", secrets: ["crm"] }],
        modules: ["tools/*"],
      },
    },
  ]);
  const paths = (check: Parameters<typeof checkTool>[1]) => checkTool(rules, check).map(({ path }) => path);
  const host = { host: "catalog.internal", port: 443, secrets: ["crm"] };
  expect(paths({ tool: "search", host })).toEqual([]);
  expect(paths({ tool: "delete_all" })).toEqual(["spec.tools.deny"]);
  expect(paths({ tool: "other" })).toEqual(["spec.tools.allow"]);
  expect(paths({ tool: "search", host: { ...host, port: 80 } })).toEqual(["spec.tools.hosts"]);
  expect(paths({ tool: "search", host: { ...host, secrets: ["crm", "aws"] } })).toEqual(["spec.tools.hosts"]);
  expect(paths({ tool: "search", modulePath: "./tools/a.js" })).toEqual([]);
  expect(paths({ tool: "search", modulePath: "tools/../secrets/a.js" })).toEqual(["spec.tools.modules"]);
});

test.each<[string, (ToolEffect | undefined)[], ToolEffect | undefined, ToolEffect]>([
  ["claims nothing and no policy speaks", [], undefined, "NonIdempotent"],
  ["claims and no policy keeps a table", [], "ReadOnly", "ReadOnly"],
  ["claims nothing and the policy vouches", ["ReadOnly"], undefined, "ReadOnly"],
  ["claims too much", ["NonIdempotent"], "ReadOnly", "NonIdempotent"],
  ["is more cautious than the policy", ["ReadOnly"], "NonIdempotent", "NonIdempotent"],
  ["claims, but stands in no table", [undefined], "ReadOnly", "NonIdempotent"],
  ["is vouched for differently", ["ReadOnly", "Idempotent"], undefined, "Idempotent"],
  ["stands in one of two tables", ["Idempotent", undefined], undefined, "Idempotent"],
])("the effect of a tool that %s", (_, tables, claim, wanted) => {
  const specs = tables.map(
    (effect): PolicySpec => ({ tools: { effects: effect === undefined ? { other: "ReadOnly" } : { score: effect } } }),
  );
  expect(effectOf(policies(specs), { name: "score", effect: claim })).toBe(wanted);
});

test("tool names that every object inherits are in no table", () => {
  expect(effectOf(policies([{ tools: { effects: { a: "ReadOnly" } } }]), { name: "constructor" })).toBe(
    "NonIdempotent",
  );
});

test("address rules need every enforcing policy, and only an exact name opens guarded addresses", () => {
  const rules = addressRules(
    policies([
      { tools: { hosts: [{ host: "*:*" }, { host: "127.0.0.1:8080" }] } },
      { enforcement: "Audit", tools: { hosts: [] } },
      { tools: { hosts: [{ host: "*.internal:*" }, { host: "127.0.0.1:*" }] } },
    ]),
    { allowLoopback: false, denyCidrs: ["10.0.0.1/32"] },
  );
  expect(rules.allowHost("a.internal", 443)).toEqual({ allowed: true, named: false });
  expect(rules.allowHost("127.0.0.1", 8080)).toEqual({ allowed: true, named: true });
  expect(rules.allowHost("evil.example", 443)).toEqual({
    allowed: false,
    reason: "policy p2 (spec.tools.hosts) does not list evil.example:443",
  });
  expect(rules).toMatchObject({ allowLoopback: false, denyCidrs: ["10.0.0.1/32"] });
});

test("a manifest is checked before it runs, with the place of each violation", () => {
  const spec: ExecutionSpec = {
    task: "t",
    models: [{ name: "main", provider: "openai", model: "gpt-5", apiKeySecretRef: { name: "llm", key: "k" } }],
    tools: [
      { name: "search", http: { method: "GET", url: "https://{tenant}.example/x" } },
      { name: "score", module: { path: "lib/score.js" } },
    ],
    nodes: [{ name: "a" }],
  };
  const rules = policies(
    [{ models: { deny: ["openai/*"] }, tools: { hosts: [{ host: "*:*" }], modules: ["tools/*"] } }],
    true,
  );
  expect(checkSpecAgainstPolicy(spec, rules).map(({ at, path }) => [at.join("."), path])).toEqual([
    ["spec.models.0", "spec.models.deny"],
    ["spec.models.0", "spec.models.endpoints"],
    ["spec.tools.1", "spec.tools.modules"],
  ]);
});

test("the address of a known provider is checked where the manifest names none", () => {
  const spec = (provider: string): ExecutionSpec => ({
    task: "t",
    models: [{ name: "m", provider, model: "x" }],
    nodes: [{ name: "a" }],
  });
  const rules = policies([{ models: { endpoints: [{ baseURL: "https://api.openai.com/*" }] } }]);
  expect(checkSpecAgainstPolicy(spec("openai"), rules)).toEqual([]);
  expect(checkSpecAgainstPolicy(spec("anthropic"), rules)).toHaveLength(1);
  expect(checkSpecAgainstPolicy(spec("unheard-of"), rules)[0]?.message).toContain("set baseURL");
});
