// The same Hono app behind a real Apache httpd, over AJP13 and over FastCGI, in each of the runtimes.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { Agent, get as httpGet } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import example from "../../examples/hono.ts";
import type { HandlerInfo, Server } from "../../src/mod.ts";
import { type Apache, startApache } from "../support/apache.ts";
import { describePeers } from "../support/describe_peers.ts";
import { adapter } from "../support/runtime.ts";

const SECRET = "correct-horse-battery-staple";
const BYTES = 20 * 1024 * 1024;

/** A promise that a test settles. */
class Gate {
  open!: () => void;
  readonly opened = new Promise<void>((resolve) => this.open = resolve);
}

/** What the running test shares with the app, which runs in the same process. */
let gate: Gate;
let aborted: Gate;
let cancelled: Gate;
let signals = 0;

const app = new Hono<{ Bindings: HandlerInfo }>();
app.route("/", example);
// The errors belong to the tests and would only fill their output.
example.onError((_error, c) => c.text("Internal Server Error\n", 500));
app.onError((_error, c) => c.text("Internal Server Error\n", 500));
app.get("/gated", (c) =>
  streamSSE(c, async (stream) => {
    await stream.writeSSE({ data: "first" });
    await gate.opened;
    await stream.writeSSE({ data: "second" });
  }));
app.get("/endless", (c) => {
  c.req.raw.signal.addEventListener("abort", () => {
    signals++;
    aborted.open();
  });
  return c.body(
    new ReadableStream({
      async pull(controller) {
        controller.enqueue(new Uint8Array(1000));
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
      cancel: () => cancelled.open(),
    }),
  );
});
app.get("/signal", async (c) => {
  c.req.raw.signal.addEventListener("abort", () => signals++);
  await new Promise((resolve) => setTimeout(resolve, 1));
  return c.text("fine");
});
app.get("/broken", (c) => {
  let pulls = 0;
  return c.body(
    new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (++pulls > 2) controller.error(new Error("The source broke"));
        else controller.enqueue(new TextEncoder().encode("part"));
      },
    }),
  );
});
app.get("/params", (c) => c.json(Object.fromEntries(c.env.params)));
app.get("/info", (c) => {
  const { protocol, remoteAddr, remoteUser, authType } = c.env;
  return c.json({ protocol, remoteAddr, remoteUser, authType, url: c.req.url });
});
app.get("/protected/whoami", (c) => c.json({ remoteUser: c.env.remoteUser, authType: c.env.authType }));
app.all("/method", (c) => c.text(c.req.method));

interface Shape {
  name: string;
  protocol: "ajp" | "fastcgi";
  /** What follows the URL of the application in ProxyPass. */
  parameters: string;
  unix?: boolean;
  packetSize?: number;
}

const SHAPES: Shape[] = [
  { name: "mod_proxy_ajp", protocol: "ajp", parameters: `secret=${SECRET}` },
  { name: "mod_proxy_ajp, packets of 64 KiB", protocol: "ajp", parameters: `secret=${SECRET}`, packetSize: 65536 },
  { name: "mod_proxy_fcgi", protocol: "fastcgi", parameters: "flushpackets=on" },
  { name: "mod_proxy_fcgi, enablereuse", protocol: "fastcgi", parameters: "flushpackets=on enablereuse=on" },
  { name: "mod_proxy_fcgi, unix socket", protocol: "fastcgi", parameters: "flushpackets=on", unix: true },
];

beforeEach(() => {
  gate = new Gate();
  aborted = new Gate();
  cancelled = new Gate();
  signals = 0;
});

