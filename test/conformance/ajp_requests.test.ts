// What of a request reaches the handler, through real sockets.
import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import type { HandlerInfo, ServeAjpOptions } from "../../src/types.ts";
import * as wire from "../../src/ajp/constants.ts";
import { ajpPacket } from "../support/ajp.ts";
import { type AjpRequest, CPING, dataPacket, forwardPacket } from "../support/ajp_client.ts";
import { serve } from "../support/ajp_fixture.ts";
import { utf8 } from "../support/hex.ts";
import { Gate, until } from "../support/until.ts";

/** What the handler gets for one request. */
async function received(
  request: AjpRequest,
  options: ServeAjpOptions = {},
): Promise<{ request: Request; info: HandlerInfo; warnings: string[] }> {
  let seen: { request: Request; info: HandlerInfo } | undefined;
  const server = await serve((request, info) => {
    seen = { request, info };
    return new Response("ok");
  }, options);
  expect(await server.fetch(request)).toMatchObject({
    status: 200,
    reuse: true,
    text: expect.stringMatching(/^(ok)?$/),
  });
  return { ...seen!, warnings: server.log.warnings };
}

describe("request.method", () => {
  const coded = wire.METHODS.filter((method) => method !== "" && method !== "TRACE");
  for (const method of [...coded, "PATCH", "FOO", "PURGE", "M-SEARCH", "BIND"]) {
    test(`${method} is itself`, async () => {
      const { request } = await received({ method });
      expect(request.method).toBe(method);
      expect(request.clone().method).toBe(method);
    });
  }

  test("stored_method counts only where the method byte says so", async () => {
    const server = await serve((request) => new Response(request.method));
    const client = await server.connect();
    for (const [code, method] of [[2, "GET"], [255, "FOO"]] as const) {
      const payload = forwardPacket().slice(4, -1);
      payload[1] = code;
      client.write(ajpPacket(Uint8Array.of(...payload, 0x0d, 0, 3, ...utf8("FOO"), 0, 0xff)));
      expect((await client.readResponse()).text).toBe(method);
    }
  });

  for (
    const [method, status, allow] of [
      ["TRACE", 405, true],
      ["TRACK", 405, true],
      ["CONNECT", 501, false],
    ] as const
  ) {
    test(`${method} is answered with ${status} without the handler`, async () => {
      const server = await serve(() => new Response("never"));
      const client = await server.connect();
      client.send({ method }, "a body");
      const response = await client.readResponse();
      expect(response).toMatchObject({ status, reuse: true, asked: [] });
      expect(response.header("allow") !== undefined).toBe(allow);
      expect(server.server.stats).toMatchObject({ totalRequests: 0, activeRequests: 0 });
      await client.cping();
    });
  }

  test("OPTIONS * is answered without the handler", async () => {
    const server = await serve(() => new Response("never"));
    const response = await server.fetch({ method: "OPTIONS", uri: "*" });
    expect(response).toMatchObject({ status: 200, reuse: true, text: "" });
    expect(response.header("allow")).toContain("GET");
  });

  test("OPTIONS /* is an ordinary request", async () => {
    expect((await received({ method: "OPTIONS", uri: "/*" })).request.url).toBe("http://www.example.com/*");
  });
});

describe("a request in pieces", () => {
  test("byte by byte is the same, and so is one with all that follows it", async () => {
    const server = await serve(async (request) => new Response(`${request.url} ${await request.text()}`));
    const client = await server.connect();
    client.socket.setNoDelay(true);
    const headers: [string, string][] = [["content-length", "5"], ["host", "pieces.example"]];
    const bytes = [...forwardPacket({ method: "POST", uri: "/a", headers }), ...dataPacket("hello"), ...CPING];
    for (const byte of bytes) {
      client.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.readResponse()).toMatchObject({ text: "http://pieces.example/a hello", reuse: true });
    expect(await client.nextPacket()).toEqual({ type: "CPong" });
    client.write(Uint8Array.from([...bytes, ...bytes, ...bytes]));
    for (let i = 0; i < 3; i++) {
      expect(await client.readResponse()).toMatchObject({ text: "http://pieces.example/a hello", reuse: true });
      expect(await client.nextPacket()).toEqual({ type: "CPong" });
    }
  });

  test("a CPing during a slow request is answered after it", async () => {
    const gate = new Gate();
    const server = await serve(async () => {
      await gate.promise;
      return new Response("slow");
    });
    const client = await server.connect();
    client.send();
    client.write(CPING);
    await until(() => server.server.stats.bytesReceived === forwardPacket().length + CPING.length);
    gate.open();
    expect(await client.readResponse()).toMatchObject({ text: "slow", reuse: true });
    expect(await client.nextPacket()).toEqual({ type: "CPong" });
  });
});

