// Requests and responses over FastCGI, through real sockets, in the runtime that runs the tests.
import { Hono } from "hono";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as wire from "../../src/fastcgi/constants.ts";
import type { HandlerInfo } from "../../src/types.ts";
import { FastCgiClient, header, variables } from "../support/fastcgi_client.ts";
import { fixture, until } from "../support/fastcgi_server.ts";
import { runtime } from "../support/runtime.ts";
import { pending } from "../support/sockets.ts";

const { open, serve, connect, warnings, cleanups } = fixture();

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
  ])(
    "method %s",
    async (method) => {
      let seen: string[] = [];
      const client = await open((request) => {
        seen = [request.method, request.clone().method];
        return new Response(null);
      });
      expect((await client.fetch(1, { REQUEST_METHOD: method })).status).toBe(200);
      expect(seen).toEqual([method, method]);
    },
  );

  test.each([["TRACE", 405], ["TRACK", 405], ["CONNECT", 501]])("method %s: %i", async (method, status) => {
    const client = await open(() => new Response("never"));
    const response = await client.fetch(1, { REQUEST_METHOD: method });
    expect(response).toMatchObject({ status, appStatus: 0 });
    if (status === 405) expect(header(response, "allow")).toContain("GET");
    expect((await client.fetch(1)).text).toBe("never");
  });

  test.each(["", "GET POST", "G\r\nT", "(GET)"])("method %j: 400", async (method) => {
    const client = await open(() => new Response("never"));
    expect((await client.fetch(1, { REQUEST_METHOD: method })).status).toBe(400);
    expect((await client.fetch(1)).text).toBe("never");
  });

  test("headers arrive as bytes, without what belongs to the connection, and without Proxy", async () => {
    let headers: [string, string][] = [];
    let params: ReadonlyMap<string, string> | undefined;
    const client = await open((request, info) => {
      headers = [...request.headers];
      params = info.params;
      return new Response();
    });
    await client.fetch(1, {
      ...POST,
      CONTENT_TYPE: "text/x",
      CONTENT_LENGTH: "0",
      HTTP_CONTENT_TYPE: "text/y",
      HTTP_CONTENT_LENGTH: "7",
      HTTP_ACCEPT_LANGUAGE: "de, en",
      HTTP_COOKIE: "a=1; b=2",
      HTTP_X_BYTES: "caf\xe9",
      HTTP_X_EMPTY: "",
      HTTP_PROXY: "http://evil.example",
      HTTP_CONNECTION: "close",
      HTTP_KEEP_ALIVE: "5",
      HTTP_TRANSFER_ENCODING: "chunked",
      HTTP_UPGRADE: "websocket",
      HTTP_TE: "trailers",
      HTTP_EXPECT: "100-continue",
      REMOTE_USER: "J\xc3\xb6rg",
    });
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
    expect(params!.get("HTTP_UPGRADE")).toBe("websocket");
  });

  test.each([
    ["a newline in a header", { HTTP_X: "a\nb" }],
    ["a NUL in a header", { HTTP_X: "a\0b" }],
    ["a user in the Host", { HTTP_HOST: "user@www.example.com" }],
    ["a path in the Host", { HTTP_HOST: "www.example.com/x" }],
    ["a control character in the target", { REQUEST_URI: "/a\tb" }],
    ["the authority form", { REQUEST_URI: "www.example.com:443" }],
  ])("%s: 400, and the connection goes on", async (_, more) => {
    const client = await open(() => new Response("fine"));
    expect(await client.fetch(1, more)).toMatchObject({ status: 400, appStatus: 0, protocolStatus: 0 });
    expect((await client.fetch(1)).text).toBe("fine");
    expect(warnings).toHaveLength(1);
  });

  test("OPTIONS * is answered without the handler", async () => {
    const client = await open(() => new Response("never"));
    const response = await client.fetch(1, { REQUEST_METHOD: "OPTIONS", REQUEST_URI: "*" });
    expect(response).toMatchObject({ status: 200, text: "" });
    expect(header(response, "allow")).toContain("OPTIONS");
  });

  test("mount is taken off the URL", async () => {
    const client = await open((request) => new Response(new URL(request.url).pathname), { mount: "/app/" });
    expect((await client.fetch(1, { REQUEST_URI: "/app/page?x=1" })).text).toBe("/page");
    expect((await client.fetch(1, { REQUEST_URI: "/app" })).text).toBe("/");
    expect((await client.fetch(1, { REQUEST_URI: "/application" })).status).toBe(404);
  });
});

