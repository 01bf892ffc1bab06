/** What a provider client is made with beside its spec. */
export interface ClientOptions {
  /** Undefined = none is sent; keys in the environment are never taken. */
  readonly apiKey: string | undefined;
  /** Replaces the client's fetch (openai and anthropic). */
  readonly fetch?: typeof globalThis.fetch | undefined;
}
