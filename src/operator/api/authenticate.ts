/**
 * Who asks: the cluster decides, not this process. A bearer token goes to TokenReview; a client certificate is checked by TLS
 * against the cluster's client authority. What a proxy in front claims about the caller (X-Remote-User and the like) is not read.
 */
import { createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { KubeClient } from "../../adapters/kube/client.ts";
import { resourcePath, resources } from "../../adapters/kube/resources.ts";
import { Problem } from "./problems.ts";
import { type Rate, RateLimit, slowDown } from "./rate-limit.ts";

/** As the cluster knows somebody. */
export interface Caller {
  readonly username: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

interface TokenReview {
  readonly status: {
    readonly authenticated?: boolean;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

const bearer = /^bearer ([A-Za-z0-9._~+/-]+=*)$/i;
/** Of everybody whom the API server lets in. */
const everybody = "system:authenticated";

export interface AuthenticateOptions {
  readonly client: KubeClient;
  /** Monotonic, milliseconds. */
  readonly nowMs: () => number;
  /** Whether certificates that TLS accepted count: the authority they were checked against is the cluster's. */
  readonly trustsCertificates: () => boolean;
  /** How long an answer about a token is believed. */
  readonly tokenTtlMs?: number;
}

/** Tokens of one address that turn out to be none: each costs the API server a review. Those that were one before are not held up. */
const failures: Rate = { perSecond: 10, burst: 50 };

export class Authenticator {
  readonly #options: AuthenticateOptions;
  readonly #failures: RateLimit;
  readonly #tokens: TokenCache;

  constructor(options: AuthenticateOptions) {
    this.#options = options;
    this.#failures = new RateLimit(failures, options.nowMs);
    this.#tokens = new TokenCache(options.nowMs, options.tokenTtlMs ?? 10_000);
  }

  /** Undefined = the cluster does not know them. Throws Problem (bad-request), or KubeError when the cluster cannot be asked. */
  async identify(request: IncomingMessage): Promise<Caller | undefined> {
    const impersonates = Object.keys(request.headers).find((name) => name.startsWith("impersonate-"));
    // Whoever acts as somebody else must not be taken for themselves.
    if (impersonates !== undefined) throw new Problem("bad-request", "impersonation is not served here");
    const { authorization } = request.headers;
    if (authorization === undefined) return this.#byCertificate(request);
    const token = bearer.exec(authorization)?.[1];
    if (token === undefined) return undefined;
    const address = request.socket.remoteAddress ?? "";
    return this.#tokens.of(token, (wasKnown) => {
      if (!wasKnown) slowDown(this.#failures.look(address));
      return this.#review(token, address);
    });
  }

  /** A browser shows a certificate whoever's page makes it ask, so it counts only for those that the API itself would have sent. */
  #byCertificate({ headers, socket }: IncomingMessage): Caller | undefined {
    const tls = socket as TLSSocket;
    if (!tls.authorized || !this.#options.trustsCertificates()) return undefined;
    if (!["none", "same-origin", undefined].includes(headers["sec-fetch-site"])) return undefined;
    return callerOf(tls.getPeerCertificate(), Date.now());
  }

  /** For the API server's own audience: a token that was made for somebody else is none. */
  async #review(token: string, address: string): Promise<Caller | undefined> {
    const { status } = await this.#options.client.request<TokenReview>({
      method: "POST",
      path: resourcePath(resources.tokenReviews),
      body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } },
      repeatable: true,
    });
    const { username = "", uid, groups = [], extra } = status.user ?? {};
    if (status.authenticated !== true || username === "") {
      this.#failures.take(address);
      return undefined;
    }
    return {
      username,
      groups,
      ...(uid === undefined ? {} : { uid }),
      ...(extra === undefined ? {} : { extra }),
    };
  }
}

/** Common name and organisations, as the API server reads them. A connection may outlive its certificate. */
export function callerOf(certificate: PeerCertificate, nowMs: number): Caller | undefined {
  // Empty where the other side showed none.
  const { CN: username, O: groups = [] } = (certificate.subject ?? {}) as Partial<Record<string, string | string[]>>;
  if (typeof username !== "string" || username === "" || Date.parse(certificate.valid_to) <= nowMs) return undefined;
  return { username, groups: [...new Set([...[groups].flat(), everybody])] };
}

const tokensMax = 4_096;

/** What was said about a token, by a hash that nobody else can make: tokens themselves are never kept. */
class TokenCache {
  readonly #nowMs: () => number;
  readonly #ttlMs: number;
  readonly #key = randomBytes(32);
  readonly #known = new Map<string, { readonly answer: Promise<Caller | undefined>; readonly untilMs: number }>();
  /** Hashes of tokens that were somebody's when they were last asked about. */
  readonly #accepted = new Set<string>();

  constructor(nowMs: () => number, ttlMs: number) {
    this.#nowMs = nowMs;
    this.#ttlMs = ttlMs;
  }

  of(token: string, ask: (wasKnown: boolean) => Promise<Caller | undefined>): Promise<Caller | undefined> {
    const id = createHmac("sha256", this.#key).update(token).digest("base64");
    const known = this.#known.get(id);
    if (known !== undefined && this.#nowMs() < known.untilMs) return known.answer;
    const answer = this.#asked(id, ask);
    this.#known.delete(id);
    this.#known.set(id, { answer, untilMs: this.#nowMs() + this.#ttlMs });
    answer.catch(() => this.#known.delete(id)); // nothing was said
    dropOldest(this.#known);
    return answer;
  }

  async #asked(id: string, ask: (wasKnown: boolean) => Promise<Caller | undefined>): Promise<Caller | undefined> {
    const caller = await ask(this.#accepted.has(id));
    this.#accepted.delete(id);
    if (caller !== undefined) this.#accepted.add(id);
    dropOldest(this.#accepted);
    return caller;
  }
}

function dropOldest(held: Map<string, unknown> | Set<string>): void {
  const [oldest] = held.keys();
  if (held.size > tokensMax && oldest !== undefined) held.delete(oldest);
}
