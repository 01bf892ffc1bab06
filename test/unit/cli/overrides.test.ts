import { describe, expect, it } from "vitest";
import { applyOverrides, inputOverride, setOverride } from "../../../src/cli/overrides.ts";
import { nameFromFile } from "../../../src/cli/run-manifest.ts";
import { missingSecrets, secretEnvironment } from "../../../src/cli/secrets.ts";
import { storeUrlOf, withoutPassword } from "../../../src/cli/store.ts";
import type { LocalRun } from "../../../src/adapters/local/local-run.ts";
import type { ExecutionSpec } from "../../../src/api/types.ts";

const manifest = {
  spec: {
    task: "t",
    models: [
      { name: "main", model: "a" },
      { name: "other", model: "b" },
    ],
    nodes: [{ name: "n", agent: { prompt: "p" } }],
  },
};

describe("--set and --input", () => {
  it("take what is JSON as JSON, and the rest as text", () => {
    const values = ["n=3", 'list=["a"]', "text=heat pumps", 'quoted="3"', "empty=", "eq=a=b"].map(
      (text) => inputOverride(text).value,
    );
    expect(values).toEqual([3, ["a"], "heat pumps", "3", "", "a=b"]);
  });

  it("reach fields by dots, named entries by name, others by number, and make what is missing", () => {
    const overrides = [
      "models.other.model=c",
      "spec.nodes[0].agent.prompt=q",
      'input["a.b"]=1',
      "models.main.parameters.seed=7",
    ].map(setOverride);
    expect(applyOverrides(manifest, overrides)).toEqual({
      spec: {
        task: "t",
        models: [
          { name: "main", model: "a", parameters: { seed: 7 } },
          { name: "other", model: "c" },
        ],
        nodes: [{ name: "n", agent: { prompt: "q" } }],
        input: { "a.b": 1 },
      },
    });
    expect(manifest.spec.models[1]?.model).toBe("b");
  });

  it("refuse what leads nowhere", () => {
    expect(() => applyOverrides(manifest, [setOverride("models.third.model=x")])).toThrow("it has main, other");
    expect(() => applyOverrides(manifest, [setOverride("nodes[4].name=x")])).toThrow("no entry 4");
    expect(() => applyOverrides(manifest, [setOverride("task.deeper=x")])).toThrow(
      'no field deeper in a value that is "t"',
    );
    expect(() => setOverride("=x")).toThrow("expected name=value");
  });

  it("cannot reach a prototype", () => {
    const changed = applyOverrides({ spec: {} }, [setOverride("__proto__.polluted=1")]) as { spec: object };
    expect(Object.hasOwn(changed.spec, "__proto__")).toBe(true);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

describe("a name made from a file", () => {
  it.each([
    ["market_brief.v2.yaml", "market-brief-v2"],
    ["/a/b/Größe.yml", "gr-e"],
    ["-.yaml", "run"],
    [`${"x".repeat(80)}.json`, "x".repeat(50)],
  ])("%s", (file, name) => {
    expect(nameFromFile(file)).toBe(name);
  });
});

describe("secrets", () => {
  const spec: ExecutionSpec = {
    task: "t",
    models: [
      { name: "paid", provider: "openai", model: "m" },
      { name: "own", provider: "openai", model: "m", baseURL: "http://127.0.0.1:1/v1" },
      { name: "keyed", provider: "anthropic", model: "m", apiKeySecretRef: { name: "llm", key: "api-key" } },
    ],
    tools: [
      {
        name: "crm",
        http: {
          method: "GET",
          url: "https://crm/",
          headers: [{ name: "Authorization", secretKeyRef: { name: "crm", key: "token" } }],
        },
      },
    ],
    agents: ["paid", "own", "keyed"].map((model) => ({
      name: model,
      model,
      ...(model === "keyed" ? { tools: ["crm"] } : {}),
    })),
    nodes: ["paid", "own", "keyed"].map((ref) => ({ name: ref, agent: { ref, prompt: "p" } })),
  };
  const env = {
    OPENAI_API_KEY: "sk-o",
    OAO_SECRET_LLM_API_KEY: "sk-l",
    ANTHROPIC_API_KEY: "sk-a",
    OAO_SECRET_CRM_TOKEN: "sk-c",
    OTHER: "x",
  };

  it("that are missing are named with every variable that was looked at", () => {
    expect(missingSecrets(spec, {})).toEqual([
      "model paid: set OPENAI_API_KEY",
      "model keyed: set OAO_SECRET_LLM_API_KEY or ANTHROPIC_API_KEY",
      "tool crm: set OAO_SECRET_CRM_TOKEN",
    ]);
    expect(missingSecrets(spec, { ...env, OAO_SECRET_LLM_API_KEY: "" })).toEqual([]);
  });

  it("reach only the worker whose own model and tools name them", () => {
    expect(secretEnvironment(spec, "paid", env)).toEqual({ OPENAI_API_KEY: "sk-o" });
    expect(secretEnvironment(spec, "keyed", env)).toEqual({
      OAO_SECRET_LLM_API_KEY: "sk-l",
      OAO_SECRET_CRM_TOKEN: "sk-c",
    });
  });

  it("of a provider never go to another server", () => {
    expect(secretEnvironment(spec, "own", env)).toEqual({});
  });
});

describe("a Redis URL", () => {
  const run = (store: string) =>
    ({ key: { namespace: "default", name: "a" }, place: { baseDir: "/", store } }) as LocalRun;

  it("is kept without its password", () => {
    expect(withoutPassword("redis://user:pw@127.0.0.1:6379/2")).toBe("redis://user@127.0.0.1:6379/2");
    expect(() => withoutPassword("http://127.0.0.1")).toThrow("redis:// or rediss://");
    expect(() => withoutPassword("redis://:pw@")).not.toThrow("pw");
  });

  it("is used with the password given now, for the same server only", () => {
    expect(storeUrlOf(run("redis://h:1/0"), "redis://:pw@h:1/0")).toBe("redis://:pw@h:1/0");
    expect(() => storeUrlOf(run("redis://h:1/0"), "redis://:pw@other:1/0")).toThrow(
      "is in redis://h:1/0, not in redis://other:1/0",
    );
    expect(storeUrlOf(run("file:/x"), undefined)).toBe("file:/x");
  });
});
