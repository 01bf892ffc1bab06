import { describe, expect, it } from "vitest";
import { type AddressClass, classifyAddress, refusalOf } from "../../../src/adapters/tool/address-guard.ts";
import { parseUrlTemplate } from "../../../src/adapters/tool/http-request.ts";

const cluster = { allowLoopback: false, denyCidrs: [] };

const addresses: readonly (readonly [string, AddressClass])[] = [
  ["127.0.0.1", "Loopback"],
  ["127.255.255.254", "Loopback"],
  ["::1", "Loopback"],
  ["0:0:0:0:0:0:0:1", "Loopback"],
  ["::ffff:127.0.0.1", "Loopback"],
  ["::ffff:7f00:1", "Loopback"],
  ["::127.0.0.1", "Loopback"],
  ["::ffff:0:127.0.0.1", "Loopback"],
  ["64:ff9b::127.0.0.1", "Loopback"],
  ["64:ff9b:1::7f00:1", "Loopback"],
  ["2002:7f00:1::", "Loopback"],
  ["2002:7f00:1:1::abcd", "Loopback"],
  ["2606:4700::5efe:7f00:1", "Loopback"],
  ["2606:4700::200:5efe:127.0.0.1", "Loopback"],
  ["169.254.1.1", "LinkLocal"],
  ["fe80::1", "LinkLocal"],
  ["fe80::1%eth0", "LinkLocal"],
  ["::ffff:169.254.1.1", "LinkLocal"],
  ["169.254.169.254", "Metadata"],
  ["169.254.170.2", "Metadata"],
  ["169.254.170.23", "Metadata"],
  ["::ffff:169.254.169.254", "Metadata"],
  ["64:ff9b::a9fe:a9fe", "Metadata"],
  ["2002:a9fe:a9fe::", "Metadata"],
  ["fd00:ec2::254", "Metadata"],
  ["fd00:0ec2:0:0:0:0:0:254", "Metadata"],
  ["fd20:ce::254", "Metadata"],
  ["100.100.100.200", "Metadata"],
  ["::ffff:100.100.100.200", "Metadata"],
  ["168.63.129.16", "Metadata"],
  ["192.0.0.192", "Metadata"],
  ["0.0.0.0", "Unspecified"],
  ["0.1.2.3", "Unspecified"],
  ["::", "Unspecified"],
  ["::ffff:0.0.0.0", "Unspecified"],
  ["255.255.255.255", "Broadcast"],
  ["224.0.0.1", "Multicast"],
  ["239.255.255.250", "Multicast"],
  ["ff02::1", "Multicast"],
  ["ff0e::1:3", "Multicast"],
  ["2001:0:1234::1", "Tunnel"],
  ["10.0.0.1", "Ordinary"],
  ["172.16.0.1", "Ordinary"],
  ["192.168.1.1", "Ordinary"],
  ["100.64.0.1", "Ordinary"],
  ["fd12:3456::1", "Ordinary"],
  ["8.8.8.8", "Ordinary"],
  ["2606:4700::1111", "Ordinary"],
  ["64:ff9b::8.8.8.8", "Ordinary"],
  ["", "Invalid"],
  ["localhost", "Invalid"],
  ["1.2.3.4.5", "Invalid"],
];

describe("classes of addresses", () => {
  it.each(addresses)("puts %j into %s", (address, expected) => {
    expect(classifyAddress(address)).toBe(expected);
  });

  it.each(addresses)("refuses %j in a cluster exactly if it is not ordinary (%s)", (address, expected) => {
    expect(refusalOf(address, "example.com", false, cluster) === undefined).toBe(expected === "Ordinary");
  });
});

