/**
 * A port of a pod through the API server, as a stream: WebSocket with the subprotocol v4.channel.k8s.io. Channel 0 carries bytes,
 * channel 1 says why there are none; each begins with the port's number. The client library's own brings every API class along.
 */
import type { RequestOptions } from "node:https";
import { type Duplex, duplexPair } from "node:stream";
import { Agent, WebSocket } from "undici";

export interface Tunnel {
  readonly stream: Duplex;
  close(): void;
}

const connectTimeoutMs = 10_000;

/** `path`: of the pod's portforward subresource. Throws Error. */
export async function forwardPort(
  server: string,
  path: string,
  port: number,
  { ca, cert, key, passphrase, servername, rejectUnauthorized, headers }: RequestOptions,
): Promise<Tunnel> {
  const given = Object.entries({ ca, cert, key, passphrase, servername, rejectUnauthorized });
  const connect = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  const dispatcher = new Agent({ connect: { ...connect, timeout: connectTimeoutMs } });
  const url = `${server.replace(/^http/, "ws").replace(/\/$/, "")}${path}?ports=${port}`;
  const socket = new WebSocket(url, {
    protocols: ["v4.channel.k8s.io"],
    dispatcher,
    headers: (headers ?? {}) as Record<string, string>,
  });
  socket.binaryType = "arraybuffer";
  const [ours, theirs] = duplexPair();
  const begun = new Set<number>();
  socket.addEventListener("message", ({ data }: { data: unknown }) => {
    const frame = Buffer.from(data as ArrayBuffer);
    const channel = frame[0] ?? 0;
    const bytes = frame.subarray(begun.has(channel) ? 1 : 3);
    begun.add(channel);
    if (bytes.length === 0) return;
    if (channel === 0) theirs.write(bytes);
    else ours.destroy(new Error(bytes.toString("utf8").trim()));
  });
  socket.addEventListener("close", () => theirs.end());
  theirs.on("data", (bytes: Buffer) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(Buffer.concat([Buffer.from([0]), bytes]));
  });
  const close = () => {
    socket.close();
    void dispatcher.destroy();
  };
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", ({ error, message }) =>
      reject(error instanceof Error ? error : new Error(message || "the API server refused it")),
    );
  }).catch((error: unknown) => {
    close();
    throw error;
  });
  return { stream: ours, close };
}
