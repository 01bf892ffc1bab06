/** The runaway model in a process of its own: prints its base URL, then one line per ended call. Arguments: budget, ms per token. */
import { startMockModel } from "../../src/cli/mock-model/server.ts";

export interface EndedCall {
  /** Milliseconds on the wall clock of this machine. */
  readonly crossedAt: number;
  readonly closedAt: number;
  readonly tokens: number;
}

const [budget, delayMsPerToken] = process.argv.slice(2).map(Number);
const mock = await startMockModel({
  script: { rules: [{ reply: { tokens: 1_000_000, ignoreMaxTokens: true, delayMsPerToken: delayMsPerToken ?? 2 } }] },
});
const crossed = new Map<number, number>();
mock.onToken((call) => {
  if (call.tokens === (budget ?? 0) + 1) crossed.set(call.index, performance.timeOrigin + performance.now());
});
mock.onEnd((call) => {
  const ended: EndedCall = {
    crossedAt: crossed.get(call.index) ?? Number.NaN,
    closedAt: call.closedAt ?? Number.NaN,
    tokens: call.tokens,
  };
  process.stdout.write(`${JSON.stringify(ended)}\n`);
});
process.stdout.write(`${mock.baseURL}\n`);
process.on("disconnect", () => process.exit(0));
