/** Which hosts http tools may name, as the tool adapter's AddressRules. */
import { hostMatches, namesHost } from "./endpoints.ts";
import type { EffectivePolicy } from "./types.ts";

/** What ports/tool.ts calls AddressRules. */
export interface HostRules {
  allowHost(host: string, port: number): { allowed: true; named: boolean } | { allowed: false; reason: string };
  readonly allowLoopback: boolean;
  readonly denyCidrs: readonly string[];
}

/**
 * Where http tools may connect. `named` = a policy names exactly this host, so that even an
 * address that is otherwise refused (loopback, link-local) was meant. Audit policies refuse nothing here.
 */
export function addressRules(
  policy: EffectivePolicy,
  { allowLoopback, denyCidrs }: { readonly allowLoopback: boolean; readonly denyCidrs: readonly string[] },
): HostRules {
  return {
    allowLoopback,
    denyCidrs,
    allowHost(host, port) {
      for (const { name, enforcement, tools } of policy.rules) {
        if (tools.hosts === undefined || enforcement === "Audit") continue;
        if (!tools.hosts.some((entry) => hostMatches(entry.host, host, port))) {
          return { allowed: false, reason: `policy ${name} (spec.tools.hosts) does not list ${host}:${port}` };
        }
      }
      const named = policy.rules.some(
        ({ tools }) => tools.hosts?.some((entry) => namesHost(entry.host, host, port)) === true,
      );
      return { allowed: true, named };
    },
  };
}

/** The same for models, whose endpoints policies name by URL. Whether a policy allows the endpoint at all is checked before. */
export function modelAddressRules(
  policy: EffectivePolicy,
  { allowLoopback, denyCidrs }: { readonly allowLoopback: boolean; readonly denyCidrs: readonly string[] },
): HostRules {
  const named = policy.rules
    .flatMap(({ models }) => models.endpoints ?? [])
    .flatMap(({ baseURL }) => authorityOf(baseURL));
  return {
    allowLoopback,
    denyCidrs,
    allowHost: (host, port) => ({ allowed: true, named: named.some((entry) => namesHost(entry, host, port)) }),
  };
}

/** `host:port` of an endpoint's pattern; with the port of its scheme where it has none. */
function authorityOf(pattern: string): string[] {
  const parts = /^(https?):\/\/([^/]+)/.exec(pattern);
  if (parts === null) return [];
  const [, scheme, authority = ""] = parts;
  return [/:\d+$/.test(authority) ? authority : `${authority}:${scheme === "https" ? 443 : 80}`];
}
