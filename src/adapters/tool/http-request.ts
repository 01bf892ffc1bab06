/** From an http tool's definition and a call's arguments to what goes on the wire. Pure: no network, no clock. */
import { validateHeaderValue } from "node:http";
import type { HttpToolSpec } from "../../api/tool.ts";
import { canonicalJson } from "../../core/digest/digest.ts";
import type { Json, JsonObject } from "../../core/digest/json.ts";
import type { SecretReader } from "../../ports/tool.ts";
import { invalidArguments } from "./argument-schema.ts";
import { InvalidTool } from "./invalid-tool.ts";

/** Where a tool's calls go. `host` is as the URL parser writes it: lower case, punycode, IPv6 in brackets, no trailing dot. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A URL with its `{name}` places cut out. `literals` has one more member than `names`. */
export interface UrlTemplate extends Endpoint {
  readonly tls: boolean;
  /** `host`, with the port unless it is the scheme's own. */
  readonly authority: string;
  readonly literals: readonly string[];
  readonly names: readonly string[];
  /** Literal query of the URL, without `?`. */
  readonly search: string;
}

/** What one call sends. `path` starts with `/` and holds the query. */
export interface WireRequest {
  readonly path: string;
  readonly body: string | undefined;
}

/** Host, port and secret names of an http tool, for the policy check before the call. Throws InvalidTool. */
export function httpEndpoint(tool: string, http: HttpToolSpec): Endpoint & { readonly secrets: readonly string[] } {
  const { host, port } = parseUrlTemplate(tool, http.url);
  const secrets = (http.headers ?? []).flatMap((header) => header.secretKeyRef?.name ?? []);
  return { host, port, secrets: [...new Set(secrets)] };
}

/** What is wrong with an http tool whatever its secrets are. What the rules of the API refuse already is passed over. */
export function httpToolProblems(tool: string, http: HttpToolSpec): InvalidTool[] {
  const headers = http.headers ?? [];
  const names = headers.map(({ name }) => name);
  const attempts = [
    () => checkQuery(tool, http, parseUrlTemplate(tool, http.url)),
    // Each header by itself, behind as many others as stand before it: all are looked at, and each is named by its index.
    ...headers.map((header, index) => () => {
      if ((header.value === undefined) === (header.secretKeyRef === undefined)) return;
      const before = Array.from({ length: index }, (_, place) => ({ name: `x-before-${place}`, value: "" }));
      resolveHeaders(tool, { ...http, headers: [...before, header] }, () => "");
    }),
    () => {
      if (new Set(names).size < names.length) return;
      resolveHeaders(tool, { ...http, headers: names.map((name) => ({ name, value: "" })) }, () => "");
    },
  ];
  const found = new Map<string, InvalidTool>();
  for (const attempt of attempts) {
    try {
      attempt();
    } catch (error) {
      if (!(error instanceof InvalidTool)) throw error;
      found.set(error.message, error);
    }
  }
  return [...found.values()];
}

/** Throws InvalidTool for field `http.query`. */
export function checkQuery(tool: string, http: HttpToolSpec, url: UrlTemplate): void {
  const repeated = url.names.find((name) => http.query?.includes(name));
  if (repeated !== undefined) throw new InvalidTool(tool, "http.query", `${repeated} is in the URL's path already`);
}

/** Parses an absolute http(s) URL with `{name}` in its path only. Throws InvalidTool for field `http.url`. */
export function parseUrlTemplate(tool: string, template: string): UrlTemplate {
  const refuse = (problem: string) => new InvalidTool(tool, "http.url", problem);
  // The URL parser drops or rewrites these without a word.
  if (/[\s\\]/.test(template) || hasControl(template)) throw refuse("must not hold spaces, control characters or '\\'");
  const names: string[] = [];
  // Letters and digits only, so that the URL parser leaves a mark alone; never part of the template.
  let mark = "oaoarg";
  while (template.toLowerCase().includes(mark)) mark += "x";
  const marked = template.replaceAll(/\{([^{}]*)\}/g, (_, name: string) => `${mark}${names.push(name)}z`);
  if (/[{}]/.test(marked)) throw refuse("has a brace without its partner; write %7B or %7D for a literal one");
  if (names.includes("")) throw refuse("has {} without a name");
  const url = URL.parse(marked);
  if (url === null) throw refuse("must be an absolute URL, as in https://catalog.internal/items/{id}");
  if (url.protocol !== "http:" && url.protocol !== "https:") throw refuse("must start with http:// or https://");
  if (url.username !== "" || url.password !== "")
    throw refuse("must not hold credentials; use a header with secretKeyRef");
  if (url.hash !== "") throw refuse("must not hold a fragment (#…): it is never sent");
  if (url.host.includes(mark) || url.search.includes(mark)) {
    throw refuse("may hold {name} in its path only; list query arguments in http.query");
  }
  const tls = url.protocol === "https:";
  const host = url.hostname.replace(/\.$/, "");
  return {
    host,
    port: url.port === "" ? (tls ? 443 : 80) : Number(url.port),
    tls,
    authority: url.port === "" ? host : `${host}:${url.port}`,
    literals: url.pathname.split(new RegExp(`${mark}\\d+z`)),
    names,
    search: url.search.slice(1),
  };
}

