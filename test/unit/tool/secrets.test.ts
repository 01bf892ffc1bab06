import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  environmentSecrets,
  maskSecrets,
  MissingSecret,
  providerKeyVariable,
} from "../../../src/adapters/tool/secrets.ts";

describe("secrets from the environment", () => {
  it("reads OAO_SECRET_<NAME>_<KEY> in upper case with underscores", () => {
    expect(
      environmentSecrets({ OAO_SECRET_MY_CRM_API_TOKEN_V1: "s3cret" })({ name: "my-crm", key: "api.token-v1" }),
    ).toBe("s3cret");
  });

  it("prefers the named secret over the provider's own variable", () => {
    const read = environmentSecrets({ OAO_SECRET_LLM_KEY: "ours", OPENAI_API_KEY: "theirs" });
    expect(read({ name: "llm", key: "key" }, "OPENAI_API_KEY")).toBe("ours");
    expect(read({ name: "other", key: "key" }, "OPENAI_API_KEY")).toBe("theirs");
  });

  it("names every variable it looked at, and takes an empty one for not set", () => {
    const read = environmentSecrets({ OAO_SECRET_LLM_KEY: "" });
    expect(() => read({ name: "llm", key: "key" }, "OPENAI_API_KEY")).toThrow(MissingSecret);
    expect(() => read({ name: "llm", key: "key" }, "OPENAI_API_KEY")).toThrow(/OAO_SECRET_LLM_KEY or OPENAI_API_KEY/);
    expect(() => read({ name: "llm", key: "key" })).not.toThrow(/OPENAI/);
  });

  it("knows the providers' variables, and no inherited names", () => {
    expect(providerKeyVariable("anthropic")).toBe("ANTHROPIC_API_KEY");
    expect(providerKeyVariable("ollama")).toBeUndefined();
    expect(providerKeyVariable("constructor")).toBeUndefined();
  });
});

describe("masking", () => {
  const secret = 'p@ss/w"örd\n+x y&z';
  const mask = maskSecrets([secret]);

  it.each([
    ["as it is", secret],
    ["URL-encoded", encodeURIComponent(secret)],
    ["URL-encoded in lower case", encodeURIComponent(secret).replaceAll(/%../g, (escape) => escape.toLowerCase())],
    ["form-encoded", new URLSearchParams({ a: secret }).toString().slice(2)],
    ["inside JSON", JSON.stringify(secret).slice(1, -1)],
    ["inside JSON inside JSON", JSON.stringify(JSON.stringify(secret)).slice(3, -3)],
  ])("hides a secret %s", (_form, text) => {
    expect(mask(`before ${text} after`)).toBe("before [secret] after");
  });

  it.each(["", "u", "us", "usr"])("hides a secret in base64 behind %j", (before) => {
    for (const encoding of ["base64", "base64url"] as const) {
      const text = Buffer.from(`${before}${secret}:tail`).toString(encoding);
      const masked = mask(text);
      expect(masked).toContain("[secret]");
      expect(Buffer.from(masked.replace("[secret]", ""), encoding).toString()).not.toContain("ss/w");
      expect(masked.length).toBeLessThan(text.length / 2 + 10);
    }
  });

  it("hides every occurrence, and secrets that overlap leave no rest", () => {
    expect(maskSecrets(["abcd", "cdefgh"])("xabcdefghx abcd")).toBe("x[secret]x [secret]");
    expect(maskSecrets(["abcd", "abcdefgh"])("abcdefgh")).toBe("[secret]");
    expect(maskSecrets(["aaaa"])("aaaaaaa")).toBe("[secret]");
  });

  it("does not mask its own mask", () => {
    expect(maskSecrets(["secret", "hunter22"])("hunter22")).toBe("[secret]");
  });

  it("leaves text without a secret, and values under four characters, alone", () => {
    expect(mask("nothing here")).toBe("nothing here");
    expect(maskSecrets(["abc", ""])("abc")).toBe("abc");
  });

  it("leaves no secret in any text that holds one", () => {
    const value = fc.string({ unit: "binary", minLength: 4, maxLength: 40 });
    fc.assert(
      fc.property(value, fc.string(), fc.string(), (hidden, before, after) => {
        // The mask itself may complete a value such as "[sec", which then is no leak.
        fc.pre(!"[secret]".includes(hidden));
        const masked = maskSecrets([hidden])(before + hidden + after);
        expect(masked).toContain("[secret]");
        expect(masked.replaceAll("[secret]", "\u{10ffff}")).not.toContain(hidden);
      }),
      { seed: 1 },
    );
  });
});