describe("Response", () => {
  test("Status comes first, with its reason", async () => {
    const client = await open(() => new Response("body", { status: 404, statusText: "Nothing Here" }));
    client.request(1);
    expect(await client.stdout(1)).toMatch(/^Status: 404 Nothing Here\r\n(?:[^\r\n]+\r\n)+\r\n/);
  });

  test("a reason is found where the handler gives none", async () => {
    const client = await open(() => new Response(null, { status: 418 }));
    expect((await client.fetch(1)).reason).toBe("I'm a Teapot");
  });

  test("the length of a body at hand is told, and all leaves in one piece", async () => {
    const client = await open(() => new Response("h\u00e9llo"));
    const response = await client.fetch(1);
    expect(response).toMatchObject({ status: 200, text: "h\u00e9llo", appStatus: 0, protocolStatus: 0, stderr: "" });
    expect(header(response, "content-length")).toBe("6");
    expect(header(response, "content-type")?.toLowerCase()).toBe("text/plain;charset=utf-8");
  });

  test("several Set-Cookie stay several", async () => {
    const client = await open(() => {
      const headers = new Headers([["set-cookie", "a=1; Expires=Fri, 01 Jan 2027 00:00:00 GMT"], [
        "set-cookie",
        "b=2",
      ]]);
      return new Response("x", { headers });
    });
    const { headers } = await client.fetch(1);
    expect(headers.filter(([name]) => name === "Set-Cookie").map(([, value]) => value)).toEqual([
      "a=1; Expires=Fri, 01 Jan 2027 00:00:00 GMT",
      "b=2",
    ]);
  });

  test("what belongs to a connection is dropped, and Status cannot be overruled", async () => {
    const client = await open(() =>
      new Response("x", {
        headers: {
          "status": "500 x",
          "upgrade": "x",
          "keep-alive": "x",
          "te": "x",
          "variable-remote-user": "x",
          "x-mine": "x",
        },
      })
    );
    const { status, headers } = await client.fetch(1);
    expect(status).toBe(200);
    expect(headers.map(([name]) => name.toLowerCase()).sort()).toEqual(["content-length", "content-type", "x-mine"]);
  });

  test("HEAD has the length and no body", async () => {
    const client = await open(() => new Response("12345", { headers: { "content-length": "5" } }));
    const response = await client.fetch(1, { REQUEST_METHOD: "HEAD" });
    expect(response).toMatchObject({ status: 200, text: "" });
    expect(header(response, "content-length")).toBe("5");
  });

  test("HEAD cancels the stream of a body", async () => {
    let cancelled = 0;
    const client = await open(() => new Response(new ReadableStream({ cancel: () => void cancelled++ })));
    expect((await client.fetch(1, { REQUEST_METHOD: "HEAD" })).text).toBe("");
    await until(() => cancelled === 1);
  });

  test.each([[204, undefined], [304, undefined], [205, "0"]])("%i has no body", async (status, length) => {
    const client = await open(() => new Response(null, { status, headers: { etag: '"x"' } }));
    const response = await client.fetch(1);
    expect(response).toMatchObject({ status, text: "" });
    expect(header(response, "content-length")).toBe(length);
    expect(header(response, "etag")).toBe('"x"');
  });

  test("null is an empty body of known length", async () => {
    const client = await open(() => new Response(null));
    expect(header(await client.fetch(1), "content-length")).toBe("0");
  });

  test("a redirect", async () => {
    const client = await open(() => Response.redirect("https://www.example.com/there", 303));
    const response = await client.fetch(1);
    expect(response).toMatchObject({ status: 303, reason: "See Other" });
    expect(header(response, "location")).toBe("https://www.example.com/there");
  });

  test("CR and LF in a reason do not become a header", async () => {
    const client = await open(() => {
      const response = new Response("x");
      Object.defineProperty(response, "statusText", { value: "OK\r\nX-Evil: 1" });
      return response;
    });
    expect((await client.fetch(1)).reason).toBe("OK");
  });

  test("a head of 70 KB", async () => {
    const client = await open(() => new Response("body", { headers: { "x-long": "x".repeat(70_000) } }));
    const response = await client.fetch(1);
    expect(header(response, "x-long")).toHaveLength(70_000);
    expect(response.text).toBe("body");
  });

  test("the first event of a stream is there while the handler waits for the second", async () => {
    const encoder = new TextEncoder();
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const client = await open(() =>
      new Response(new ReadableStream({ start: (it) => void (controller = it) }), {
        headers: { "content-type": "text/event-stream" },
      })
    );
    client.request(1);
    await until(() => controller !== undefined);
    controller.enqueue(encoder.encode("data: 1\n\n"));
    let text = "";
    while (!text.endsWith("\n\n")) text += await client.stdout(1);
    expect(text).toMatch(/^Status: 200 OK\r\n[^]*\r\n\r\ndata: 1\n\n$/);
    expect(text.toLowerCase()).not.toContain("content-length");
    controller.enqueue(encoder.encode("data: 2\n\n"));
    expect(await client.stdout(1)).toBe("data: 2\n\n");
    controller.close();
    expect(await client.stdout(1)).toBe("");
    expect((await client.record()).type).toBe(wire.END_REQUEST);
  });

  test("the head is there while the handler waits with the first piece", async () => {
    const client = await open(() => new Response(new ReadableStream()));
    client.request(1);
    expect(await client.stdout(1)).toMatch(/^Status: 200 OK\r\n(?:[^\r\n]+\r\n)*\r\n$/);
  });
});

