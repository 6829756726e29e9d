// Requests and responses over SCGI, through real sockets, in the runtime that runs the tests.
import { Hono } from "hono";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { HandlerInfo } from "../../src/types.ts";
import { header, netstring } from "../support/scgi_client.ts";
import { serve } from "../support/scgi_fixture.ts";
import { runtime } from "../support/runtime.ts";
import { pending } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const POST = { REQUEST_METHOD: "POST" };

describe("Request", () => {
  test.each([
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "PROPFIND",
    "FOO",
    "VERSION-CONTROL",
    "M-SEARCH",
  ])("method %s", async (method) => {
    let seen: string[] = [];
    const { fetch } = await serve((request) => {
      seen = [request.method, request.clone().method];
      return new Response(null);
    });
    expect((await fetch({ REQUEST_METHOD: method })).status).toBe(200);
    expect(seen).toEqual([method, method]);
  });

  test.each([["TRACE", 405], ["TRACK", 405], ["CONNECT", 501]])("method %s: %i", async (method, status) => {
    const { fetch } = await serve(() => new Response("never"));
    const response = await fetch({ REQUEST_METHOD: method });
    expect(response.status).toBe(status);
    if (status === 405) expect(header(response, "allow")).toContain("GET");
  });

  test.each(["", "GET POST", "G\r\nT", "(GET)"])("method %j: 400", async (method) => {
    const { fetch } = await serve(() => new Response("never"));
    expect((await fetch({ REQUEST_METHOD: method })).status).toBe(400);
  });

  test("URL, headers as bytes, without what belongs to the connection, and without Proxy", async () => {
    let url = "";
    let headers: [string, string][] = [];
    let params: ReadonlyMap<string, string> | undefined;
    const { fetch } = await serve((request, info) => {
      url = request.url;
      headers = [...request.headers];
      params = info.params;
      return new Response();
    });
    await fetch({
      ...POST,
      REQUEST_URI: "/a%2Fb?x=%20&y",
      CONTENT_TYPE: "text/x",
      HTTP_CONTENT_TYPE: "text/y",
      HTTP_CONTENT_LENGTH: "0",
      HTTP_ACCEPT_LANGUAGE: "de, en",
      HTTP_COOKIE: "a=1; b=2",
      HTTP_X_BYTES: "caf\xe9",
      HTTP_X_EMPTY: "",
      HTTP_PROXY: "http://evil.example",
      HTTP_CONNECTION: "close",
      HTTP_TRANSFER_ENCODING: "chunked",
      HTTP_UPGRADE: "websocket",
      HTTP_EXPECT: "100-continue",
      REMOTE_USER: "J\xc3\xb6rg",
    });
    expect(url).toBe("http://www.example.com/a%2Fb?x=%20&y");
    expect(Object.fromEntries(headers)).toEqual({
      "accept-language": "de, en",
      "content-length": "0",
      "content-type": "text/x",
      "cookie": "a=1; b=2",
      "host": "www.example.com",
      "x-bytes": "caf\xe9",
    });
    expect(params!.has("HTTP_PROXY")).toBe(false);
    expect(params!.get("REMOTE_USER")).toBe("J\xf6rg");
    expect(params!.get("SCGI")).toBe("1");
  });

  test.each([
    ["a newline in a header", { HTTP_X: "a\nb" }],
    ["a user in the Host", { HTTP_HOST: "user@www.example.com" }],
    ["a path in the Host", { HTTP_HOST: "www.example.com/x" }],
    ["a control character in the target", { REQUEST_URI: "/a\tb" }],
    ["the authority form", { REQUEST_URI: "www.example.com:443" }],
  ])("%s: 400", async (_, more) => {
    const { fetch, log } = await serve(() => new Response("fine"));
    expect(await fetch(more)).toMatchObject({ status: 400, text: "400 Bad Request\n" });
    expect(log.warnings).toHaveLength(1);
    expect((await fetch()).text).toBe("fine");
  });

  test("OPTIONS * is answered without the handler", async () => {
    const { fetch } = await serve(() => new Response("never"));
    const response = await fetch({ REQUEST_METHOD: "OPTIONS", REQUEST_URI: "*" });
    expect(response).toMatchObject({ status: 200, text: "" });
    expect(header(response, "allow")).toContain("OPTIONS");
  });

  test("mount is taken off the URL", async () => {
    const { fetch } = await serve((request) => new Response(new URL(request.url).pathname), { mount: "/app/" });
    expect((await fetch({ REQUEST_URI: "/app/page?x=1" })).text).toBe("/page");
    expect((await fetch({ REQUEST_URI: "/application" })).status).toBe(404);
  });
});