describe("request.url", () => {
  for (
    const [uri, query, url] of [
      ["/a b", undefined, "/a%20b"],
      ["/a%2Fb%zz", undefined, "/a%2Fb%zz"],
      ["/a?b#c", undefined, "/a%3Fb%23c"],
      ["/a\\b", undefined, "/a%5Cb"],
      ["//evil.example/x", undefined, "//evil.example/x"],
      ["/caf\xc3\xa9", "q=\xe9", "/caf%C3%A9?q=%E9"],
      ["/;jsessionid=1.node1", undefined, "/;jsessionid=1.node1"],
      ["/", "", "/?"],
      ["/a", "x=%zz&y={}|", "/a?x=%zz&y={}|"],
      ["/@host", "http://other/", "/@host?http://other/"],
    ] as const
  ) {
    test(`${JSON.stringify(uri)} ${JSON.stringify(query)}`, async () => {
      const { request } = await received({ uri, attributes: query === undefined ? {} : { queryString: query } });
      expect(request.url).toBe(`http://www.example.com${url}`);
    });
  }

  test("Host is the authority, and its missing port the scheme's", async () => {
    const { request } = await received({ headers: [["host", "shop.example"]], serverPort: 8443, isSsl: true });
    expect(request.url).toBe("https://shop.example/");
    expect((await received({ headers: [["host", "[::1]:81"]] })).request.url).toBe("http://[::1]:81/");
  });

  test("an absolute URI replaces Host", async () => {
    const { request } = await received({ uri: "HTTPS://other.example/x", headers: [["host", "shop.example"]] });
    expect(request.url).toBe("http://other.example/x");
  });

  test("no header makes it https or another host", async () => {
    const { request } = await received({
      headers: [["x-forwarded-proto", "https"], ["x-forwarded-host", "evil"], ["forwarded", "host=evil;proto=https"]],
    });
    expect(request.url).toBe("http://www.example.com/");
  });

  test("mount is taken off", async () => {
    const mount = "/test";
    expect((await received({ uri: "/test/a", attributes: { queryString: "b" } }, { mount })).request.url)
      .toBe("http://www.example.com/a?b");
    expect((await received({ uri: "/test" }, { mount })).request.url).toBe("http://www.example.com/");
    expect((await received({ uri: "/test/" }, { mount: "/test/" })).request.url).toBe("http://www.example.com/");
  });

  test("what is not under mount is a 404 without the handler, and the connection goes on", async () => {
    const server = await serve(() => new Response("never"), { mount: "/test" });
    const client = await server.connect();
    for (const uri of ["/", "/testing", "/other/test", "/test/../secret"]) {
      client.send({ uri, method: "POST" }, "a body");
      expect(await client.readResponse()).toMatchObject({ status: 404, reuse: true });
    }
    expect(server.server.stats.totalRequests).toBe(0);
  });
});