/**
 * Distributes the arguments: `{name}` into the path, `query` (and, for GET, HEAD and DELETE, all others) into the query, the rest into a
 * canonical JSON body, so that a call made again after a crash sends the same bytes with the same Idempotency-Key.
 * Throws CallFailure InvalidRequest for values that a path or a query cannot hold.
 */
export function buildRequest(tool: string, http: HttpToolSpec, url: UrlTemplate, args: JsonObject): WireRequest {
  const inPath = new Set(url.names);
  const rest = Object.keys(args)
    .filter((name) => !inPath.has(name))
    .sort();
  const hasBody = http.method === "POST" || http.method === "PUT" || http.method === "PATCH";
  const declared = new Set(http.query ?? []);
  const query = new URLSearchParams();
  const inQuery = hasBody ? [...declared] : [...declared, ...rest.filter((name) => !declared.has(name))];
  for (const name of inQuery) {
    for (const value of queryValues(tool, name, Object.hasOwn(args, name) ? args[name] : undefined))
      query.append(name, value);
  }
  const search = [url.search, query.toString()].filter((part) => part !== "").join("&");
  const path = fillPath(tool, url, args) + (search === "" ? "" : `?${search}`);
  if (!hasBody) return { path, body: undefined };
  const body = Object.fromEntries(rest.filter((name) => !declared.has(name)).map((name) => [name, args[name]]));
  return { path, body: canonicalJson(body) };
}

/** An argument must stay inside the place the URL gives it: never another segment, never the parent folder, never the folder itself. */
function fillPath(tool: string, url: UrlTemplate, args: JsonObject): string {
  const path = url.names.reduce(
    (done, name, index) =>
      done + pathValue(tool, name, Object.hasOwn(args, name) ? args[name] : undefined) + url.literals[index + 1],
    url.literals[0] ?? "/",
  );
  if (path.split("/").some((segment) => /^(\.|%2e){1,2}$/i.test(segment))) {
    throw invalidArguments(tool, "the path of the URL would hold a '.' or '..' segment");
  }
  return path;
}

function pathValue(tool: string, name: string, value: Json | undefined): string {
  const text = scalarText(value);
  if (text === undefined)
    throw invalidArguments(tool, `${name} goes into the URL's path and must be a string, a number or a boolean`);
  if (text === "") throw invalidArguments(tool, `${name} goes into the URL's path and must not be empty`);
  if (text === "." || text === ".." || /[/\\]/.test(text) || hasControl(text)) {
    throw invalidArguments(
      tool,
      `${name} goes into the URL's path and must not be '.' or '..', nor hold '/', '\\' or control characters`,
    );
  }
  return encodeURIComponent(text);
}

function queryValues(tool: string, name: string, value: Json | undefined): string[] {
  if (value === undefined || value === null) return [];
  const members: readonly Json[] = Array.isArray(value) ? value : [value];
  return members.map((member) => {
    const text = scalarText(member);
    if (text !== undefined) return text;
    throw invalidArguments(
      tool,
      `${name} goes into the query and must be a string, a number, a boolean or a list of these`,
    );
  });
}

function scalarText(value: Json | undefined): string | undefined {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}

function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- finding them is the point
  return /[\u0000-\u001f\u007f]/.test(text);
}

/** Set by OAO or by the connection; a manifest that set them could break the framing or the promise of a safe repeat. */
const RESERVED = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "expect",
  "host",
  "idempotency-key",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The tool's own headers with lower-case names, and the secret values among them. Throws InvalidTool, MissingSecret. */
export function resolveHeaders(
  tool: string,
  http: HttpToolSpec,
  readSecret: SecretReader,
): { readonly headers: ReadonlyMap<string, string>; readonly secrets: readonly string[] } {
  const headers = new Map<string, string>();
  const secrets: string[] = [];
  for (const [index, { name: given, value: literal, secretKeyRef }] of (http.headers ?? []).entries()) {
    const name = given.toLowerCase();
    const refuse = (problem: string) => new InvalidTool(tool, `http.headers[${index}]`, `${given} ${problem}`);
    if (RESERVED.has(name)) throw refuse("is set by OAO and cannot be set here");
    if (headers.has(name)) throw refuse("is given twice");
    if ((literal === undefined) === (secretKeyRef === undefined))
      throw refuse("needs exactly one of value and secretKeyRef");
    const value = secretKeyRef === undefined ? (literal ?? "") : readSecret(secretKeyRef);
    // The value itself stays out of the message: it may be the secret.
    if (/[\r\n]/.test(value))
      throw refuse("has a line break in its value (a secret made from a file often ends in one)");
    try {
      validateHeaderValue(name, value);
    } catch {
      throw refuse("has a character in its value that a header cannot carry");
    }
    headers.set(name, value);
    if (secretKeyRef !== undefined) secrets.push(value);
  }
  return { headers, secrets };
}
