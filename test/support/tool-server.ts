/** An HTTP tool's server that remembers its calls. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ExecutionSpec } from "../../src/api/execution.ts";
import type { ToolSpec } from "../../src/api/tool.ts";

/** `answer` is told the call's number, from 1; `hang` leaves it without an answer. */
export async function startToolServer(
  answer: (count: number) => { status: number; body: unknown; headers?: Record<string, string>; hang?: boolean },
) {
  const seen: { key: string }[] = [];
  const server: Server = createServer((request, response) => {
    seen.push({ key: String(request.headers["idempotency-key"]) });
    const { status, body, headers, hang } = answer(seen.length);
    if (hang === true) return;
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = async () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close };
}

/** A run of one node that calls it. */
export function toolNode(url: string, changes: Partial<ToolSpec> = {}): ExecutionSpec {
  return {
    task: "t",
    tools: [{ name: "call", effect: "ReadOnly", http: { method: "POST", url: `${url}/call` }, ...changes }],
    nodes: [{ name: "n", tool: { ref: "call", arguments: { a: 1 } } }],
  };
}
