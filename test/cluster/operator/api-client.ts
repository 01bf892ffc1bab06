/** Requests to the HTTP API over real TLS sockets, as whoever a test wants to be. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { connect } from "node:tls";
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

/** As server-sent events have it. */
export interface Event {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: { readonly hash?: string; readonly node?: string; readonly phase?: string };
}

/** Events until `until` says that it is enough, or the stream ends. */
export async function listen(
  api: Api,
  path: string,
  how: Ask,
  until: (told: readonly Event[]) => boolean = () => false,
): Promise<Event[]> {
  const answer = await open(api, path, how);
  const told: Event[] = [];
  let text = "";
  for await (const part of answer.setEncoding("utf8")) {
    text += part as string;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(
        block.split("\n").map((line) => [line.split(": ")[0], line.slice(line.indexOf(": ") + 2)]),
      );
      const event = fields.get("event");
      if (event !== undefined) told.push({ event, id: fields.get("id"), data: JSON.parse(fields.get("data") ?? "") });
    }
    if (until(told)) break;
  }
  answer.destroy();
  return told;
}

/** A client certificate signed by an authority that no cluster has ever heard of. */
export function foreignCertificate(folder: string, subject: string): Who {
  const openssl = (...args: string[]) => {
    const { status, stderr } = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "foreign-ca.key", "-out", "foreign-ca.crt", "-subj", "/CN=kubernetes");
  openssl("req", ...key, "-keyout", "foreign.key", "-out", "foreign.csr", "-subj", subject);
  writeFileSync(join(folder, "client.ext"), "extendedKeyUsage=clientAuth\n");
  const signer = ["-CA", "foreign-ca.crt", "-CAkey", "foreign-ca.key", "-extfile", "client.ext"];
  openssl("x509", "-req", "-in", "foreign.csr", ...signer, "-out", "foreign.crt");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  return { cert: read("foreign.crt"), key: read("foreign.key") };
}

export interface Dripped {
  readonly said: string;
  readonly tookMs: number;
}

/** Sends a POST whose body comes a byte at a time, until the server has enough of it. */
export async function drip(api: Api, path: string, { token = "" }: Who): Promise<Dripped> {
  const socket = connect({ host: "127.0.0.1", servername: "localhost", port: api.port, ca: api.ca });
  const head = [`POST ${path} HTTP/1.1`, "Host: x", `Authorization: Bearer ${token}`, "Content-Length: 100000"];
  socket.write(`${head.join("\r\n")}\r\nContent-Type: application/json\r\n\r\n`);
  const drops = setInterval(() => socket.write(" "), 500);
  const startedMs = performance.now();
  let said = "";
  await new Promise<void>((resolve) => {
    socket.on("data", (data: Buffer) => (said += data.toString()));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
  clearInterval(drops);
  return { said, tookMs: performance.now() - startedMs };
}
