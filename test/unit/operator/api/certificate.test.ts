import { spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { describe, expect, test } from "vitest";
import {
  authorityDays,
  isDue,
  makeAuthority,
  makeServing,
  servingDays,
} from "../../../../src/operator/api/certificate.ts";

const nowMs = Date.now();
const names = ["oao-api.oao-system.svc", "api.example.test", "127.0.0.1", "fd00::12"];
const authority = makeAuthority(nowMs);
const serving = makeServing(authority, names, nowMs);
const ca = new X509Certificate(authority.certificate);
const leaf = new X509Certificate(serving.certificate);
const dayMs = 86_400_000;

async function handshake(servername: string, trusted: string): Promise<string> {
  const server = createServer({ cert: serving.certificate, key: serving.key }, (socket) => socket.end());
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", servername, ca: trusted });
  const outcome = await Promise.race([
    once(socket, "secureConnect").then(() => "trusted"),
    once(socket, "error").then(([error]) => (error as Error).message),
  ]).catch((error: unknown) => (error as Error).message);
  socket.destroy();
  server.close();
  return outcome;
}

describe("the API's own certificate", () => {
  test("is signed by its authority, which may sign nothing but such, for the names it is reached under", () => {
    expect(ca.ca).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(serving.key))).toBe(true);
    for (const name of names.slice(0, 2)) expect(leaf.checkHost(name)).toBe(name);
    for (const address of names.slice(2)) expect(leaf.checkIP(address)).toBe(address);
    expect(leaf.checkHost("other.example.test")).toBeUndefined();
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  });

  test("is trusted over TLS by whoever knows the authority, and by nobody else", async () => {
    expect(await handshake("oao-api.oao-system.svc", authority.certificate)).toBe("trusted");
    expect(await handshake("other.example.test", authority.certificate)).toContain("does not match");
    expect(await handshake("oao-api.oao-system.svc", makeAuthority(nowMs).certificate)).toMatch(/verify|self.signed/);
  });

  test("is renewed once a third of its life is left", () => {
    expect(isDue(serving.certificate, nowMs)).toBe(false);
    expect(isDue(serving.certificate, nowMs + (servingDays * 2 * dayMs) / 3 - dayMs)).toBe(false);
    expect(isDue(serving.certificate, nowMs + (servingDays * 2 * dayMs) / 3 + dayMs)).toBe(true);
    expect(isDue(authority.certificate, nowMs + (authorityDays * 2 * dayMs) / 3 + dayMs)).toBe(true);
    expect(isDue(serving.certificate, nowMs - dayMs)).toBe(true);
  });

  test("is taken by OpenSSL too, also where its end lies beyond 2050", () => {
    const folder = mkdtempSync(join(tmpdir(), "oao-cert-"));
    const late = makeAuthority(Date.UTC(2045, 0, 1));
    for (const [index, pem] of [authority.certificate, serving.certificate, late.certificate].entries())
      writeFileSync(join(folder, `${index}.pem`), pem);
    const verify = (...args: string[]) =>
      spawnSync("openssl", ["verify", "-x509_strict", ...args], { cwd: folder, encoding: "utf8" });
    expect(verify("-purpose", "sslserver", "-CAfile", "0.pem", "1.pem")).toMatchObject({ stdout: "1.pem: OK\n" });
    expect(new X509Certificate(late.certificate).validToDate.getUTCFullYear()).toBe(2054);
    rmSync(folder, { recursive: true });
  });
});
