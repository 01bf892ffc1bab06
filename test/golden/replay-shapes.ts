/** Whole runs that are recorded and then replayed. */
import { armed, base, echo, plain, search, type ReplayShape } from "./replay-shape.ts";

export const replayShapes: readonly ReplayShape[] = [
  {
    name: "parallel branches with parallel tool calls, a forEach, retried calls and a retried node, joined by a tool",
    spec: (urls) => ({
      ...base(urls, ["search", "join"]),
      nodes: [
        armed("left", "left: $(input.topic)"),
        { ...plain("right", "right"), retry: { maxRetries: 1, retryDelaySeconds: 0 } },
        {
          ...plain("rate", "rate $(item)"),
          dependsOn: ["right"],
          forEach: { items: '["a", "b", "c"]', maxParallel: 2 },
        },
        {
          name: "join",
          tool: {
            ref: "join",
            arguments: { left: "$(nodes.left.output)", rates: "$(nodes.rate.output)", right: "$(nodes.right.output)" },
          },
        },
        plain("answer", "answer with $(nodes.join.output.echo.rates[1])"),
      ],
    }),
    script: {
      rules: [
        {
          match: { prompt: "left", turn: 0, tools: ["search"] },
          reply: { toolCalls: ["a", "b", "a"].map((q) => ({ name: "search", arguments: { q } })) },
        },
        { match: { prompt: "rate b", times: 1 }, reply: { status: 500 } },
        { match: { prompt: "right", times: 3 }, reply: { status: 500 } },
        echo,
      ],
    },
    end: ["Succeeded", "Succeeded"],
  },
  {
    name: "parallel tool calls of which two are equal and one fails, with recorded values inside",
    spec: (urls) => ({
      ...base(urls, ["search", "dice"]),
      nodes: [armed("play", "play"), plain("tell", "tell $(nodes.play.output)")],
    }),
    script: {
      rules: [
        {
          match: { prompt: "play", turn: 0 },
          reply: {
            toolCalls: [
              { name: "dice", arguments: { sides: 1000 } },
              { name: "search", arguments: { q: "broken" } },
              { name: "dice", arguments: { sides: 1000 } },
              { name: "search", arguments: { q: "x" } },
            ],
          },
        },
        { match: { prompt: "play", turn: 1 }, reply: { toolCalls: [{ name: "dice", arguments: { sides: 1000 } }] } },
        { match: { prompt: "play" }, reply: { text: "Rolled $LAST_TOOL_RESULT" } },
        echo,
      ],
    },
    end: ["Succeeded", "Succeeded"],
  },
  {
    name: "calls that are retried, and a node in its second try",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        { ...armed("shaky", "shaky"), retry: { maxRetries: 1, retryDelaySeconds: 0 } },
        plain("then", "then $(nodes.shaky.output)"),
      ],
    }),
    script: {
      rules: [
        { match: { prompt: "shaky", turn: 0 }, reply: search("shaky") },
        { match: { prompt: "shaky", turn: 1, times: 4 }, reply: { status: 500 } },
        echo,
      ],
    },
    end: ["Succeeded", "Succeeded"],
  },
  {
    name: "a branch that is skipped, with what depends on it",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        { name: "check", tool: { ref: "search", arguments: { q: "check" } } },
        { ...plain("rare", "rare"), when: 'nodes.check.output.echo.q == "other"' },
        plain("needs", "needs $(nodes.rare.output)"),
        { ...plain("after", "after"), dependsOn: ["rare"] },
        { ...armed("usual", "usual"), when: 'nodes.check.output.echo.q == "check"' },
      ],
    }),
    script: { rules: [{ match: { prompt: "usual", turn: 0 }, reply: search("usual") }, echo] },
    end: ["Succeeded", "Succeeded"],
  },
  ...(["Approve", "Reject"] as const).map(
    (answer): ReplayShape => ({
      name: `an approval that is answered with ${answer}`,
      spec: (urls) => ({
        ...base(urls, []),
        nodes: [
          plain("draft", "draft"),
          { name: "sign-off", approval: { message: "Publish $(nodes.draft.output)?" } },
          { ...plain("publish", "publish"), dependsOn: ["sign-off"] },
          plain("beside", "beside"),
        ],
      }),
      script: { rules: [echo] },
      disturb: (world) => world.onStatus((_, name) => world.answer(name, answer)),
      end: answer === "Approve" ? ["Succeeded", "Succeeded"] : ["Failed", "NodeFailed"],
    }),
  ),
  {
    name: "a failed node, with finally nodes after it",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        plain("prepare", "prepare"),
        { name: "work", dependsOn: ["prepare"], tool: { ref: "search", arguments: { q: "broken" } } },
        plain("never", "never $(nodes.work.output)"),
        armed("beside", "beside"),
      ],
      finally: [
        { name: "tidy", tool: { ref: "search", arguments: { q: "tidy" } } },
        { ...plain("report", "report"), dependsOn: ["tidy"] },
      ],
    }),
    script: { rules: [{ match: { prompt: "beside", turn: 0 }, reply: search("beside") }, echo] },
    end: ["Failed", "NodeFailed"],
  },
  {
    name: "a forEach whose second item fails, so that its last ones never start, with branches that go on",
    spec: (urls) => ({
      ...base(urls, ["search"]),
      nodes: [
        {
          name: "each",
          forEach: { items: '["a", "broken", "c", "d"]', maxParallel: 1 },
          tool: { ref: "search", arguments: { q: "$(item)" } },
        },
        plain("never", "never $(nodes.each.output[0])"),
        armed("beside", "beside"),
        { ...plain("none", "none $(item)"), forEach: { items: "[]" } },
        plain("after", "after $(nodes.none.output)"),
      ],
    }),
    script: { rules: [{ match: { prompt: "beside", turn: 0 }, reply: search("beside") }, echo] },
    end: ["Failed", "NodeFailed"],
  },
  {
    name: "a budget that stops the run in mid-stream and cuts its siblings",
    spec: (urls) => ({
      ...base(urls, ["search", "gate"]),
      nodes: [
        plain("first", "first"),
        { ...armed("runaway", "runaway"), dependsOn: ["first"] },
        { ...armed("sibling", "sibling"), dependsOn: ["first"] },
        plain("last", "last of $(nodes.sibling.output)"),
      ],
      finally: [{ name: "tidy", tool: { ref: "search", arguments: { q: "tidy" } } }],
    }),
    script: {
      rules: [
        // It goes on once its sibling is in the middle of an answer.
        { match: { prompt: "runaway", turn: 0 }, reply: { toolCalls: [{ name: "gate", arguments: {} }] } },
        { match: { prompt: "runaway" }, reply: { tokens: 3_000, ignoreMaxTokens: true } },
        { match: { prompt: "sibling", turn: 0 }, reply: search("sibling") },
        { match: { prompt: "sibling", turn: 1, times: 1 }, reply: { tokens: 60, stallAfterTokens: 20 } },
        echo,
      ],
    },
    policy: { maxTokens: 1_500 },
    wholePolicy: { maxTokens: 100_000 },
    disturb: (_, outside) => outside.openGateWhenStalled(),
    end: ["Failed", "PolicyViolation"],
  },
  {
    name: "a run that is cancelled in the middle",
    spec: (urls) => ({
      ...base(urls, ["search", "dice"]),
      nodes: [
        plain("first", "first"),
        { ...armed("slow", "slow"), dependsOn: ["first"] },
        plain("last", "last of $(nodes.slow.output)"),
      ],
      finally: [
        { name: "undo", tool: { ref: "search", arguments: { q: "undo" } }, runOnCancel: true },
        plain("bye", "bye"),
      ],
    }),
    script: {
      rules: [
        { match: { prompt: "slow", turn: 0 }, reply: { toolCalls: [{ name: "dice", arguments: { sides: 1000 } }] } },
        { match: { prompt: "slow", turn: 1, times: 1 }, reply: { tokens: 60, stallAfterTokens: 20 } },
        echo,
      ],
    },
    disturb: (world, outside, name) => outside.whenStalled(() => world.cancel(name)),
    wholePolicy: {},
    end: ["Cancelled", "Cancelled"],
  },
  {
    name: "a run that is cancelled inside of a NonIdempotent module, which leaves its call open",
    spec: (urls) => {
      const spec = base(urls, ["search"]);
      const module = { path: "test/golden/tools/hold.mjs", export: "hold" };
      return {
        ...spec,
        tools: [...spec.tools, { name: "hold", module }],
        agents: [...spec.agents, { name: "holder", model: "m", tools: ["hold"] }],
        nodes: [
          { name: "holds", agent: { ref: "holder", prompt: `${urls.tool}/hold` } },
          plain("beside", "beside"),
          plain("last", "last $(nodes.holds.output)"),
        ],
      };
    },
    script: {
      rules: [
        {
          match: { prompt: "/hold", turn: 0, tools: ["hold"] },
          reply: { toolCalls: [{ name: "hold", arguments: { url: "$LAST_USER" } }] },
        },
        echo,
      ],
    },
    disturb: (world, outside, name) => outside.hangOnce("hold", () => world.cancel(name)),
    wholePolicy: {},
    end: ["Cancelled", "Cancelled"],
  },
  {
    name: "an agent with a structured answer, read by two others",
    spec: (urls) => {
      const spec = base(urls, ["search"]);
      const outputSchema = { type: "object", properties: { verdict: { type: "string" } }, required: ["verdict"] };
      return {
        ...spec,
        agents: [...spec.agents, { name: "judge", model: "m", tools: ["search"], outputSchema }],
        nodes: [
          { name: "judge", agent: { ref: "judge", prompt: "judge" } },
          plain("praise", "praise $(nodes.judge.output.verdict)"),
          { ...plain("blame", "blame"), when: 'nodes.judge.output.verdict == "bad"' },
        ],
      };
    },
    script: {
      rules: [
        { match: { prompt: "judge", turn: 0 }, reply: search("judge") },
        { match: { prompt: "judge" }, reply: { structured: { verdict: "good" } } },
        echo,
      ],
    },
    end: ["Succeeded", "Succeeded"],
  },
  ...(["Retry", "Ask", "Fail"] as const).map(
    (onInDoubt): ReplayShape => ({
      name: `a NonIdempotent call in doubt under onInDoubt ${onInDoubt}`,
      spec: (urls) => ({
        ...base(urls, ["search", "send"]),
        nodes: [armed("mail", "mail"), plain("then", "then $(nodes.mail.output)"), plain("beside", "beside")],
      }),
      script: {
        rules: [
          { match: { prompt: "mail", turn: 0 }, reply: search("address") },
          { match: { prompt: "mail", turn: 1 }, reply: { toolCalls: [{ name: "send", arguments: { to: "ada" } }] } },
          echo,
        ],
      },
      policy: { onInDoubt },
      // The server has the letter when the worker dies; the second time it answers.
      disturb: (world, outside) => {
        if (onInDoubt === "Ask") world.onStatus((_, name) => world.answer(name, "Approve"));
        outside.hangOnce("send", () => world.kill("mail"));
      },
      ...(onInDoubt === "Fail" ? { wholePolicy: {}, mendedAt: "mail" } : {}),
      end: onInDoubt === "Fail" ? ["Failed", "NodeFailed"] : ["Succeeded", "Succeeded"],
    }),
  ),
];