describe("host forms that mean an address", () => {
  const forms: readonly (readonly [string, string, AddressClass])[] = [
    ["http://127.1/", "127.0.0.1", "Loopback"],
    ["http://2130706433/", "127.0.0.1", "Loopback"],
    ["http://0x7f000001/", "127.0.0.1", "Loopback"],
    ["http://0x7f.0.0.1/", "127.0.0.1", "Loopback"],
    ["http://0177.0.0.1/", "127.0.0.1", "Loopback"],
    ["http://017700000001/", "127.0.0.1", "Loopback"],
    ["http://127.0.0.1./", "127.0.0.1", "Loopback"],
    ["http://%31%32%37.0.0.1/", "127.0.0.1", "Loopback"],
    ["http://①②⑦.⓪.⓪.①/", "127.0.0.1", "Loopback"],
    ["http://127。0。0。1/", "127.0.0.1", "Loopback"],
    ["http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]", "Loopback"],
    ["http://[0:0::1]/", "[::1]", "Loopback"],
    ["http://0xa9fea9fe/", "169.254.169.254", "Metadata"],
    ["http://2852039166/", "169.254.169.254", "Metadata"],
    ["http://0/", "0.0.0.0", "Unspecified"],
    ["http://10.1/", "10.0.0.1", "Ordinary"],
    ["http://LOCALHOST./", "localhost", "Invalid"],
    ["http://Bücher.example/", "xn--bcher-kva.example", "Invalid"],
    ["http://catalog.internal./", "catalog.internal", "Invalid"],
  ];
  it.each(forms)("reads %s as %s", (url, host, expected) => {
    expect(parseUrlTemplate("t", url).host).toBe(host);
    expect(classifyAddress(host.replaceAll(/[[\]]/g, ""))).toBe(expected);
  });

  it.each(["http://127.0.0.1@example.com/", "http://user:pass@example.com/", "http://example.com\\@127.0.0.1/"])(
    "refuses %s, whose host depends on who reads it",
    (url) => {
      expect(() => parseUrlTemplate("t", url)).toThrow(/credentials|'\\'/);
    },
  );
});

describe("what lifts a refusal", () => {
  it("allows loopback on a laptop, and nothing else with it", () => {
    const laptop = { allowLoopback: true, denyCidrs: [] };
    expect(refusalOf("127.0.0.1", "localhost", false, laptop)).toBeUndefined();
    expect(refusalOf("169.254.169.254", "metadata.internal", false, laptop)).toMatch(/metadata/);
    expect(refusalOf("0.0.0.0", "zero", false, laptop)).toMatch(/unspecified/);
  });

  it("lets a policy name an address itself, in any way of writing it", () => {
    expect(refusalOf("169.254.169.254", "169.254.169.254", true, cluster)).toBeUndefined();
    expect(refusalOf("::1", "0:0::1", true, cluster)).toBeUndefined();
    expect(refusalOf("169.254.169.254", "169.254.169.254", false, cluster)).toMatch(/metadata/);
  });

  it("lets a policy name localhost for loopback only", () => {
    expect(refusalOf("127.0.0.1", "localhost", true, cluster)).toBeUndefined();
    expect(refusalOf("::1", "db.localhost", true, cluster)).toBeUndefined();
    expect(refusalOf("169.254.169.254", "localhost", true, cluster)).toMatch(/metadata/);
    expect(refusalOf("127.0.0.1", "notlocalhost", true, cluster)).toMatch(/loopback/);
  });

  it("does not let a named host point itself at the machine", () => {
    expect(refusalOf("127.0.0.1", "catalog.internal", true, cluster)).toBe("127.0.0.1 is a loopback address");
    expect(refusalOf("169.254.169.254", "catalog.internal", true, cluster)).toMatch(/metadata/);
  });
});

describe("denied ranges", () => {
  const denied = { allowLoopback: false, denyCidrs: ["10.96.0.1/32", "fd00:10::/64"] };
  it.each([
    ["10.96.0.1", false],
    ["::ffff:10.96.0.1", false],
    ["64:ff9b::10.96.0.1", false],
    ["fd00:10::5", false],
    ["10.96.0.2", true],
    ["fd00:11::5", true],
  ])("%s is allowed: %s", (address, allowed) => {
    expect(refusalOf(address, "kubernetes.default.svc", true, denied) === undefined).toBe(allowed);
  });

  it("allows the API server when a policy names its address", () => {
    expect(refusalOf("10.96.0.1", "10.96.0.1", true, denied)).toBeUndefined();
  });

  it("fails on a CIDR that is none instead of denying nothing", () => {
    expect(() => refusalOf("8.8.8.8", "x", false, { allowLoopback: false, denyCidrs: ["10.96.0.1"] })).toThrow(
      RangeError,
    );
  });
});
