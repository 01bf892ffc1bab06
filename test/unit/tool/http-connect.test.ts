import { once } from "node:events";
import { createServer } from "node:net";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import type { HttpToolOptions } from "../../../src/adapters/tool/http-tool.ts";
import { callContext, certificateFor, failureOf, get, json, makeTool, rules, startServer } from "./calls.ts";

describe("redirects", () => {
  it("follows them for GET on the same host and port, with one lookup", async () => {
    const server = await startServer((request, response) => {
      if (request.url === "/a?q=1") response.writeHead(302, { location: "/b/../c?x=2#frag" }).end();
      else json({ at: request.url })(request, response);
    });
    let lookups = 0;
    const lookup = () => {
      lookups++;
      return Promise.resolve(["127.0.0.1"]);
    };
    const tool = await makeTool({ method: "GET", url: `http://catalog.test:${server.port}/a` }, { lookup });
    expect(await tool.invoke({ q: 1 }, callContext())).toEqual({ at: "/c?x=2" });
    expect(lookups).toBe(1);
  });

  it.each([
    "http://127.0.0.1:1/",
    "http://localhost:PORT/",
    "https://127.0.0.1:PORT/",
    "//example.com/",
    "http://u:p@127.0.0.1:PORT/",
    "http://[",
  ])("refuses %s and sends the secret nowhere else", async (target) => {
    const server = await startServer((_request, response) => {
      response.writeHead(307, { location: target.replace("PORT", String(server.port)) }).end();
    });
    const headers = [{ name: "Authorization", secretKeyRef: { name: "crm", key: "token" } }];
    const failure = await failureOf(
      (await makeTool({ ...get(server.port), headers }, { readSecret: () => "t0ken" })).invoke({}, callContext()),
    );
    expect(failure).toMatchObject({ failureClass: "ToolFailure", sent: true });
    expect(failure.message).toMatch(/redirects to another scheme, host or port are refused/);
    expect(server.seen).toHaveLength(1);
  });

  it("does not follow one for POST", async () => {
    const server = await startServer((_request, response) => response.writeHead(303, { location: "/done" }).end());
    const failure = await failureOf(
      (await makeTool({ ...get(server.port), method: "POST" })).invoke({}, callContext()),
    );
    expect(failure.message).toMatch(/followed for GET and HEAD only/);
    expect(server.seen).toHaveLength(1);
  });

  it("ends after five", async () => {
    const server = await startServer((_request, response) => response.writeHead(302, { location: "/again" }).end());
    const failure = await failureOf((await makeTool(get(server.port))).invoke({}, callContext()));
    expect(failure.message).toMatch(/more than 5 redirects/);
    expect(server.seen).toHaveLength(6);
  });
});

