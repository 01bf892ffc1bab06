/** Which hosts http tools may name, as the tool adapter's AddressRules. */
import { hostMatches } from "./checks.ts";
import type { EffectivePolicy } from "./types.ts";

/** Structurally the AddressRules of ports/tool.ts. */
export interface HostRules {
  allowHost(host: string, port: number): { allowed: true; named: boolean } | { allowed: false; reason: string };
  readonly allowLoopback: boolean;
  readonly denyCidrs: readonly string[];
}

/** Each enforcing policy with a hosts list must allow the host; `named` = one of them spells it out rather than by `*` alone. */
export function addressRules(policy: EffectivePolicy, host: { readonly allowLoopback: boolean; readonly denyCidrs: readonly string[] }): HostRules {
  return {
    ...host,
    allowHost: (name, port) => {
      let named = false;
      for (const { tools, enforcement, name: policyName } of policy.rules) {
        if (tools.hosts === undefined || enforcement === "Audit") continue;
        const matching = tools.hosts.filter((entry) => hostMatches(entry.host, { host: name, port }));
        if (matching.length === 0) return { allowed: false, reason: `policy ${policyName} (spec.tools.hosts) does not list ${name}:${port}` };
        named ||= matching.some((entry) => entry.host.replace(/:(\d+|\*)$/, "") !== "*");
      }
      return { allowed: true, named };
    },
  };
}
