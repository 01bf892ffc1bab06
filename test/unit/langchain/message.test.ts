import { describe, expect, test } from "vitest";
import { type ThawContext, thaw } from "../../../src/adapters/langchain/message.ts";
import type { JsonObject } from "../../../src/core/digest/json.ts";

function context(more: Partial<ThawContext> = {}): ThawContext {
  return { ordinal: 3, answerTools: new Set(), callIds: new Set(), ...more };
}

const call = (id: string, name = "find"): JsonObject => ({ type: "tool_call", id, name, args: { q: id } });

describe("a thawed message", () => {
  test("is a new one each time: what LangChain writes into it does not reach the record", () => {
    const frozen: JsonObject = { content: "", tool_calls: [call("a")], additional_kwargs: { deep: { x: 1 } } };
    const before = JSON.stringify(frozen);
    const { message } = thaw(frozen, context());
    message.name = "model";
    message.tool_calls![0]!.args["q"] = "changed";
    (message.additional_kwargs["deep"] as { x: number }).x = 2;
    expect(JSON.stringify(frozen)).toBe(before);
    expect(thaw(frozen, context()).message.tool_calls?.[0]?.args).toEqual({ q: "a" });
  });

  test("is named by its place in the run, whatever id the provider gave", () => {
    expect(thaw({ content: "x", id: "same" }, context()).message.id).toBe("answer-3");
  });

  test("beside a structured answer holds no other call, neither in its calls nor in its content", () => {
    const frozen: JsonObject = {
      content: [
        { type: "text", text: "x" },
        { type: "tool_use", id: "a", name: "find", input: "{}" },
        { type: "tool_use", id: "b", name: "extract-1", input: "{}" },
      ],
      tool_calls: [call("a"), call("b", "extract-1")],
    };
    const { message } = thaw(frozen, context({ answerTools: new Set(["extract-1"]) }));
    expect(message.tool_calls?.map(({ id }) => id)).toEqual(["b"]);
    expect((message.content as { id?: string }[]).map(({ id }) => id)).toEqual([undefined, "b"]);
  });

  test("turns a call with broken arguments into one without, and says which", () => {
    const invalid = { type: "invalid_tool_call", id: "b", name: "find", args: '{"q":' };
    const { message, malformed } = thaw(
      { content: "", tool_calls: [call("a")], invalid_tool_calls: [invalid] },
      context(),
    );
    expect(message.tool_calls?.map(({ id, args }) => [id, args])).toEqual([
      ["a", { q: "a" }],
      ["b", {}],
    ]);
    expect([...malformed]).toEqual([["b", '{"q":']]);
  });

  test("cannot be made to load code or classes by what a provider sent", () => {
    const envelope = { lc: 1, type: "constructor", id: ["langchain", "x"], kwargs: {} };
    const { message } = thaw({ content: "x", additional_kwargs: { envelope } }, context());
    expect(message.additional_kwargs["envelope"]).toEqual(envelope);
  });
});
