/** The fetch of model clients in a cluster: it connects where tools may, with the same guard and the same one lookup. */
import { type LookupAddress, lookup as systemResolver } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { Agent, fetch as undiciFetch } from "undici";
import { CallFailure } from "../../ports/step.ts";
import type { AddressRules } from "../../ports/tool.ts";
import { refusalOf } from "./address-guard.ts";

/**
 * Redirects are errors: they would lead past the check. Rejects with CallFailure InvalidRequest for an address that is refused, before
 * anything is sent.
 */
export function guardedModelFetch(rules: AddressRules): typeof globalThis.fetch {
  const check = (host: string, port: number, addresses: readonly string[]) => {
    const verdict = rules.allowHost(host, port);
    const named = verdict.allowed && verdict.named;
    const reason = addresses
      .map((address) => refusalOf(address, host, named, rules))
      .find((each) => each !== undefined);
    if (reason === undefined) return;
    const message = `a model may not be called at ${host}:${port}: ${reason}; a policy would have to name that address in models.endpoints`;
    throw new CallFailure("InvalidRequest", message, { sent: false });
  };
  const agents = new Map<string, Agent>();
  // One agent per host and port: a lookup is told the name alone.
  const agentFor = (host: string, port: number): Agent => {
    const key = `${host}:${port}`;
    const agent = agents.get(key) ?? new Agent({ connect: { lookup: checkedLookup(port, check) } });
    agents.set(key, agent);
    return agent;
  };
  return async (input: string | URL | Request, init?: RequestInit) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
    // Nobody looks up what is an address already.
    if (isIP(host) !== 0) check(host, port, [host]);
    const options = { ...init, redirect: "error", dispatcher: agentFor(host, port) } as Parameters<
      typeof undiciFetch
    >[1];
    return undiciFetch(url, options);
  };
}

function checkedLookup(
  port: number,
  check: (host: string, port: number, addresses: readonly string[]) => void,
): LookupFunction {
  return (host, options, done) => {
    systemResolver(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return done(error, [], 0);
      const answers: LookupAddress[] = found;
      try {
        check(
          host,
          port,
          answers.map(({ address }) => address),
        );
      } catch (refusal) {
        return done(refusal as NodeJS.ErrnoException, [], 0);
      }
      const [first] = answers;
      return options.all === true ? done(null, answers) : done(null, first?.address ?? "", first?.family ?? 0);
    });
  };
}
