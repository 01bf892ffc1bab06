/**
 * Matching of addresses, part by part: a `*` in the host of a pattern never reaches into the path or
 * the port, so `https://*.internal/*` does not match `https://evil.example/x.internal/`.
 */
import { globMatches } from "./glob.ts";

const defaultPorts: Readonly<Record<string, string>> = { "https:": "443", "http:": "80" };

/**
 * Does `url` lie under the pattern `scheme://host[:port][/path]`? Host and scheme without regard to
 * case; no port = the scheme's own; what lies below the path is included.
 * A pattern of `*` alone covers whatever there is. Any other is false for what is no absolute URL and for URLs with a user name, which only hide the host.
 */
export function urlMatches(pattern: string, url: string): boolean {
  if (pattern === "*") return true;
  const target = parseUrl(url);
  if (target === undefined) return false;
  const parts = /^([^:/]+):\/\/([^/]*)(\/.*)?$/.exec(pattern);
  if (parts === null) return false;
  const [, scheme = "", authority = "", path] = parts;
  const protocol = `${scheme.toLowerCase()}:`;
  if (!globMatches(protocol, target.protocol)) return false;
  const own = defaultPorts[target.protocol] ?? "";
  const wanted = splitHost(authority);
  if (!globMatches(wanted.host, target.hostname) || !globMatches(wanted.port ?? own, target.port || own)) return false;
  const top = (path ?? "").replace(/\/+$/, "");
  const plain = target.pathname.replace(/\/+$/, "");
  return globMatches(top, plain) || globMatches(top, `${plain}/`) || globMatches(`${top}/*`, plain);
}

/** Does `host:port` lie under the pattern `host[:port]`? No port in the pattern = 443 and 80. */
export function hostMatches(pattern: string, host: string, port: number): boolean {
  const wanted = splitHost(pattern);
  const portFits = wanted.port === undefined ? port === 443 || port === 80 : globMatches(wanted.port, String(port));
  return portFits && globMatches(wanted.host, normalHost(host));
}

/** Names exactly this host, without `*` or `?`: a wildcard must not open loopback or metadata addresses (DNS is not ours). */
export function namesHost(pattern: string, host: string, port: number): boolean {
  return !/[*?]/.test(splitHost(pattern).host) && hostMatches(pattern, host, port);
}

/** Lower case, without the dot of a full DNS name and the brackets of IPv6. */
function normalHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "");
}

function splitHost(authority: string): { host: string; port: string | undefined } {
  const parts = /^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$/.exec(authority);
  if (parts === null) return { host: normalHost(authority), port: undefined };
  return { host: normalHost(parts[1] ?? ""), port: parts[2] };
}

interface Target {
  readonly protocol: string;
  readonly hostname: string;
  readonly port: string;
  readonly pathname: string;
}

/** An absolute URL in its normal form (dots resolved, host in lower case); undefined if it is none or names a user. */
export function parseUrl(text: string): Target | undefined {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.password !== "" || url.hostname === "") return undefined;
  return { protocol: url.protocol, hostname: normalHost(url.hostname), port: url.port, pathname: url.pathname };
}

/** Why a model's requests cannot be sent there; undefined = they can. */
export function baseUrlProblem(text: string): string | undefined {
  // The URL parser drops or rewrites these without a word.
  if (/[\s\\]/.test(text)) return "must not hold spaces or '\\'";
  const url = URL.parse(text);
  if (url === null || url.hostname === "") return "must be an absolute URL, as in https://llm.internal/v1";
  if (url.protocol !== "http:" && url.protocol !== "https:") return "must start with http:// or https://";
  if (url.username !== "" || url.password !== "") return "must not hold credentials; use apiKeySecretRef";
  return url.search === "" && url.hash === ""
    ? undefined
    : "must not hold a query or a fragment: a path is added to it";
}

/** Host and port that a request to `url` goes to; undefined as in `parseUrl`, or without a known port. */
export function hostOf(url: string): { readonly host: string; readonly port: number } | undefined {
  const target = parseUrl(url);
  const port = target === undefined ? "" : target.port || (defaultPorts[target.protocol] ?? "");
  return target === undefined || port === "" ? undefined : { host: target.hostname, port: Number(port) };
}

/** `./tools//a.js` as `tools/a.js`; undefined if it is absolute or leaves its folder. */
export function normalModulePath(path: string): string | undefined {
  if (path.startsWith("/") || path.includes("\\") || path.includes("\0")) return undefined;
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) return undefined;
  }
  return kept.length === 0 ? undefined : kept.join("/");
}