describe("what is no SCGI", () => {
  const METHOD: [string, string] = ["REQUEST_METHOD", "GET"];

  test.each([
    ["HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["FastCGI", "\x01\x01\x00\x01\x00\x08\x00\x00"],
    ["a leading zero", "070:"],
    ["a length of 0", "0:,"],
    ["a length that is too long", "99999999:"],
    ["a length without an end", "1".repeat(100)],
    ["a length that lies", "3:A\0B\0,"],
  ])("%s: closed without an answer, and others are served", async (_, text) => {
    const { server, connect, fetch, log } = await serve(() => new Response("fine"));
    const client = (await connect()).send(text);
    await client.closed();
    expect(client.bytesReceived).toBe(0);
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain("[ERR_SCGI_NETSTRING]");
    expect((await fetch()).text).toBe("fine");
    expect(server.stats).toMatchObject({ protocolErrors: 1, totalRequests: 1, activeRequests: 0 });
  });

  test.each([
    ["an empty name", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], ["", ""], METHOD)],
    ["an odd number of strings", "24:CONTENT_LENGTH\x000\x00SCGI\x00\x00\x00,"],
    ["CONTENT_LENGTH missing", netstring(["SCGI", "1"], METHOD)],
    ["CONTENT_LENGTH not first", netstring(["SCGI", "1"], ["CONTENT_LENGTH", "0"], METHOD)],
    ["CONTENT_LENGTH empty", netstring(["CONTENT_LENGTH", ""], ["SCGI", "1"], METHOD)],
    ["a name twice", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, METHOD)],
    ["SCGI missing", netstring(["CONTENT_LENGTH", "0"], METHOD)],
  ])("%s: 400", async (_, bytes) => {
    const { connect, log } = await serve(() => new Response("never"));
    const client = await connect();
    expect(await client.send(bytes).response()).toMatchObject({ status: 400, text: "400 Bad Request\n" });
    expect(log.warnings[0]).toContain("[ERR_SCGI_HEADERS]");
  });

  test("too many bytes or variables: 431, although the web server is still sending", async () => {
    const bytes = await serve(() => new Response("never"), { maxParamsBytes: 1000 });
    expect((await bytes.fetch({ HTTP_X: "x".repeat(200_000) })).status).toBe(431);
    const count = await serve(() => new Response("never"), { maxParamsCount: 5 });
    expect((await count.fetch()).status).toBe(431);
    const headers = await serve(() => new Response("never"), { maxHeaderCount: 2 });
    expect((await headers.fetch({ HTTP_A: "1", HTTP_B: "2" })).status).toBe(431);
  });
});