describe("addresses", () => {
  const strict = { rules: rules({ allowLoopback: false }) };

  it.each(["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"])(
    "does not connect to %s unless allowed",
    async (host) => {
      const server = await startServer(json(1));
      const tool = await makeTool({ method: "GET", url: `http://${host}:${server.port}/` }, strict);
      const failure = await failureOf(tool.invoke({}, callContext()));
      expect(failure).toMatchObject({ failureClass: "InvalidRequest", sent: false });
      expect(failure.message).toMatch(/may not connect to .* is a loopback address/);
      expect(server.connections()).toBe(0);
    },
  );

  it("does not connect to a host that the rules refuse, nor resolve it", async () => {
    const asked: unknown[] = [];
    const refusing = rules({
      allowHost: (host, port) => {
        asked.push([host, port]);
        return { allowed: false, reason: "no policy names it" };
      },
    });
    const tool = await makeTool(
      { method: "GET", url: "https://Evil.Example./" },
      { rules: refusing, lookup: () => Promise.reject(new Error("resolved")) },
    );
    expect((await failureOf(tool.invoke({}, callContext()))).message).toBe(
      "Tool search may not connect to evil.example: no policy names it",
    );
    expect(asked).toEqual([["evil.example", 443]]);
  });

  it("refuses a name with a public and a loopback address", async () => {
    const server = await startServer(json(1));
    const lookup = () => Promise.resolve(["93.184.215.14", "127.0.0.1"]);
    const tool = await makeTool({ method: "GET", url: `http://rebind.test:${server.port}/` }, { ...strict, lookup });
    expect(await failureOf(tool.invoke({}, callContext()))).toMatchObject({
      failureClass: "InvalidRequest",
      sent: false,
    });
    expect(server.connections()).toBe(0);
  });

  it("asks DNS once and connects to what was checked, whatever a second answer would be", async () => {
    const server = await startServer(json("the checked one"));
    const answers = [["127.0.0.1"], ["127.0.0.2"]];
    // Another listener at the second answer, on the same port: reaching it would mean that the name was resolved again.
    const other = createServer((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nthe rebound one"));
    other.listen(server.port, "127.0.0.2");
    await once(other, "listening");
    onTestFinished(() => void other.close());
    const asked: string[] = [];
    const lookup = (host: string) => {
      asked.push(host);
      return Promise.resolve(answers.shift() ?? []);
    };
    // 127.0.0.1 plays the public address; the address that must not be reached is denied.
    const guarded = rules({ allowLoopback: true, denyCidrs: ["127.0.0.2/32"] });
    const tool = await makeTool(
      { method: "GET", url: `http://rebind.test:${server.port}/` },
      { rules: guarded, lookup },
    );
    expect(await tool.invoke({}, callContext())).toBe("the checked one");
    expect(asked).toEqual(["rebind.test"]);
    expect(server.seen[0]?.headers.host).toBe(`rebind.test:${server.port}`);
    // The next call resolves again, and the rebound name is refused.
    expect((await failureOf(tool.invoke({}, callContext()))).message).toMatch(/127\.0\.0\.2 is in the denied range/);
  });

  it("tries the next checked address when one does not answer", async () => {
    const server = await startServer(json("here"));
    const lookup = () => Promise.resolve(["127.0.0.3", "127.0.0.1"]);
    const tool = await makeTool({ method: "GET", url: `http://two.test:${server.port}/` }, { lookup });
    expect(await tool.invoke({}, callContext())).toBe("here");
  });

  it("resolves localhost with the system's resolver", async () => {
    const server = await startServer(json("here"));
    const tool = await makeTool({ method: "GET", url: `http://localhost:${server.port}/` });
    expect(await tool.invoke({}, callContext())).toBe("here");
  });

  it.each<[string, HttpToolOptions["lookup"], RegExp]>([
    [
      "does not resolve",
      () => Promise.reject(new Error("getaddrinfo ENOTFOUND gone.test")),
      /gone\.test does not resolve: .*ENOTFOUND/,
    ],
    ["has no address", () => Promise.resolve([]), /gone\.test has no address/],
    [
      "refuses the connection",
      () => Promise.resolve(["127.0.0.1"]),
      /connecting to gone\.test:1 failed: .*ECONNREFUSED/,
    ],
  ])("says that nothing was sent when the host %s", async (_what, lookup, problem) => {
    const tool = await makeTool({ method: "GET", url: "http://gone.test:1/" }, lookup === undefined ? {} : { lookup });
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(problem);
  });
});

describe("https", () => {
  const tlsTool = async (certificateName: string) => {
    const certificate = certificateFor(certificateName);
    const server = await startServer(json("safe"), certificate);
    const lookup = () => Promise.resolve(["127.0.0.1"]);
    const tool = await makeTool(
      {
        method: "GET",
        url: `https://catalog.test:${server.port}/`,
        headers: [{ name: "A", secretKeyRef: { name: "s", key: "k" } }],
      },
      { lookup, readSecret: () => "t0ken" },
    );
    return { certificate, server, tool };
  };
  const trust = (cert: string) => {
    const before = getCACertificates("default");
    setDefaultCACertificates([...before, cert]);
    onTestFinished(() => setDefaultCACertificates(before));
  };

  it("checks the certificate for the URL's host though it connects to an address", async () => {
    const { certificate, server, tool } = await tlsTool("catalog.test");
    trust(certificate.cert);
    expect(await tool.invoke({}, callContext())).toBe("safe");
    const headers = { host: `catalog.test:${server.port}`, a: "t0ken" };
    expect(server.seen[0]).toMatchObject({ servername: "catalog.test", headers });
  });

  it("sends nothing to a server with another name's certificate", async () => {
    const { certificate, server, tool } = await tlsTool("other.test");
    trust(certificate.cert);
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(/catalog\.test.*altnames/s);
    expect(server.seen).toHaveLength(0);
  });

  it("sends nothing to a server whose certificate nobody vouches for", async () => {
    const { server, tool } = await tlsTool("catalog.test");
    const failure = await failureOf(tool.invoke({}, callContext()));
    expect(failure).toMatchObject({ failureClass: "NetworkFailure", sent: false });
    expect(failure.message).toMatch(/self-signed/);
    expect(server.seen).toHaveLength(0);
  });
});