for (const shape of SHAPES) {
  describePeers(`Apache, ${shape.name}`, () => {
    let server: Server;
    let apache: Apache;
    let url: string;
    let dir: string;

    beforeAll(async () => {
      const { serveAjp, serveFastCgi } = await adapter();
      dir = mkdtempSync(join(tmpdir(), "isthmus-peers-"));
      // Apache's workers run as another user where the tests run as root.
      await chmod(dir, 0o755);
      const quiet = { error() {}, warn() {} };
      server = shape.protocol === "ajp"
        ? serveAjp({ port: 0, secret: SECRET, packetSize: shape.packetSize ?? 8192, logger: quiet }, app)
        : serveFastCgi(
          { ...(shape.unix ? { path: join(dir, "app.sock"), mode: 0o666 } : { port: 0 }), logger: quiet },
          app,
        );
      const addr = await server.ready;
      const scheme = shape.protocol === "ajp" ? "ajp" : "fcgi";
      const target = addr.transport === "unix"
        ? `unix:${addr.path}|${scheme}://localhost/`
        : `${scheme}://127.0.0.1:${addr.port}/`;
      apache = await startApache({
        auth: { "zoë": "pässword" },
        config: ({ htpasswd }) => `
          ${shape.packetSize ? `ProxyIOBufferSize ${shape.packetSize}` : ""}
          LimitRequestFieldSize 65000
          # mod_proxy_fcgi leaves it to this limit to end a response whose backend broke.
          KeepAliveTimeout 1
          <Location "/protected/">
            AuthType Basic
            AuthName "test"
            AuthUserFile "${htpasswd}"
            Require valid-user
          </Location>
          ProxyPass "/" "${target}" ${shape.parameters}`,
      });
      url = apache.url;
    });

    afterAll(async () => {
      await apache?.stop();
      await server?.shutdown();
      if (dir) rmSync(dir, { recursive: true, force: true });
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
    });

    test("passes every method on", async () => {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"]) {
        expect(await (await fetch(`${url}/method`, { method })).text()).toBe(method);
      }
    });

    test("takes a 20 MB upload with Content-Length", async () => {
      const body = pattern(BYTES);
      const response = await fetch(`${url}/upload`, { method: "POST", body });
      expect(await response.json()).toEqual({ bytes: BYTES, sha256: sha256(body) });
    });

    test("takes a chunked upload", async () => {
      const body = pattern(3_000_001);
      let at = 0;
      const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull(controller) {
          const chunk = body.slice(at, at += 30_011);
          if (chunk.length === 0) controller.close();
          else controller.enqueue(chunk);
        },
      });
      const response = await fetch(`${url}/upload`, { method: "POST", body: stream, duplex: "half" } as RequestInit);
      expect(await response.json()).toEqual({ bytes: body.length, sha256: sha256(body) });
    });

    test("takes uploads of every size around a packet and a record", async () => {
      const packet = (shape.packetSize ?? 8192) - 6;
      for (const size of [0, 1, packet - 1, packet, packet + 1, 2 * packet, 2 * packet + 1, 65528, 65536]) {
        const body = pattern(size);
        const response = await fetch(`${url}/upload`, { method: "POST", body });
        expect(await response.json()).toEqual({ bytes: size, sha256: sha256(body) });
      }
    });

    test("gives a 20 MB download", async () => {
      const response = await fetch(`${url}/download?bytes=${BYTES}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      expect(bytes.length).toBe(BYTES);
      expect(sha256(bytes)).toBe(sha256(pattern(BYTES)));
    });

    test("passes server-sent events on one by one", async () => {
      const response = await fetch(`${url}/gated`);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      expect(await readUntil(reader, "first")).not.toContain("second");
      gate.open();
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
      const error = await fetch(`${url}/error`);
      expect([error.status, await error.text()]).toEqual([500, "Internal Server Error\n"]);
      expect((await fetch(`${url}/nothing-there`)).status).toBe(404);
    });

    test("gives REMOTE_USER of who logged in at Apache to the handler", async () => {
      expect((await fetch(`${url}/protected/whoami`)).status).toBe(401);
      const authorization = `Basic ${Buffer.from("zoë:pässword").toString("base64")}`;
      const response = await fetch(`${url}/protected/whoami`, { headers: { authorization } });
      expect(await response.json()).toEqual({ remoteUser: "zoë", authType: "Basic" });
      // A header of the browser's cannot stand in for it.
      const forged = await fetch(`${url}/info`, { headers: { "remote-user": "root", "x-remote-user": "root" } });
      expect(await forged.json()).not.toHaveProperty("remoteUser");
    });

    test("fires request.signal and cancels the body when the browser goes away", async () => {
      const controller = new AbortController();
      const response = await fetch(`${url}/endless`, { signal: controller.signal });
      await response.body!.getReader().read();
      controller.abort();
      await Promise.all([aborted.opened, cancelled.opened]);
      expect(signals).toBe(1);
    });

    test("never fires request.signal on success", async () => {
      for (let i = 0; i < 5; i++) expect(await (await fetch(`${url}/signal`)).text()).toBe("fine");
      // By now the connections of the earlier ones have been closed or used again.
      expect(signals).toBe(0);
    });

    test("shows the browser that a response broke", async () => {
      await expect(fetch(`${url}/broken`).then((response) => response.text())).rejects.toThrow();
    });

    test("answers 500 concurrent requests", async () => {
      const agent = new Agent({ maxSockets: 500 });
      const statuses = await Promise.all(Array.from({ length: 500 }, (_, i) => getStatus(`${url}/hello/${i}`, agent)));
      agent.destroy();
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
    });

    test("holds large headers both ways", async () => {
      // Beyond the packet size mod_proxy_ajp refuses the request; mod_proxy_fcgi drops a variable of over 16 KiB.
      const size = shape.protocol === "ajp" ? (shape.packetSize ?? 8192) - 2192 : 12_000;
      const response = await fetch(`${url}/headers`, { headers: { cookie: `big=${"x".repeat(size)}` } });
      expect((await response.json()).cookie).toHaveLength(size + 4);
    });

    test("refuses a request that httpd lets through and fetch does not", async () => {
      // mod_proxy passes the Host on, whatever it is.
      const answer = await raw(apache.port, "GET / HTTP/1.1\r\nHost: us\\er@evil\r\nConnection: close\r\n\r\n");
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect((await fetch(`${url}/json`)).status).toBe(200);
    });

    test("survives a browser that leaves in the middle of an upload", async () => {
      const before = server.stats.protocolErrors;
      const socket = connect(apache.port, "127.0.0.1");
      socket.write("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
      socket.write(new Uint8Array(100_000));
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.destroy();
      expect((await fetch(`${url}/json`)).status).toBe(200);
      expect(server.stats.protocolErrors).toBeGreaterThanOrEqual(before);
    });
  });
}

describePeers("Apache, a wrong secret", () => {
  test("is answered with 403 and does not reach the handler", async () => {
    const { serveAjp } = await adapter();
    let called = 0;
    const server = serveAjp({ port: 0, secret: SECRET, logger: { error() {}, warn() {} } }, () => {
      called++;
      return new Response("let in");
    });
    const addr = await server.ready;
    const port = addr.transport === "tcp" ? addr.port : 0;
    const apache = await startApache({
      config: () => `
        # Apache shares the parameters of a worker, so that each needs a URL of its own.
        ProxyPass "/right" "ajp://127.0.0.1:${port}/right" secret=${SECRET}
        ProxyPass "/wrong" "ajp://127.0.0.1:${port}/wrong" secret=${SECRET}!
        ProxyPass "/none" "ajp://127.0.0.1:${port}/none"`,
    });
    try {
      expect((await fetch(`${apache.url}/wrong`)).status).toBe(403);
      expect((await fetch(`${apache.url}/none`)).status).toBe(403);
      expect(called).toBe(0);
      expect(await (await fetch(`${apache.url}/right`)).text()).toBe("let in");
    } finally {
      await apache.stop();
      await server.shutdown();
    }
  });
});

describePeers("Apache, mounts", () => {
  test("take the prefix off over both protocols", async () => {
    const { serveAjp, serveFastCgi } = await adapter();
    const ajp = serveAjp({ port: 0, mount: "/test" }, app);
    const fastcgi = serveFastCgi({ port: 0, mount: "/test/fcgi" }, app);
    const ports = [await ajp.ready, await fastcgi.ready].map((addr) => addr.transport === "tcp" ? addr.port : 0);
    const apache = await startApache({
      config: () => `
        ProxyPass "/test/fcgi" "fcgi://127.0.0.1:${ports[1]}/"
        ProxyPass "/test" "ajp://127.0.0.1:${ports[0]}/test"`,
    });
    try {
      expect(await (await fetch(`${apache.url}/test/hello/you`)).text()).toBe("Hello you\n");
      expect(await (await fetch(`${apache.url}/test/fcgi/hello/you`)).text()).toBe("Hello you\n");
    } finally {
      await apache.stop();
      await Promise.all([ajp.shutdown(), fastcgi.shutdown()]);
    }
  });
});

describePeers("Apache's error log", () => {
  test("gets the handler's uncaught error over FastCGI, and the browser does not", async () => {
    const { serveFastCgi } = await adapter();
    const server = serveFastCgi({ port: 0, logger: { error() {}, warn() {} } }, () => {
      throw new Error("The database is on fire");
    });
    const addr = await server.ready;
    const port = addr.transport === "tcp" ? addr.port : 0;
    const apache = await startApache({ config: () => `ProxyPass "/" "fcgi://127.0.0.1:${port}/"` });
    try {
      const response = await fetch(apache.url);
      expect([response.status, await response.text()]).toEqual([500, "500 Internal Server Error\n"]);
      expect(await apache.errorLog()).toContain("The database is on fire");
    } finally {
      await apache.stop();
      await server.shutdown();
    }
  });
});

function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i % 251;
  return bytes;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
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

function getStatus(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    httpGet(url, { agent }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
      response.on("error", reject);
    }).on("error", reject);
  });
}

function raw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    let answer = "";
    socket.on("data", (chunk) => answer += chunk);
    socket.on("end", () => resolve(answer));
    socket.on("error", reject);
  });
}
