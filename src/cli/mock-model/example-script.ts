/** What `oao mock-model --example` prints: a script that works as it stands and names every field. */
export const EXAMPLE_SCRIPT = `# A scripted model for testing manifests without a key:
#   oao mock-model this-file.yaml --port 8080
# Point a model at it: provider openai, baseURL http://127.0.0.1:8080/v1 (anthropic: http://127.0.0.1:8080), any key.
# One token is a piece of at most 4 bytes.

models: [gpt-5-mini]        # what GET /v1/models lists
randomIds: true             # new response and tool-call ids each time, as real providers do; false: counted ones

defaults:                   # for every rule; a rule may replace each
  tokensPerSecond: 200      # average rate, 0 = full speed; or delayMsPerToken: least gap between tokens
  # headerDelayMs: 0        # before the status line
  # firstTokenDelayMs: 300  # between the headers and the first token
  # usage: Exact            # or Missing, Zero, Low, High, { inputTokens: 10, outputTokens: 5 }
  # ignoreMaxTokens: false  # true: write on beyond the output cap of the request

# Tried in order; the first rule whose conditions all hold answers. No rule: HTTP 400 that shows the request.
rules:
  - name: busy at first
    match: { times: 1 }                       # only for the first request that gets here
    reply: { status: 429, retryAfterSeconds: 1 }   # any 4xx or 5xx; errorCode: insufficient_quota, errorMessage

  - name: look something up
    match:                                    # all optional, all have to hold
      model: "gpt-*"                          # * is any text
      system: researcher                      # occurs in the system prompt
      prompt: heat pumps                      # occurs in the first user message; lastUser: in the last one
      turn: 0                                 # answers of the model already in the request
      tools: [search]                         # tools the request offers
    reply:
      text: Let me look.                      # text before the calls is optional
      toolCalls:                              # several are called in parallel
        - { name: search, arguments: { q: $PROMPT } }
      # malformedToolArguments: true          # arguments that are no JSON

  - name: answer in the agent's outputSchema
    match: { lastTool: search }               # one of the last tool results is search's
    reply:                                    # answers the way the request asks: by LangChain's extract-… tool,
      structured: { summary: "Found: $LAST_TOOL_RESULT" }    # the tool that tool_choice names, or JSON text

  - name: runaway
    match: { lastUser: everything you know }
    reply: { tokens: 1000000, ignoreMaxTokens: true }        # filler, 4 bytes a token

  - name: broken stream
    match: { lastUser: break }
    reply: { tokens: 100, cutAfterTokens: 20 }     # or stallAfterTokens, endAfterTokens (clean, without a
                                                   # finish reason), errorAfterTokens (an error event)

  - name: JSON as text
    match: { lastUser: as JSON }
    reply: { json: { ok: true } }

  - name: everything else
    reply: { text: "You said: $LAST_USER" }   # placeholders: $LAST_USER, $PROMPT, $LAST_TOOL_RESULT
`;