describe("Response", () => {
  test("Status comes first, with its reason, and the connection ends with the body", async () => {
    const { connect } = await serve(() => new Response("body", { status: 404, statusText: "Nothing Here" }));
    const client = (await connect()).request();
    await client.ended;
    expect(new TextDecoder().decode(client.received)).toMatch(
      /^Status: 404 Nothing Here\r\n(?:[^\r\n]+\r\n)+\r\nbody$/,
    );
  });

  test("the length of a body at hand is told", async () => {
    const { fetch } = await serve(() => new Response("h\u00e9llo"));
    const response = await fetch();
    expect(response).toMatchObject({ status: 200, text: "h\u00e9llo" });
    expect(header(response, "content-length")).toBe("6");
    expect(header(response, "content-type")?.toLowerCase()).toBe("text/plain;charset=utf-8");
  });

  test("several Set-Cookie stay several", async () => {
    const { fetch } = await serve(() =>
      new Response("x", {
        headers: [["set-cookie", "a=1; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], ["set-cookie", "b=2"]],
      })
    );
    const { headers } = await fetch();
    expect(headers.filter(([name]) => name === "Set-Cookie").map(([, value]) => value)).toEqual([
      "a=1; Expires=Fri, 01 Jan 2027 00:00:00 GMT",
      "b=2",
    ]);
  });

  test("what belongs to a connection is dropped, and Status cannot be overruled", async () => {
    const headers = { "status": "500 x", "upgrade": "x", "keep-alive": "x", "variable-user": "x", "x-mine": "x" };
    const { fetch } = await serve(() => new Response("x", { headers }));
    const response = await fetch();
    expect(response.status).toBe(200);
    expect(response.headers.map(([name]) => name.toLowerCase()).sort()).toEqual([
      "content-length",
      "content-type",
      "x-mine",
    ]);
  });

  test("HEAD has the length and no body, and cancels the stream of one", async () => {
    let cancelled = 0;
    const { fetch } = await serve((request) =>
      request.url.endsWith("/stream")
        ? new Response(new ReadableStream({ cancel: () => void cancelled++ }))
        : new Response("12345", { headers: { "content-length": "5" } })
    );
    const response = await fetch({ REQUEST_METHOD: "HEAD" });
    expect(response).toMatchObject({ status: 200, text: "" });
    expect(header(response, "content-length")).toBe("5");
    expect((await fetch({ REQUEST_METHOD: "HEAD", REQUEST_URI: "/stream" })).text).toBe("");
    await until(() => cancelled === 1);
  });

  test.each([[204, undefined], [304, undefined], [205, "0"]])("%i has no body", async (status, length) => {
    const { fetch } = await serve(() => new Response(null, { status, headers: { etag: '"x"' } }));
    const response = await fetch();
    expect(response).toMatchObject({ status, text: "" });
    expect(header(response, "content-length")).toBe(length);
    expect(header(response, "etag")).toBe('"x"');
  });

  test("a redirect", async () => {
    const { fetch } = await serve(() => Response.redirect("https://www.example.com/there", 303));
    const response = await fetch();
    expect(response).toMatchObject({ status: 303, reason: "See Other" });
    expect(header(response, "location")).toBe("https://www.example.com/there");
  });

  test("a head of 70 KB", async () => {
    const { fetch } = await serve(() => new Response("body", { headers: { "x-long": "x".repeat(70_000) } }));
    const response = await fetch();
    expect(header(response, "x-long")).toHaveLength(70_000);
    expect(response.text).toBe("body");
  });

  test("the first event of a stream is there while the handler waits for the second", async () => {
    const encoder = new TextEncoder();
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const { connect } = await serve(() =>
      new Response(new ReadableStream({ start: (it) => void (controller = it) }), {
        headers: { "content-type": "text/event-stream" },
      })
    );
    const client = (await connect()).request();
    await until(() => controller !== undefined);
    controller.enqueue(encoder.encode("data: 1\n\n"));
    const text = await client.until("\n\n");
    expect(text).toMatch(/^Status: 200 OK\r\n[^]*\r\n\r\ndata: 1\n\n$/);
    expect(text.toLowerCase()).not.toContain("content-length");
    controller.enqueue(encoder.encode("data: 2\n\n"));
    await client.until("data: 2\n\n");
    controller.close();
    expect((await client.response()).text).toBe("data: 1\n\ndata: 2\n\n");
  });

  test("the head is there while the handler waits with the first piece", async () => {
    const { connect } = await serve(() => new Response(new ReadableStream()));
    const client = (await connect()).request();
    expect(await client.until("\r\n\r\n")).toMatch(/^Status: 200 OK\r\n(?:[^\r\n]+\r\n)*\r\n$/);
  });
});

describe("info", () => {
  test("tells of the client, the connection and the user", async () => {
    let info: HandlerInfo | undefined;
    const { connect } = await serve((_, it) => {
      info = it;
      return new Response();
    });
    const client = await connect();
    const port = client.socket.localPort;
    await client.fetch({ REMOTE_USER: "ann", AUTH_TYPE: "Basic", REMOTE_ADDR: "2001:db8::7", HTTPS: "on" });
    expect(info).toMatchObject({
      protocol: "scgi",
      role: "responder",
      data: undefined,
      remoteAddr: { transport: "tcp", hostname: "2001:db8::7", port: 40000 },
      peerAddr: { transport: "tcp", hostname: "127.0.0.1", port },
      remoteUser: "ann",
      authType: "Basic",
    });
    expect(info!.ssl).toBeDefined();
  });

  test("completed resolves when the response has been sent, and waits while the handler does", async () => {
    let completed: Promise<void> | undefined;
    const gate = new Gate();
    const { connect } = await serve(async (_, info) => {
      ({ completed } = info);
      await gate.promise;
      return new Response("x");
    });
    const client = (await connect()).request();
    await until(() => completed !== undefined);
    expect(await pending(completed!, 30)).toBe(true);
    gate.open();
    expect((await client.response()).text).toBe("x");
    await completed;
  });
});

describe("surroundings", () => {
  test("a unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "app.sock");
    const { addr, fetch } = await serve(async (request, info) => {
      return new Response(`${info.peerAddr} ${await request.text()}`);
    }, { path, mode: 0o620 });
    expect(addr).toEqual({ transport: "unix", path });
    expect(statSync(path).mode & 0o777).toBe(0o620);
    expect((await fetch(POST, "body")).text).toBe("undefined body");
  });

  test("a Hono app has the info as its c.env", async () => {
    const app = new Hono<{ Bindings: HandlerInfo }>();
    app.get("/hello/:name", (c) => c.json({ name: c.req.param("name"), by: c.env.protocol, on: runtime }));
    app.post("/form", async (c) => c.text(String((await c.req.parseBody())["field"])));
    const { fetch } = await serve(app);
    expect(JSON.parse((await fetch({ REQUEST_URI: "/hello/World" })).text)).toEqual({
      name: "World",
      by: "scgi",
      on: runtime,
    });
    const form = { ...POST, REQUEST_URI: "/form", CONTENT_TYPE: "application/x-www-form-urlencoded" };
    expect((await fetch(form, "field=value%20here")).text).toBe("value here");
    expect((await fetch({ REQUEST_URI: "/none" })).status).toBe(404);
  });

  test("200 connections at once", async () => {
    const { server, fetch } = await serve(async (request) => new Response(await request.text()));
    const texts = await Promise.all(
      Array.from({ length: 200 }, async (_, n) => (await fetch(POST, `number ${n}`)).text),
    );
    expect(texts).toEqual(Array.from({ length: 200 }, (_, n) => `number ${n}`));
    expect(server.stats).toMatchObject({ totalConnections: 200, totalRequests: 200, activeRequests: 0 });
  });

  test("allowedAddresses and maxConnections close at once", async () => {
    const others = await serve(() => new Response("never"), { allowedAddresses: ["192.0.2.1"] });
    expect((await others.fetch()).status).toBe(0);
    const one = await serve(() => new Response(new ReadableStream()), { maxConnections: 1 });
    await (await one.connect()).request().until("\r\n\r\n");
    const second = await one.connect();
    await second.closed();
    expect(second.bytesReceived).toBe(0);
    expect(one.server.stats).toMatchObject({ totalConnections: 1, refusedConnections: 1 });
  });
});
