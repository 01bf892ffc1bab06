/** Resolve once, check every answer, connect to exactly these addresses. */
import { lookup as systemResolver } from "node:dns/promises";
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { CallFailure } from "../../ports/step.ts";
import type { AddressRules } from "../../ports/tool.ts";
import { refusalOf } from "./address-guard.ts";
import type { UrlTemplate } from "./http-request.ts";

/** All addresses of a host name, in the order to try them. */
export type Lookup = (host: string) => Promise<readonly string[]>;

/** The system's resolver (hosts file, search domains), as every other program on the machine. */
export const systemLookup: Lookup = async (host) =>
  (await systemResolver(host, { all: true, order: "verbatim" })).map((answer) => answer.address);

/**
 * The addresses a call may connect to, from one lookup. One bad address refuses the whole answer: the next connection could take it.
 * Throws CallFailure: InvalidRequest for a refused host or address, NetworkFailure when the name does not resolve; nothing was sent.
 */
export async function resolveChecked(
  tool: string,
  url: UrlTemplate,
  rules: AddressRules,
  lookup: Lookup,
): Promise<readonly string[]> {
  const verdict = rules.allowHost(url.host, url.port);
  if (!verdict.allowed) throw refused(tool, url, verdict.reason);
  const host = bareHost(url.host);
  const addresses = isIP(host) === 0 ? await resolve(tool, host, lookup) : [host];
  for (const address of addresses) {
    const reason = refusalOf(address, host, verdict.named, rules);
    if (reason !== undefined)
      throw refused(tool, url, `${reason}; a policy would have to name that address in tools.hosts`);
  }
  return addresses;
}

/**
 * A connected socket, for https after the certificate was checked for the URL's host.
 * Addresses are tried in their order. Throws CallFailure NetworkFailure; nothing of the request was sent.
 */
export async function connectPinned(
  tool: string,
  url: UrlTemplate,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<Socket> {
  const host = bareHost(url.host);
  const options = { host, port: url.port, lookup: pinned(addresses), autoSelectFamily: true };
  const socket = url.tls
    ? connectTls({ ...options, ALPNProtocols: ["http/1.1"], ...(isIP(host) === 0 ? { servername: host } : {}) })
    : connectTcp(options);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const abort = () => socket.destroy(new Error("aborted"));
  signal.addEventListener("abort", abort, { once: true });
  socket.once(url.tls ? "secureConnect" : "connect", () => resolve(socket));
  // Stays for the socket's life: an error after the request has ended it must not end the process.
  socket.on("error", (error) => reject(networkFailure(tool, `connecting to ${url.authority} failed`, error, false)));
  try {
    if (signal.aborted) abort();
    return await promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** NetworkFailure with the code and text of a socket error. */
export function networkFailure(tool: string, what: string, error: unknown, sent: boolean): CallFailure {
  return new CallFailure("NetworkFailure", `Tool ${tool}: ${what}: ${errorText(error)}`, { sent, cause: error });
}

function errorText(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(errorText).join("; ");
  return error instanceof Error ? error.message || error.name : String(error);
}

function refused(tool: string, url: UrlTemplate, reason: string): CallFailure {
  return new CallFailure("InvalidRequest", `Tool ${tool} may not connect to ${url.authority}: ${reason}`, {
    sent: false,
  });
}

async function resolve(tool: string, host: string, lookup: Lookup): Promise<readonly string[]> {
  let addresses: readonly string[];
  try {
    addresses = await lookup(host);
  } catch (error) {
    throw networkFailure(tool, `${host} does not resolve`, error, false);
  }
  if (addresses.length > 0) return addresses;
  throw new CallFailure("NetworkFailure", `Tool ${tool}: ${host} has no address`, { sent: false });
}

/** Answers from what was checked, whatever DNS says by now. */
function pinned(addresses: readonly string[]): LookupFunction {
  const answers = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    const [first] = answers;
    if (options.all === true) callback(null, answers);
    else callback(null, first?.address ?? "", first?.family ?? 0);
  };
}

/** Without the brackets of an IPv6 host. */
function bareHost(host: string): string {
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
