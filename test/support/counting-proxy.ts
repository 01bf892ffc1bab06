/** An HTTP server in between that counts the calls of a model or a tool, and tells when each has been answered. */
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";

export interface CountingProxy {
  readonly url: string;
  /** Bodies of the calls so far. */
  readonly calls: readonly string[];
  /** Told after the last byte of an answer has gone out, with the call's number from 1. */
  onAnswered: (call: number) => void;
  close(): Promise<void>;
}

export async function countCalls(target: string): Promise<CountingProxy> {
  const calls: string[] = [];
  const { origin, pathname } = new URL(target);
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const call = calls.push(Buffer.concat(chunks).toString());
      const options = { method: request.method, headers: request.headers };
      const onward = httpRequest(`${origin}${request.url}`, options, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on("end", () => proxy.onAnswered(call));
      });
      onward.on("error", () => response.destroy());
      response.on("close", () => onward.destroy());
      onward.end(Buffer.concat(chunks));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const proxy: CountingProxy = {
    url: `http://127.0.0.1:${port}${pathname}`,
    calls,
    onAnswered: () => undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return proxy;
}