describe("request.headers", () => {
  test("every coded name, and literal ones of any case", async () => {
    const coded = wire.REQUEST_HEADERS.filter((name) => name && name !== "content-length" && name !== "connection");
    const headers = [
      ...coded.map((name): [string, string] => [name, name === "host" ? "www.example.com" : `value of ${name}`]),
      ["X-Custom", "c"],
      ["ACCEPT-Encoding2", "d"],
    ] as [string, string][];
    const { request } = await received({ headers });
    expect(Object.fromEntries(request.headers)).toEqual(
      Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
    );
  });

  test("repeated ones are joined, cookies by semicolons", async () => {
    const { request } = await received({
      headers: [["cookie", "a=1"], ["accept", "x"], ["Cookie", "b=2"], ["accept", "y"], ["cookie", "c=3"]],
    });
    expect(request.headers.get("cookie")).toBe("a=1; b=2; c=3");
    expect(request.headers.get("accept")).toBe("x, y");
  });

  test("bytes above ASCII stay what they are", async () => {
    const value = Array.from({ length: 128 }, (_, i) => String.fromCharCode(128 + i)).join("");
    const { request } = await received({ headers: [["x-bytes", `<${value}>`]] });
    expect(request.headers.get("x-bytes")).toBe(`<${value}>`);
  });

  test("hop-by-hop ones go no further", async () => {
    const { request } = await received({
      method: "POST",
      headers: [
        ["connection", "keep-alive, upgrade"],
        ["keep-alive", "5"],
        ["te", "trailers"],
        ["upgrade", "websocket"],
        ["expect", "100-continue"],
        ["transfer-encoding", "chunked"],
        ["x", "y"],
      ],
    });
    expect([...request.headers]).toEqual([["x", "y"]]);
  });

  test("large ones come with a large packetSize", async () => {
    const value = "v".repeat(60_000);
    const { request } = await received({ headers: [["cookie", value]] }, { packetSize: 65536 });
    expect(request.headers.get("cookie")).toBe(value);
  });

  test("blanks around a value go, an empty value stays", async () => {
    const { request } = await received({ headers: [["x-a", " \tv\t "], ["x-b", ""]] });
    expect(request.headers.get("x-a")).toBe("v");
    expect(request.headers.get("x-b")).toBe("");
  });
});

