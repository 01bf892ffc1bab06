/** What runs call: a scripted model and an HTTP tool server. Stopped, both ports only count who still knocks. */
import { createServer as createHttpServer, type IncomingMessage, type Server } from "node:http";
import { type AddressInfo, createServer, type Server as Trap } from "node:net";
import { type MockModel, startMockModel } from "../../src/cli/mock-model/server.ts";
import type { MockScriptInput } from "../../src/cli/mock-model/script.ts";
import type { Urls } from "./replay-shape.ts";

export interface ToolCall {
  readonly tool: string;
  readonly arguments: unknown;
  readonly key: string;
}

export class Outside {
  readonly toolCalls: ToolCall[] = [];
  readonly model: MockModel;
  readonly #tools: Server;
  readonly #toolPort: number;
  readonly #hang = new Map<string, () => void>();
  #gate: Promise<unknown> = Promise.resolve();
  #traps: Trap[] = [];
  #connections = 0;

  static async start(script: MockScriptInput): Promise<Outside> {
    const model = await startMockModel({ script });
    const tools = createHttpServer();
    const port = await listening(tools, 0);
    return new Outside(model, tools, port);
  }

  private constructor(model: MockModel, tools: Server, toolPort: number) {
    this.model = model;
    this.#tools = tools;
    this.#toolPort = toolPort;
    tools.on("request", (request, response) => {
      void bodyOf(request).then(async (text) => {
        const tool = (request.url ?? "/").slice(1);
        const args = JSON.parse(text) as { q?: string };
        this.toolCalls.push({ tool, arguments: args, key: String(request.headers["idempotency-key"]) });
        const hang = this.#hang.get(tool);
        this.#hang.delete(tool);
        if (hang !== undefined) return hang();
        if (tool === "gate") await this.#gate;
        response.writeHead(args.q === "broken" ? 400 : 200, { "content-type": "application/json" });
        response.end(JSON.stringify({ tool, echo: args }));
      });
    });
  }

  get urls(): Urls {
    return { model: this.model.baseURL, tool: `http://127.0.0.1:${this.#toolPort}` };
  }

  /** Calls so far. */
  count(): { readonly model: number; readonly tool: number } {
    return { model: this.model.calls().length, tool: this.toolCalls.length };
  }

  /** The next call of this tool is taken and never answered. */
  hangOnce(tool: string, then: () => void): void {
    this.#hang.set(tool, then);
  }

  whenStalled(then: () => void): void {
    void this.model.waitForCall(({ outcome }) => outcome === "stalled").then(then);
  }

  /** Until a model call has stalled, the tool `gate` does not answer. */
  openGateWhenStalled(): void {
    this.#gate = new Promise<void>((open) => this.whenStalled(open));
  }

  /** Both servers are gone; from now on a connection to either port is counted and closed. */
  async stop(): Promise<void> {
    const modelPort = Number(new URL(this.model.url).port);
    await this.close();
    for (const port of [modelPort, this.#toolPort]) {
      const trap = createServer((socket) => {
        this.#connections += 1;
        socket.destroy();
      });
      await listening(trap, port);
      this.#traps.push(trap);
    }
  }

  /** Since `stop`. */
  get connections(): number {
    return this.#connections;
  }

  async close(): Promise<void> {
    for (const trap of this.#traps.splice(0)) await new Promise((resolve) => trap.close(resolve));
    await this.model.close().catch(() => undefined);
    this.#tools.closeAllConnections();
    await new Promise((resolve) => this.#tools.close(resolve));
  }
}

async function listening(server: Server | Trap, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8") || "{}";
}
