/** An authority of the API's own and the certificate it serves with: ECDSA P-256, signed with SHA-256 (RFC 5280). */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { bits, explicit, implicit, integer, octets, oid, sequence, set, time, utf8, yes } from "./der.ts";

/** PEM texts. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

const dayMs = 86_400_000;
export const authorityDays = 3_650;
export const servingDays = 90;
/** Clocks of machines differ. */
const aheadMs = 3_600_000;

const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"));

/** Signs serving certificates and nothing below them. */
export function makeAuthority(nowMs: number): Pair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = `oao-api-ca-${randomBytes(4).toString("hex")}`;
  const certificate = signed({
    subject: name,
    issuer: name,
    publicKey,
    signer: { key: privateKey, publicKey },
    nowMs,
    days: authorityDays,
    extensions: [
      extension("2.5.29.19", sequence(yes, integer(Buffer.from([0]))), "critical"),
      // keyCertSign, cRLSign
      extension("2.5.29.15", bits(Buffer.from([0b0000_0110]), 1), "critical"),
    ],
  });
  return { certificate, key: pemOf(privateKey) };
}

/** `names`: DNS names and addresses under which the API is reached. */
export function makeServing(authority: Pair, names: readonly string[], nowMs: number): Pair {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const parent = new X509Certificate(authority.certificate);
  const certificate = signed({
    subject: "oao-api",
    issuer: parent.subject.replace(/^CN=/, ""),
    publicKey,
    signer: { key: createPrivateKey(authority.key), publicKey: parent.publicKey },
    nowMs,
    days: servingDays,
    extensions: [
      extension("2.5.29.19", sequence(), "critical"),
      // digitalSignature
      extension("2.5.29.15", bits(Buffer.from([0b1000_0000]), 7), "critical"),
      // serverAuth
      extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.1"))),
      extension("2.5.29.17", sequence(...names.map(alternativeName))),
    ],
  });
  return { certificate, key: pemOf(privateKey) };
}

/** Whether it is time for a new one: a third of its life is left, or less. */
export function isDue(certificate: string, nowMs: number): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  const [from, to] = [validFromDate.getTime(), validToDate.getTime()];
  return nowMs < from || nowMs >= to - (to - from) / 3;
}

interface Wanted {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: { readonly key: KeyObject; readonly publicKey: KeyObject };
  readonly nowMs: number;
  readonly days: number;
  readonly extensions: readonly Buffer[];
}

function signed({ subject, issuer, publicKey, signer, nowMs, days, extensions }: Wanted): string {
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(16)),
    ecdsaWithSha256,
    nameOf(issuer),
    sequence(time(nowMs - aheadMs), time(nowMs + days * dayMs)),
    nameOf(subject),
    spkiOf(publicKey),
    explicit(
      3,
      sequence(
        ...extensions,
        extension("2.5.29.14", octets(keyId(publicKey))),
        extension("2.5.29.35", sequence(implicit(0, keyId(signer.publicKey)))),
      ),
    ),
  );
  const signature = sign("sha256", body, signer.key);
  const der = sequence(body, ecdsaWithSha256, bits(signature));
  const lines = der.toString("base64").replaceAll(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function nameOf(commonName: string): Buffer {
  return sequence(set(sequence(oid("2.5.4.3"), utf8(commonName))));
}

function alternativeName(name: string): Buffer {
  if (isIP(name) === 0) return implicit(2, Buffer.from(name, "ascii"));
  return implicit(7, Buffer.from(isIP(name) === 4 ? name.split(".").map(Number) : bytesOfIpv6(name)));
}

function bytesOfIpv6(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const groupsOf = (text: string) => (text === "" ? [] : text.split(":"));
  const [before, after] = [groupsOf(head), groupsOf(tail ?? "")];
  const gap = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array.from({ length: gap }, () => "0"), ...after].map((group) => parseInt(group, 16));
  return groups.flatMap((group) => [group >> 8, group & 0xff]);
}

function extension(id: string, value: Buffer, critical?: "critical"): Buffer {
  return sequence(oid(id), ...(critical === undefined ? [] : [yes]), octets(value));
}

function spkiOf(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

/** RFC 7093: the first 160 bits of the hash of the key. */
function keyId(key: KeyObject): Buffer {
  const point = spkiOf(key).subarray(-65);
  return createHash("sha256").update(point).digest().subarray(0, 20);
}

function pemOf(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
