import { describe, expect, it } from "vitest";
import { CliError, errorText } from "../../../src/cli/errors.ts";
import { LiveTree } from "../../../src/cli/render/live-tree.ts";
import { painter } from "../../../src/cli/render/style.ts";
import { processTerminal, type Streams } from "../../../src/cli/terminal.ts";
import { buildProgram } from "../../../src/cli/program.ts";

/** Clears the screen, colours, rings, turns the direction, and begins a sequence with one byte. */
const hostile = "a\u001b[2Jb\u001b[31mc\u0007\u202ed\u2066e\u200ef\u061cg\u009b1mh\u0085\rtail\r\n\tend\u2028\n";
const inked =
  "a\\u001b[2Jb\u001b[31mc\\u0007\\u202ed\\u2066e\\u200ef\\u061cg\\u009b1mh\\u0085\\u000dtail\r\n\tend\u2028\n";
const plain = inked.replaceAll("\u001b", "\\u001b");

function terminal(isTTY: boolean) {
  const said = { out: "", err: "" };
  const stream = (name: "out" | "err") => ({
    isTTY,
    columns: 80,
    write: (text: string) => {
      said[name] += text;
      return true;
    },
    on: () => undefined,
    off: () => undefined,
  });
  const streams = { stdout: stream("out"), stderr: stream("err"), env: {}, cwd: () => "/" };
  return { said, terminal: processTerminal(streams as unknown as Streams) };
}

describe("texts on their way to a terminal", () => {
  it("do nothing to it but colour, and a body not even that", async () => {
    const { said, terminal: screen } = terminal(true);
    screen.out(hostile);
    await screen.write(hostile);
    screen.err(hostile);
    expect(said).toEqual({ out: inked + inked, err: inked });
    said.out = "";
    screen.body(hostile);
    expect(said.out).toBe(plain);
  });

  it("are not touched on their way to a pipe, but for what is told people", async () => {
    const { said, terminal: pipe } = terminal(false);
    pipe.out(hostile);
    await pipe.write(hostile);
    pipe.body(hostile);
    pipe.err(hostile);
    expect(said).toEqual({ out: hostile.repeat(3), err: inked });
  });

  it("keep every colour of ours", () => {
    const paint = painter(true);
    const painted = (["red", "green", "yellow", "cyan", "dim", "bold"] as const).map((style) => paint(style, "x"));
    const { said, terminal: screen } = terminal(true);
    screen.out(painted.join(""));
    expect(said.out).toBe(painted.join(""));
  });

  it("are written out in errors, hints and what is said of wrong arguments", async () => {
    expect(errorText(new CliError("no x\u001b[31m.jsonl", ["give \u202ey"]))).toBe(
      "error: no x\\u001b[31m.jsonl\n  give \\u202ey\n",
    );
    const { said, terminal: screen } = terminal(true);
    const program = buildProgram(screen, () => undefined);
    await program.parseAsync(["x\u001b[31m"], { from: "user" }).catch(() => undefined);
    expect(said.err).toContain("x\\u001b[31m");
  });

  it("leave the redrawn tree its cursor and lose theirs", () => {
    const { said, terminal: screen } = terminal(true);
    const tree = new LiveTree(screen, () => 0);
    tree.note("said\u001b[2J\u202e");
    tree.end(undefined);
    expect(said.err).toBe("\u001b[?25lsaid\\u001b[2J\\u202e\n\u001b[?25h");
  });
});

describe("an error of arguments", () => {
  it("names the command whose help shows examples", async () => {
    const { said, terminal: screen } = terminal(false);
    await buildProgram(screen, () => undefined)
      .parseAsync(["export"], { from: "user" })
      .catch(() => undefined);
    expect(said.err).toContain("(oao help export shows examples)");
  });
});