describe("info", () => {
  test("tells of the client, the connection and the user", async () => {
    let info: HandlerInfo | undefined;
    const client = await open((_, it) => {
      info = it;
      return new Response();
    });
    await client.fetch(1, { REMOTE_USER: "ann", AUTH_TYPE: "Basic", REMOTE_ADDR: "2001:db8::7" });
    expect(info).toMatchObject({
      protocol: "fastcgi",
      remoteAddr: { transport: "tcp", hostname: "2001:db8::7", port: 40000 },
      peerAddr: { transport: "tcp", hostname: "127.0.0.1", port: client.socket.localPort },
      remoteUser: "ann",
      authType: "Basic",
      ssl: undefined,
    });
    expect(info!.params.get("SERVER_SOFTWARE")).toBe("test");
  });

  test("ssl has what mod_ssl exports, the chain of certificates too", async () => {
    let info: HandlerInfo | undefined;
    const client = await open((_, it) => {
      info = it;
      return new Response();
    });
    await client.fetch(1, {
      HTTPS: "on",
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "TLS_AES_256_GCM_SHA384",
      SSL_CIPHER_USEKEYSIZE: "256",
      SSL_CLIENT_CERT: "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n",
      SSL_CLIENT_CERT_CHAIN_0: "-----BEGIN CERTIFICATE-----\nfirst\n-----END CERTIFICATE-----",
      SSL_CLIENT_CERT_CHAIN_1: "-----BEGIN CERTIFICATE-----\nsecond\n-----END CERTIFICATE-----",
    });
    expect(info!.ssl).toEqual({
      protocol: "TLSv1.3",
      cipher: "TLS_AES_256_GCM_SHA384",
      keySize: 256,
      sessionId: undefined,
      clientCert: ["leaf", "first", "second"]
        .map((name) => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----`).join("\n")
        .replace("leaf\n-----END CERTIFICATE-----\n", "leaf\n-----END CERTIFICATE-----\n"),
    });
  });

  test("completed resolves when the response has been sent", async () => {
    let completed: Promise<void> | undefined;
    const client = await open((_, info) => {
      ({ completed } = info);
      return new Response("x");
    });
    await client.fetch(1);
    await completed;
  });

  test("completed rejects when the response broke", async () => {
    let completed: Promise<void> | undefined;
    const client = await open((_, info) => {
      ({ completed } = info);
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new Uint8Array(10)),
          pull: () => new Promise((_, reject) => setTimeout(reject, 20, new Error("broken"))),
        }, { highWaterMark: 2 }),
      );
    });
    client.request(1);
    await client.ended;
    await expect(completed).rejects.toThrow();
  });

  test("completed waits while the handler does", async () => {
    let completed: Promise<void> | undefined;
    let finish!: (response: Response) => void;
    const client = await open((_, info) => {
      ({ completed } = info);
      return new Promise<Response>((resolve) => finish = resolve);
    });
    client.request(1);
    await until(() => completed !== undefined);
    expect(await pending(completed!, 30)).toBe(true);
    finish(new Response());
    await completed;
  });
});

describe("surroundings", () => {
  test("a unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-"));
    cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "app.sock");
    const server = await serve((_, info) => new Response(String(info.peerAddr)), { path });
    expect(server.addr).toEqual({ transport: "unix", path });
    const client = await FastCgiClient.open(server.addr);
    cleanups.push(() => client.close());
    expect((await client.fetch(1)).text).toBe("undefined");
  });

  test("a Hono app has the info as its c.env", async () => {
    const app = new Hono<{ Bindings: HandlerInfo }>();
    app.get("/hello/:name", (c) => c.json({ name: c.req.param("name"), user: c.env.remoteUser, on: runtime }));
    app.post("/form", async (c) => c.text(String((await c.req.parseBody())["field"])));
    const client = await open(app);
    const hello = await client.fetch(1, { REQUEST_URI: "/hello/World", REMOTE_USER: "ann" });
    expect(JSON.parse(hello.text)).toEqual({ name: "World", user: "ann", on: runtime });
    const form = { ...POST, REQUEST_URI: "/form", CONTENT_TYPE: "application/x-www-form-urlencoded" };
    expect((await client.fetch(1, form, "field=value%20here")).text).toBe("value here");
    expect((await client.fetch(1, { REQUEST_URI: "/none" })).status).toBe(404);
  });

  test("getValues tells the limits", async () => {
    const client = await open(() => new Response(), { maxConnections: 7, maxConcurrentRequests: 3 });
    expect(await client.getValues("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS", "OTHER")).toEqual({
      FCGI_MAX_CONNS: "7",
      FCGI_MAX_REQS: "3",
      FCGI_MPXS_CONNS: "1",
    });
    expect((await client.fetch(1)).status).toBe(200);
  });

  test("a role that we do not have", async () => {
    const client = await open(() => new Response("fine"));
    client.begin(1, { role: 4 }).params(1, variables()).stdinEnd(1);
    expect(await client.response(1)).toMatchObject({ status: 0, protocolStatus: wire.UNKNOWN_ROLE });
    expect((await client.fetch(1)).text).toBe("fine");
    client.begin(1, { role: wire.ROLE_AUTHORIZER, keepConn: false });
    expect((await client.response(1)).protocolStatus).toBe(wire.UNKNOWN_ROLE);
    await client.ended;
  });

  test("garbage on one connection does not disturb another", async () => {
    const server = await serve(() => new Response("fine"));
    const [good, bad] = await Promise.all([connect(server), connect(server)]);
    bad.send(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    await bad.closed();
    expect(bad.bytesReceived).toBe(0);
    expect((await good.fetch(1)).text).toBe("fine");
    expect(server.stats).toMatchObject({ protocolErrors: 1, totalRequests: 1 });
  });

  test("200 connections at once", async () => {
    const server = await serve(async (request) => new Response(await request.text()));
    const texts = await Promise.all(Array.from({ length: 200 }, async (_, n) => {
      const client = await connect(server);
      return (await client.fetch(1, POST, `number ${n}`)).text;
    }));
    expect(texts).toEqual(Array.from({ length: 200 }, (_, n) => `number ${n}`));
    expect(server.stats).toMatchObject({ totalConnections: 200, totalRequests: 200, activeRequests: 0 });
  });
});
