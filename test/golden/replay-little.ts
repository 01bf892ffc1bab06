/** A run of everything a little, which the tests of changed specs and records replay. */
import { armed, base, echo, plain, type ReplayShape } from "./replay-shape.ts";

export const littleShape: ReplayShape = {
  name: "of everything a little",
  spec: (urls) => ({
    ...base(urls, ["search", "dice"]),
    nodes: [
      armed("gather", "gather"),
      { ...plain("rate", "rate $(item)"), dependsOn: ["gather"], forEach: { items: '["a", "b"]' } },
      { name: "look", dependsOn: ["gather"], tool: { ref: "search", arguments: { q: "look" } } },
      {
        ...plain("tell", "tell $(nodes.rate.output) $(nodes.look.output.echo.q)"),
        when: 'nodes.look.output.echo.q == "look"',
      },
      { ...plain("rare", "rare"), when: 'nodes.look.output.echo.q == "other"' },
    ],
  }),
  script: {
    rules: [
      {
        match: { prompt: "gather", turn: 0 },
        reply: {
          toolCalls: [
            { name: "search", arguments: { q: "x" } },
            { name: "dice", arguments: { sides: 6 } },
          ],
        },
      },
      echo,
    ],
  },
  end: ["Succeeded", "Succeeded"],
};

/** Of its steps, which are numbered from 1. */
export const littlePlaces = [
  "gather 0.0",
  "gather 0.1",
  "gather 0.2.0.0",
  "gather 0.2.1.0",
  "gather 0.2.2.0",
  "gather 0.2",
  "gather 1.0",
  "look 0.1",
  "rate[0] 0.0",
  "rate[1] 0.0",
  "tell 0.0",
];
