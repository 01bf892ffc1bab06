/**
 * Variables by which the environment would change what a run does or tell others about it: tracing sends prompts to
 * LangSmith, the gateway moves calls to another host, the output version changes the shape of recorded messages.
 */
const variables = [
  "LANGSMITH_TRACING_V2",
  "LANGCHAIN_TRACING_V2",
  "LANGSMITH_TRACING",
  "LANGCHAIN_TRACING",
  "LANGSMITH_GATEWAY",
  "LC_OUTPUT_VERSION",
] as const;

/** Makes LangChain in this process independent of its environment. May be repeated. */
export function isolateEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  for (const name of variables) delete env[name];
}
