import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { renewed, servingNames } from "../../../../src/operator/api/serving.ts";

const dayMs = 86_400_000;
const nowMs = Date.now();
const names = servingNames({ service: "oao-api", namespace: "oao-system", names: ["api.example.test", "192.0.2.7"] });
const first = renewed(undefined, names, nowMs);
const issuerOf = (pem: string) => new X509Certificate(pem).issuer;
const count = (pem: string) => pem.split("BEGIN CERTIFICATE").length - 1;

describe("the kept certificate", () => {
  test("is for every name that the API has in the cluster, and for those that the chart was told", () => {
    const parsed = new X509Certificate(first["tls.crt"]);
    for (const name of ["oao-api", "oao-api.oao-system.svc", "localhost", "api.example.test"])
      expect(parsed.checkHost(name)).toBe(name);
    expect(parsed.checkIP("192.0.2.7")).toBe("192.0.2.7");
  });

  test("stays while nothing is due; it is renewed under the same authority, in time and for a new name", () => {
    expect(renewed(first, names, nowMs + dayMs)).toBe(first);
    for (const next of [
      renewed(first, names, nowMs + 61 * dayMs),
      renewed(first, [...names, "new.example.test"], nowMs),
    ]) {
      expect(next["tls.crt"]).not.toBe(first["tls.crt"]);
      expect(next["ca.crt"]).toBe(first["ca.crt"]);
    }
  });

  test("has a new authority long before the old one ends, and the old one stays trusted meanwhile", () => {
    const next = renewed(first, names, nowMs + 2_500 * dayMs);
    expect(count(next["ca.crt"])).toBe(2);
    expect(next["ca.crt"]).toContain(first["ca.crt"].trim());
    expect(issuerOf(next["tls.crt"])).not.toBe(issuerOf(first["tls.crt"]));
    expect(renewed(next, names, nowMs + 2_501 * dayMs)).toBe(next);
  });

  test("is made anew where a Secret holds something else", () => {
    const broken = { "tls.crt": "x", "tls.key": "", "ca.crt": "", "ca.key": "" };
    expect(count(renewed(broken, names, nowMs)["ca.crt"])).toBe(1);
    expect(renewed({ ...first, "tls.crt": "x" }, names, nowMs)["ca.crt"]).toBe(first["ca.crt"]);
    const other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect(count(renewed({ ...broken, "ca.crt": other }, names, nowMs)["ca.crt"])).toBe(1);
  });
});