describe("info", () => {
  test("of a plain request", async () => {
    const { info } = await received({ remoteAddr: "2001:db8::1" });
    expect(info.protocol).toBe("ajp");
    expect(info.remoteAddr).toEqual({ transport: "tcp", hostname: "2001:db8::1", port: 0 });
    expect(info.peerAddr).toMatchObject({ transport: "tcp", hostname: "127.0.0.1" });
    expect(info.remoteUser).toBe(undefined);
    expect(info.authType).toBe(undefined);
    expect(info.ssl).toBe(undefined);
  });

  test("peerAddr is the other end of the connection", async () => {
    const server = await serve((_, info) => Response.json(info.peerAddr));
    const client = await server.connect();
    client.send();
    const port = client.socket.localPort;
    expect(JSON.parse((await client.readResponse()).text)).toEqual({ transport: "tcp", hostname: "127.0.0.1", port });
  });

  test("remoteUser is UTF-8 where it can be, and no header makes one", async () => {
    const bytes = String.fromCharCode(...utf8("Jürgen"));
    expect((await received({ attributes: { remoteUser: bytes, authType: "Basic" } })).info).toMatchObject({
      remoteUser: "Jürgen",
      authType: "Basic",
    });
    expect((await received({ attributes: { remoteUser: "J\xfcrgen" } })).info.remoteUser).toBe("Jürgen");
    const { info } = await received({ headers: [["remote_user", "root"], ["remote-user", "root"]] });
    expect(info.remoteUser).toBe(undefined);
    expect(info.params.has("REMOTE_USER")).toBe(false);
  });

  test("AJP_REMOTE_PORT that is no port is 0", async () => {
    for (const port of ["", "x", "-1", "65536", "123456", "1e3"]) {
      const { info } = await received({ requestAttributes: [["AJP_REMOTE_PORT", port]] });
      expect(info.remoteAddr.port).toBe(0);
    }
  });

  test("ssl with the certificate", async () => {
    const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const { info, request } = await received({
      isSsl: true,
      serverPort: 443,
      sslKeySize: 256,
      attributes: { sslCert: pem + pem, sslCipher: "TLS_AES_256_GCM_SHA384", sslSession: "AB12" },
      requestAttributes: [["AJP_SSL_PROTOCOL", "TLSv1.3"]],
    });
    expect(request.url).toBe("https://www.example.com/");
    expect(info.ssl).toEqual({
      protocol: "TLSv1.3",
      cipher: "TLS_AES_256_GCM_SHA384",
      keySize: 256,
      sessionId: "AB12",
      clientCert: pem + pem,
    });
    expect(Object.fromEntries(info.params)).toMatchObject({
      HTTPS: "on",
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "TLS_AES_256_GCM_SHA384",
      SSL_CIPHER_USEKEYSIZE: "256",
      SSL_SESSION_ID: "AB12",
      SSL_CLIENT_CERT: pem + pem,
    });
  });

  test("ssl with a certificate as DER", async () => {
    const der = String.fromCharCode(0x30, 0x82, ...Array.from({ length: 100 }, (_, i) => i * 2));
    const { info } = await received({ isSsl: true, attributes: { sslCert: der } });
    const lines = info.ssl!.clientCert!.trimEnd().split("\n");
    expect(lines[0]).toBe("-----BEGIN CERTIFICATE-----");
    expect(lines.at(-1)).toBe("-----END CERTIFICATE-----");
    expect(atob(lines.slice(1, -1).join(""))).toBe(der);
    expect(Math.max(...lines.map((line) => line.length))).toBe(64);
  });

  test("ssl is undefined without is_ssl, whatever the attributes", async () => {
    const { info } = await received({ attributes: { sslCipher: "x" }, sslKeySize: 128 });
    expect(info.ssl).toBe(undefined);
  });

  test("params cannot be given by attributes that stand for the connector's own", async () => {
    const { info } = await received({
      requestAttributes: [["REMOTE_USER", "root"], ["HTTPS", "on"], ["REMOTE_ADDR", "127.0.0.1"], ["__proto__", "x"]],
      remoteAddr: "10.9.9.9",
    }, { allowedAttributes: /.*/ });
    expect(info.params.get("REMOTE_ADDR")).toBe("10.9.9.9");
    expect(info.params.get("__proto__")).toBe("x");
    expect(info.remoteUser).toBe(undefined);
    expect(info.ssl).toBe(undefined);
  });

  test("allowedAttributes matches whole names; the rest is dropped and told once", async () => {
    const server = await serve((_, info) => Response.json([...info.params.keys()]), { allowedAttributes: /shib_/ });
    const requestAttributes: [string, string][] = [["shib_", "1"], ["shib_mail", "2"], ["not_shib_", "3"]];
    for (let i = 0; i < 2; i++) {
      const keys = JSON.parse((await server.fetch({ requestAttributes })).text) as string[];
      expect(keys).toContain("shib_");
      expect(keys).not.toContain("shib_mail");
      expect(keys).not.toContain("not_shib_");
    }
    expect(server.log.warnings).toHaveLength(2);
    expect(server.log.warnings.join()).toContain("not_shib_");
  });

  test("allowedAttributes with flags that keep a state, and as a predicate", async () => {
    for (const allowedAttributes of [/a|bc/giy, (name: string) => /^(a|bc)$/i.test(name)]) {
      const { info } = await received({ requestAttributes: [["a", "1"], ["BC", "2"], ["ac", "3"], ["a", "4"]] }, {
        allowedAttributes,
      });
      expect([info.params.get("a"), info.params.get("BC"), info.params.get("ac")]).toEqual(["4", "2", undefined]);
    }
  });

  test("unknownAttributes reject answers 403 and lets known ones pass", async () => {
    const server = await serve(() => new Response("ok"), { unknownAttributes: "reject", allowedAttributes: /ok_\w+/ });
    const fetch = (...names: string[]) => server.fetch({ requestAttributes: names.map((name) => [name, "v"]) });
    const known = ["AJP_REMOTE_PORT", "AJP_LOCAL_ADDR", "AJP_SSL_PROTOCOL", "JK_LB_ACTIVATION", "ok_1"];
    expect(await fetch(...known)).toMatchObject({ status: 200, reuse: true });
    expect(await fetch(...known, "other")).toMatchObject({ status: 403, reuse: false });
  });

  test("is what Hono has as c.env", async () => {
    const app = new Hono<{ Bindings: HandlerInfo }>();
    app.get(
      "/user/:name",
      (c) => c.json({ name: c.req.param("name"), user: c.env.remoteUser, ssl: c.env.ssl !== undefined }),
    );
    app.post("/echo", async (c) => c.text(await c.req.text(), 201, { "x-hono": "yes" }));
    const server = await serve(app);
    const response = await server.fetch({ uri: "/user/ada", isSsl: true, attributes: { remoteUser: "ada" } });
    expect(JSON.parse(response.text)).toEqual({ name: "ada", user: "ada", ssl: true });
    const echoed = await server.fetch({ method: "POST", uri: "/echo", length: "chunked" }, ["by ", "hono"]);
    expect(echoed).toMatchObject({ status: 201, text: "by hono", reuse: true });
    expect(echoed.header("x-hono")).toBe("yes");
    expect(await server.fetch({ uri: "/none" })).toMatchObject({ status: 404, reuse: true });
  });
});
