/** Which values of its environment a worker keeps out of whatever it writes. */
import { describe, expect, it } from "vitest";
import { secretMask } from "../../../src/worker/tools.ts";

describe("the mask of a worker", () => {
  const mask = secretMask({
    OAO_STORE: "rediss://worker:st0re%2Fpassw0rd@store.example:6379/0",
    OAO_SECRET_CRM_TOKEN: "crm-token-value",
    ANTHROPIC_API_KEY: "provider-key-value",
    AWS_SECRET_ACCESS_KEY: "access-key-value",
    SMTP_PASSWORD: "smtp-password-value",
    HOME: "/home/worker",
  });

  it.each([
    "st0re/passw0rd",
    "st0re%2Fpassw0rd",
    "crm-token-value",
    "provider-key-value",
    "access-key-value",
    "smtp-password-value",
  ])("hides %s", (value) => {
    expect(mask(`before ${value} after`)).toBe("before [secret] after");
  });

  it("leaves the rest readable, also when the store's address is none", () => {
    expect(mask("store.example:6379 /home/worker")).toBe("store.example:6379 /home/worker");
    expect(secretMask({ OAO_STORE: "file:/somewhere" })("file:/somewhere")).toBe("file:/somewhere");
    expect(secretMask({ OAO_STORE: "redis://:odd%zzpassword@store" })("odd%zzpassword")).toBe("[secret]");
  });
});
