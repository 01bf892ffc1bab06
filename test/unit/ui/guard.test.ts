import { describe, expect, it } from "vitest";
import { OneTimeCode } from "../../../src/cli/ui/guard.ts";

describe("the code that a browser is started with", () => {
  it("is good once", () => {
    const code = new OneTimeCode(0);
    expect(code.use(code.value, 1_000)).toBeUndefined();
    expect(code.use(code.value, 1_001)).toMatchObject({
      status: 401,
      detail: expect.stringContaining("before") as string,
    });
  });

  it("is over after a minute, and a wrong one does not use it up", () => {
    const code = new OneTimeCode(0);
    expect(code.use("guess", 1)).toMatchObject({ status: 401 });
    expect(code.use(code.value, 60_001)).toMatchObject({ detail: expect.stringContaining("minute") as string });
    expect(code.use(code.value, 60_000)).toBeUndefined();
  });
});
