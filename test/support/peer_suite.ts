// The same questions to every web server: does all that a handler and a browser say to each other arrive?
import { mkdtempSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { Agent, get as httpGet } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Addr, ConnectionOptions, Server } from "../../src/mod.ts";
import { peerApp, PeerEvents } from "./peer_app.ts";
import { adapter } from "./runtime.ts";
import { pattern, sha } from "./sockets.ts";
import type { WebServer } from "./web_server.ts";

const BYTES = 20 * 1024 * 1024;

/** The one who may see /members/. */
export const USER = "zoë";
export const PASSWORD = "pässword";
/** More than what a web server takes of a head by default, and less than the 64 KiB of the library. */
export const MAX_HEADER_BYTES = 20_000;

/** A way to put a web server in front of the app, and what is special about it. */
export interface PeerShape {
  protocol: "fastcgi" | "scgi";
  unix?: boolean;
  start(addr: Addr): Promise<WebServer>;
  /** Where /gated is asked for; nginx needs a header there. */
  gatedPath?: string;
  /** Whether it uses a connection again. */
  reusesConnections?: boolean;
  /** What the handler is told in AUTH_TYPE. */
  authType?: string;
  /** The longest body of unknown length that it takes, where there is a limit. */
  maxChunkedUpload?: number;
  /** The status with which it refuses a body of unknown length. */
  refusesChunkedUpload?: number;
  /** Whether it keeps the Content-Length of a response to itself. */
  dropsLength?: boolean;
  /** Whether it ends a response that broke as if it were whole, whatever the application does. */
  hidesBreaks?: boolean;
  /** Whether it tells the handler at once of a browser that leaves in the middle of an upload. */
  streamsUploads?: boolean;
}

/** What the tests of one web server may add to. */
export interface PeerSetup {
  readonly server: Server;
  readonly web: WebServer;
  readonly events: PeerEvents;
}

