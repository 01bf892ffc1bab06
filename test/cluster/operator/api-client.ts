/** Requests to the HTTP API over real TLS sockets, as whoever a test wants to be. */
import { request as httpsRequest } from "node:https";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { readFileSync } from "node:fs";
import { parse } from "yaml";

export interface Who {
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Ask extends Who {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export interface Told {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  json(): unknown;
}

export interface Api {
  readonly port: number;
  readonly ca: string;
}

/** Resolves with the head of the answer. */
export function open({ port, ca }: Api, path: string, ask: Ask = {}): Promise<IncomingMessage> {
  const { method = "GET", headers = {}, body, token, cert, key } = ask;
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port,
        path,
        method,
        ca,
        cert,
        key,
        agent: false,
        headers: {
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === undefined
            ? {}
            : { "Content-Length": Buffer.byteLength(body), "Content-Type": "application/json" }),
          ...headers,
        },
      },
      resolve,
    );
    request.once("error", reject);
    request.end(body);
  });
}

export async function ask(api: Api, path: string, how: Ask = {}): Promise<Told> {
  const answer = await open(api, path, how);
  let text = "";
  for await (const part of answer.setEncoding("utf8")) text += part as string;
  return { status: answer.statusCode ?? 0, headers: answer.headers, text, json: () => JSON.parse(text) as unknown };
}

interface User {
  readonly token?: string;
  readonly "client-certificate-data"?: string;
  readonly "client-key-data"?: string;
}

/** The first user of a kubeconfig. */
export function whoIs(kubeconfig: string): Who {
  const { users } = parse(readFileSync(kubeconfig, "utf8")) as { users: { user: User }[] };
  const user = users[0]?.user ?? {};
  const decoded = (text: string | undefined) => Buffer.from(text ?? "", "base64").toString("utf8");
  if (user.token !== undefined) return { token: user.token };
  return { cert: decoded(user["client-certificate-data"]), key: decoded(user["client-key-data"]) };
}
