/**
 * Who may ask: the page that this program's terminal named, and nobody else.
 *
 * 1. The socket is on loopback. 2. The Host header names loopback and this port, so a name that a stranger's DNS points here
 * (rebinding) is refused. 3. What a browser sends for another site (Origin, Sec-Fetch-Site) is refused. 4. Every route below
 * /api needs the token in a header, which no other site's page can set and no browser sends by itself: there are no cookies.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/** 256 bits, base64url. */
export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

export interface Refusal {
  readonly status: 401 | 403 | 421;
  readonly detail: string;
}

/** For every request. */
export function refuseStranger(headers: IncomingHttpHeaders, port: number): Refusal | undefined {
  const hosts = [`127.0.0.1:${port}`, `localhost:${port}`];
  const host = headers.host?.toLowerCase();
  if (host === undefined || !hosts.includes(host))
    return { status: 421, detail: `this server answers only as ${hosts.join(" and ")}` };
  const { origin } = headers;
  if (origin !== undefined && origin !== `http://${host}`)
    return { status: 403, detail: "requests of other sites' pages are refused" };
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none" && headers["sec-fetch-mode"] !== "navigate")
    return { status: 403, detail: "requests of other sites' pages are refused" };
  return undefined;
}

/** For everything below /api. */
export function refuseUnknown(headers: IncomingHttpHeaders, token: string): Refusal | undefined {
  const given = /^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), digest(token))) return undefined;
  return {
    status: 401,
    detail:
      given === undefined
        ? "the token is missing: open the address that oao ui printed"
        : "the token is another one: oao ui was started again since, open the address that it printed",
  };
}

/** How long a browser may take to start. */
const codeMs = 60_000;

/**
 * What a browser is started with instead of the token: its command line can be read by other users of the machine. Good once, and
 * only for a minute, so that whoever reads it finds it used or over.
 */
export class OneTimeCode {
  readonly value = newToken();
  readonly #untilMs: number;
  #isUsed = false;

  constructor(nowMs: number) {
    this.#untilMs = nowMs + codeMs;
  }

  /** Why `given` is not taken; undefined = it was, and is used up. */
  use(given: string, nowMs: number): Refusal | undefined {
    const again = "open the address that oao ui printed";
    if (!timingSafeEqual(digest(given), digest(this.value))) return { status: 401, detail: `no such code: ${again}` };
    if (this.#isUsed) {
      const warning = "if that was not you, somebody else on this machine looks at your runs: end oao ui";
      return { status: 401, detail: `the browser was opened with this code before. ${warning}` };
    }
    if (nowMs > this.#untilMs) return { status: 401, detail: `the browser took more than a minute to start: ${again}` };
    this.#isUsed = true;
    return undefined;
  }
}

/** Of equal length, whatever was given. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** No inline script or style, nothing from elsewhere, no frame, and text can never become markup (Trusted Types). */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};