/** Defines the tests; called inside a `describe`. */
export function testPeer(shape: PeerShape, more?: (setup: PeerSetup) => void): void {
  let server: Server;
  let web: WebServer;
  let url: string;
  let dir: string;
  let events: PeerEvents;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-peers-"));
    // The web server's workers run as another user where the tests run as root.
    await chmod(dir, 0o755);
    server = await serveApp(shape, dir, () => events);
    web = await shape.start(await server.ready);
    url = web.url;
  });

  afterAll(async () => {
    await web?.stop();
    await server?.shutdown();
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  beforeEach(() => {
    events = new PeerEvents();
  });

  test("serves a page and JSON", async () => {
    const page = await fetch(`${url}/`);
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    expect(await page.text()).toContain("It works");
    const json = await fetch(`${url}/json`);
    expect(await json.json()).toMatchObject({ hello: "world", protocol: shape.protocol });
  });

  test("keeps the URL that the browser asked for", async () => {
    const response = await fetch(`${url}/info?a=1&b=%C3%A9%20`);
    expect(await response.json()).toMatchObject({
      protocol: shape.protocol,
      url: `${url}/info?a=1&b=%C3%A9%20`,
      remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: expect.any(Number) },
    });
    expect(await (await fetch(`${url}/hello/a%20b%C3%A9`)).text()).toBe("Hello a bé\n");
    expect(await (await fetch(`${url}/hello/a%2Fb%3Fc`)).text()).toBe("Hello a/b?c\n");
  });

  test("passes every method on", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"]) {
      expect(await (await fetch(`${url}/method`, { method })).text()).toBe(method);
    }
  });

  test("takes a 20 MB upload with Content-Length", async () => {
    const body = pattern(BYTES) as Uint8Array<ArrayBuffer>;
    const response = await fetch(`${url}/upload`, { method: "POST", body });
    expect(await response.json()).toEqual({ bytes: BYTES, sha256: sha(body) });
  });

  test(`${shape.refusesChunkedUpload ? "refuses" : "takes"} a chunked upload`, async () => {
    const body = pattern(shape.maxChunkedUpload ?? 3_000_001);
    if (shape.refusesChunkedUpload !== undefined) {
      const answer = await raw(
        web.port,
        "POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
      );
      expect(answer.split("\r\n")[0]).toContain(` ${shape.refusesChunkedUpload} `);
      return;
    }
    const response = await postChunked(`${url}/upload`, body);
    expect(await response.json()).toEqual({ bytes: body.length, sha256: sha(body) });
  });

  if (shape.maxChunkedUpload !== undefined) {
    test("refuses a longer chunked upload with 400", async () => {
      const body = "x".repeat(20_000);
      const chunk = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
      const answer = await raw(
        web.port,
        `POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
      );
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    });
  }

  test("takes uploads of every size around a buffer and a record", async () => {
    for (const size of [0, 1, 4095, 4096, 8191, 8192, 8193, 16384, 32768, 65500, 65528, 65535, 65536]) {
      const body = pattern(size) as Uint8Array<ArrayBuffer>;
      const response = await fetch(`${url}/upload`, { method: "POST", body });
      expect(await response.json()).toEqual({ bytes: size, sha256: sha(body) });
    }
  });

  test("gives a 20 MB download", async () => {
    const response = await fetch(`${url}/download?bytes=${BYTES}`);
    if (!shape.dropsLength) expect(response.headers.get("content-length")).toBe(String(BYTES));
    const bytes = new Uint8Array(await response.arrayBuffer());
    expect(bytes.length).toBe(BYTES);
    expect(sha(bytes)).toBe(sha(Uint8Array.from({ length: BYTES }, (_, i) => i % 251)));
  });

  test("passes server-sent events on one by one", async () => {
    const response = await fetch(`${url}${shape.gatedPath ?? "/gated"}`);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect(await readUntil(reader, "first")).not.toContain("second");
    events.gate.open();
    await readUntil(reader, "second");
    expect((await reader.read()).done).toBe(true);
  });

  test("answers HEAD without a body", async () => {
    const response = await fetch(`${url}/json`, { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.text()).toBe("");
  });

  test("passes redirects, several cookies and errors on", async () => {
    const redirect = await fetch(`${url}/redirect`, { redirect: "manual" });
    expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "hello/redirected"]);
    const cookies = await fetch(`${url}/cookies`);
    expect(cookies.headers.getSetCookie()).toEqual(["flavour=chocolate; Path=/", "size=large; Path=/; HttpOnly"]);
    const sent = await fetch(`${url}/headers`, { headers: { cookie: "a=1; b=2" } });
    expect(await sent.json()).toMatchObject({ cookie: "a=1; b=2" });
    const error = await fetch(`${url}/error`);
    expect([error.status, await error.text()]).toEqual([500, "Internal Server Error\n"]);
    const missing = await fetch(`${url}/nothing-there`);
    expect([missing.status, await missing.text()]).toEqual([404, "404 Not Found"]);
  });

  test("gives REMOTE_USER of who logged in at the web server to the handler", async () => {
    expect((await fetch(`${url}/members/whoami`)).status).toBe(401);
    expect((await fetch(`${url}/members/whoami`, { headers: { authorization: basic(USER, "wrong") } })).status)
      .toBe(401);
    const response = await fetch(`${url}/members/whoami`, { headers: { authorization: basic(USER, PASSWORD) } });
    expect(await response.json()).toEqual({
      remoteUser: USER,
      ...(shape.authType !== undefined && { authType: shape.authType }),
    });
  });

  test("nobody can pass for somebody who has logged in", async () => {
    for (
      const headers of [
        { "remote-user": "root", "x-remote-user": "root" },
        // Where nobody checks a password.
        { authorization: basic("root", "guess") },
      ] as Record<string, string>[]
    ) {
      const forged = await fetch(`${url}/info`, { headers });
      expect(await forged.json()).not.toHaveProperty("remoteUser");
    }
  });

  test("a Proxy header is not taken for a setting of that name", async () => {
    const headers = { proxy: "http://evil.example:3128" };
    const params = await (await fetch(`${url}/params`, { headers })).json();
    expect(params).toHaveProperty("REQUEST_METHOD", "GET");
    expect(JSON.stringify(params)).not.toContain("evil.example");
  });

  test("fires request.signal and cancels the body when the browser goes away", async () => {
    const controller = new AbortController();
    const response = await fetch(`${url}/endless`, { signal: controller.signal });
    await response.body!.getReader().read();
    controller.abort();
    await Promise.all([events.aborted.promise, events.cancelled.promise]);
    expect(events.signals).toBe(1);
  });

  test("never fires request.signal on success", async () => {
    for (let i = 0; i < 5; i++) expect(await (await fetch(`${url}/signal`)).text()).toBe("fine");
    // By now the connections of the earlier ones have been closed or used again.
    expect(events.signals).toBe(0);
  });

  if (!shape.hidesBreaks) {
    test("shows the browser that a response broke", async () => {
      await expect(fetch(`${url}/broken`).then((response) => response.text())).rejects.toThrow();
    });
  }

  if (!shape.hidesBreaks || !shape.dropsLength) {
    test("shows by its length that a response broke", async () => {
      await expect(fetch(`${url}/broken?length=100`).then((response) => response.text())).rejects.toThrow();
      expect((await fetch(`${url}/json`)).status).toBe(200);
    });
  }

  test("answers 300 concurrent requests", async () => {
    const { protocolErrors, totalConnections } = server.stats;
    const agent = new Agent({ maxSockets: 300 });
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => getText(`${url}/hello/${i}`, agent)));
    agent.destroy();
    expect(answers).toEqual(Array.from({ length: 300 }, (_, i) => `200 Hello ${i}\n`));
    expect(server.stats.protocolErrors).toBe(protocolErrors);
    if (!shape.reusesConnections) expect(server.stats.totalConnections).toBe(totalConnections + 300);
  });

  if (shape.reusesConnections) {
    test("uses a connection again", async () => {
      const { totalConnections } = server.stats;
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let i = 0; i < 20; i++) expect(await getText(`${url}/hello/${i}`, agent)).toBe(`200 Hello ${i}\n`);
      agent.destroy();
      expect(server.stats.totalConnections - totalConnections).toBeLessThan(20);
    });
  }

  test("holds large headers both ways", async () => {
    const response = await fetch(`${url}/headers`, { headers: { cookie: `big=${"x".repeat(7000)}` } });
    expect((await response.json()).cookie).toHaveLength(7004);
    const large = await fetch(`${url}/large-head?bytes=7000`);
    expect(large.headers.get("x-large")).toHaveLength(7000);
  });

  test("survives a browser that leaves in the middle of an upload", async () => {
    const socket = connect(web.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("POST /upload-begun HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    await new Promise<void>((resolve) => socket.write(new Uint8Array(100_000), () => resolve()));
    if (shape.streamsUploads) await events.begun.promise;
    socket.destroy();
    if (shape.streamsUploads) await events.uploadFailed.promise;
    expect((await fetch(`${url}/json`)).status).toBe(200);
    expect(events.begun.settled).toBe(shape.streamsUploads ?? false);
  });

  more?.({
    get server() {
      return server;
    },
    get web() {
      return web;
    },
    get events() {
      return events;
    },
  });
}

async function serveApp(shape: PeerShape, dir: string, events: () => PeerEvents): Promise<Server> {
  const { serveFastCgi, serveScgi } = await adapter();
  const options: ConnectionOptions = { logger: { error() {}, warn() {} }, maxHeaderBytes: MAX_HEADER_BYTES };
  const where = shape.unix ? { path: join(dir, "app.sock"), mode: 0o666 } : { port: 0 };
  const serve = shape.protocol === "fastcgi" ? serveFastCgi : serveScgi;
  return serve({ ...where, ...options }, peerApp(events));
}

/** The value of an Authorization header. */
export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

export function postChunked(url: string, body: Uint8Array): Promise<Response> {
  let at = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = body.slice(at, at += 30_011);
      if (chunk.length === 0) controller.close();
      else controller.enqueue(chunk);
    },
  });
  return fetch(url, { method: "POST", body: stream, duplex: "half" } as RequestInit);
}

async function readUntil(reader: ReadableStreamDefaultReader<string>, wanted: string): Promise<string> {
  let text = "";
  while (!text.includes(wanted)) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`The stream ended before "${wanted}" came, with "${text}"`);
    text += value;
  }
  return text;
}

/** Sends these bytes and resolves with everything that comes back. */
function raw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    let answer = "";
    socket.setEncoding("latin1").on("data", (text: string) => answer += text);
    // A web server that has not read everything resets the connection after its answer.
    socket.on("error", (error) => answer === "" && reject(error));
    socket.on("close", () => resolve(answer));
  });
}

/** Status and body. */
export function getText(url: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    httpGet(url, { agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => text += piece);
      response.on("end", () => resolve(`${response.statusCode} ${text}`));
      response.on("error", reject);
    }).on("error", reject);
  });
}
