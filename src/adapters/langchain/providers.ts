/** Providers beside our own two: those of LangChain's initChatModel, each in a package that the user installs. */

/** The package of a provider, or what to say of one that nobody knows. */
export async function providerPackage(
  provider: string,
): Promise<{ readonly package: string } | { readonly problem: string }> {
  const { MODEL_PROVIDER_CONFIG } = await import("langchain/chat_models/universal");
  const all = MODEL_PROVIDER_CONFIG as Readonly<Record<string, { package: string }>>;
  const found = Object.hasOwn(all, provider) ? all[provider] : undefined;
  // langsmith is a gateway that moves every call to another host, and azure_openai has its own addressing.
  if (found !== undefined && provider !== "langsmith") return { package: found.package };
  const known = Object.keys(all).filter((name) => name !== "langsmith");
  return {
    problem: `unknown provider ${provider}; known: ${known.join(", ")}. A server that speaks the OpenAI API is provider openai with baseURL.`,
  };
}
