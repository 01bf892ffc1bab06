/**
 * Which addresses a tool may reach (G3 holds only if a name cannot be pointed at the machine itself).
 *
 * Refused: loopback, link-local, metadata services, unspecified, broadcast, multicast, the policy's further CIDRs, and each of these
 * inside an IPv6 form that carries an IPv4 address. Allowed: everything else, private ranges (RFC 1918, unique local, 100.64/10)
 * included, because the services of a cluster have private addresses; what must not be reached there is a CIDR in the rules.
 *
 * A policy lifts a refusal by naming the address itself (or `localhost`, which is loopback by RFC 6761).
 * Naming a host name does not: whoever answers its DNS could point it at anything.
 */
import ipaddr from "ipaddr.js";
import type { AddressRules } from "../../ports/tool.ts";

export type AddressClass =
  | "Loopback"
  | "LinkLocal"
  | "Metadata"
  | "Unspecified"
  | "Broadcast"
  | "Multicast"
  | "Tunnel"
  | "Ordinary"
  | "Invalid";

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Metadata and machine services outside the link-local ranges: AWS, Alibaba, Azure, Google, Oracle. */
const METADATA = new Set([
  "169.254.169.254",
  "169.254.170.2",
  "169.254.170.23",
  "100.100.100.200",
  "168.63.129.16",
  "192.0.0.192",
  "fd00:ec2::254",
  "fd00:ec2::23",
  "fd20:ce::254",
]);

const WORDS: Readonly<Record<Exclude<AddressClass, "Ordinary">, string>> = {
  Loopback: "a loopback address",
  LinkLocal: "a link-local address",
  Metadata: "an address of a cloud's metadata service",
  Unspecified: "the unspecified address",
  Broadcast: "the broadcast address",
  Multicast: "a multicast address",
  Tunnel: "a Teredo tunnel address",
  Invalid: "no IP address",
};

/** Class of one address in text form, as DNS or a URL gives it (no brackets; a zone is ignored). */
export function classifyAddress(text: string): AddressClass {
  const address = parse(text);
  return address === undefined ? "Invalid" : classOf(unwrap(address));
}

/**
 * Why `address` must not be connected to, or undefined. `host` is the URL's host without brackets, `named` whether a policy names it.
 * Throws RangeError for a CIDR that is none: a rule that cannot be read must not read as "nothing is denied".
 */
export function refusalOf(
  address: string,
  host: string,
  named: boolean,
  rules: Pick<AddressRules, "allowLoopback" | "denyCidrs">,
): string | undefined {
  const parsed = parse(address);
  if (parsed === undefined) return `${address} is ${WORDS.Invalid}`;
  const inner = unwrap(parsed);
  const found = classOf(inner);
  if (named && isNamedItself(parsed, host, found)) return undefined;
  if (found !== "Ordinary" && !(found === "Loopback" && rules.allowLoopback)) return `${address} is ${WORDS[found]}`;
  const denied = rules.denyCidrs.find((cidr) => isIn(inner, cidr) || isIn(parsed, cidr));
  return denied === undefined ? undefined : `${address} is in the denied range ${denied}`;
}

function isNamedItself(address: Address, host: string, found: AddressClass): boolean {
  if (found === "Loopback" && /^([^.]+\.)*localhost\.?$/i.test(host)) return true;
  return parse(host)?.toString() === address.toString();
}

/** ipaddr.js's names of the refused ranges. */
const REFUSED_RANGES: Readonly<Partial<Record<string, AddressClass>>> = {
  loopback: "Loopback",
  linkLocal: "LinkLocal",
  unspecified: "Unspecified",
  broadcast: "Broadcast",
  multicast: "Multicast",
  teredo: "Tunnel",
};

function classOf(address: Address): AddressClass {
  return METADATA.has(address.toString()) ? "Metadata" : (REFUSED_RANGES[address.range()] ?? "Ordinary");
}

/** IPv4-mapped, -translated and NAT64: the address is the last 32 bits. ipaddr.js counts the deprecated ::a.b.c.d as mapped. */
const IPV4_LAST = new Set<string>(["ipv4Mapped", "rfc6145", "rfc6052"]);

/** The IPv4 address inside an IPv6 form that a system, a NAT64 or a relay would take apart; else the address itself. */
function unwrap(address: Address): Address {
  if (address.kind() === "ipv4") return address;
  const bytes = address.toByteArray();
  const inner = (from: number) => new ipaddr.IPv4(bytes.slice(from, from + 4));
  const range = address.range();
  if (range === "6to4") return inner(2);
  return IPV4_LAST.has(range) || isIsatap(bytes) ? inner(12) : address;
}

/** RFC 5214: interface identifier 0000:5efe or 0200:5efe, then the IPv4 address. */
function isIsatap(bytes: readonly number[]): boolean {
  return (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
}

function isIn(address: Address, cidr: string): boolean {
  if (!ipaddr.isValidCIDR(cidr)) throw new RangeError(`${JSON.stringify(cidr)} is no CIDR, as in 10.0.0.1/32`);
  const range = ipaddr.parseCIDR(cidr);
  return range[0].kind() === address.kind() && address.match(range);
}

function parse(text: string): Address | undefined {
  if (!ipaddr.isValid(text)) return undefined;
  const address = ipaddr.parse(text);
  if (address instanceof ipaddr.IPv6) delete address.zoneId;
  return address;
}
