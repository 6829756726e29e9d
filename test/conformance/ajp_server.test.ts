// The server around the connections: how it begins and ends, and what it counts.
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Addr, Handler, NetAddr, ServeAjpOptions, Server } from "../../src/types.ts";
import { AjpClient, forwardPacket } from "../support/ajp_client.ts";
import { serve } from "../support/ajp_fixture.ts";
import { utf8 } from "../support/hex.ts";
import { Log } from "../support/log.ts";
import { adapter } from "../support/runtime.ts";
import { client as connect, delay, pending } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const { serveAjp, serveConnection, listen } = await adapter();

const hello: Handler = () => new Response("hello");

function ended(server: Server): Server {
  onTestFinished(() => server.shutdown());
  return server;
}

async function fetchFrom(addr: Addr): Promise<string> {
  const client = await AjpClient.open(addr);
  const response = await client.fetch();
  client.close();
  return response.text;
}

describe("serveAjp, its three call shapes", () => {
  test("options and a handler", async () => {
    const server = ended(serveAjp({ port: 0 }, hello));
    expect(await fetchFrom(await server.ready)).toBe("hello");
  });

  test("options and an object with fetch, called as its method", async () => {
    const app = { greeting: "hi", fetch: (): Response => new Response(app.greeting) };
    const method = {
      greeting: "hi",
      fetch(): Response {
        return new Response(this.greeting);
      },
    };
    for (const object of [app, method]) {
      expect(await fetchFrom(await ended(serveAjp({ port: 0 }, object)).ready)).toBe("hi");
    }
  });

  test("options with a handler", async () => {
    expect(await fetchFrom(await ended(serveAjp({ port: 0, handler: hello })).ready)).toBe("hello");
    expect(await fetchFrom(await ended(serveAjp({ port: 0, handler: { fetch: hello } })).ready)).toBe("hello");
  });

  test("a handler alone listens on 127.0.0.1:8009", async (context) => {
    for (const handler of [hello, { fetch: hello }]) {
      const server = ended(serveAjp(handler));
      const addr = await server.ready.catch((error: { code?: string }) => error.code);
      if (addr === "EADDRINUSE") return context.skip("port 8009 is in use");
      expect(addr).toEqual({ transport: "tcp", hostname: "127.0.0.1", port: 8009 });
      expect(await fetchFrom(addr as Addr)).toBe("hello");
      await server.shutdown();
    }
  });

  test("no handler throws at once", () => {
    const call = serveAjp as (...args: unknown[]) => Server;
    for (
      const args of [[], [undefined], [null], [{ handler: 42 }], [{ port: 0 }, {}], [{ port: 0 }, "x"], [{ port: 0 }]]
    ) {
      expect(() => call(...args)).toThrow(TypeError);
    }
  });

  test("options that make no sense throw at once, by name", () => {
    for (
      const [options, name] of [
        [{ packetSize: 8191 }, "packetSize"],
        [{ packetSize: 65537 }, "packetSize"],
        [{ packetSize: 8192.5 }, "packetSize"],
        [{ maxBodyBytes: -1 }, "maxBodyBytes"],
        [{ maxHeaderCount: NaN }, "maxHeaderCount"],
        [{ maxConnections: 0 }, "maxConnections"],
        [{ headTimeout: "1s" }, "headTimeout"],
        [{ mount: "app" }, "mount"],
      ] as [ServeAjpOptions, string][]
    ) {
      expect(() => serveAjp({ port: 0, ...options }, hello)).toThrow(name);
    }
  });
});

describe("Server.addr and Server.ready", () => {
  test("addr throws before ready, and is the same afterwards", async () => {
    const server = ended(serveAjp({ port: 0 }, hello));
    expect(() => server.addr).toThrow("ready");
    const addr = await server.ready;
    expect(server.addr).toEqual(addr);
    expect(addr).toEqual({ transport: "tcp", hostname: "127.0.0.1", port: expect.any(Number) });
    expect((addr as NetAddr).port).toBeGreaterThan(0);
  });

  test("onListen is told once", async () => {
    const told: Addr[] = [];
    const server = ended(serveAjp({ port: 0, onListen: (addr) => void told.push(addr) }, hello));
    const addr = await server.ready;
    expect(told).toEqual([addr]);
  });

  test("a port in use rejects ready and finished", async () => {
    const taken = createServer();
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const server = serveAjp({ port }, hello);
    await expect(server.ready).rejects.toThrow(`127.0.0.1:${port}`);
    await expect(server.finished).rejects.toThrow();
    expect(() => server.addr).toThrow();
    await server.shutdown();
  });

  test("a unix socket is served, and its file removed at the end", async () => {
    const dir = mkdtempSync(join(tmpdir(), "isthmus-ajp-"));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    const path = join(dir, "app.sock");
    const server = ended(serveAjp({ path, mode: 0o600 }, (_, info) => Response.json({ peer: info.peerAddr ?? null })));
    expect(await server.ready).toEqual({ transport: "unix", path });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await fetchFrom(server.addr))).toEqual({ peer: null });
    await server.shutdown();
    expect(existsSync(path)).toBe(false);
  });
});

describe("serveAjp beyond loopback", () => {
  for (const hostname of ["0.0.0.0", "::", "192.0.2.1", "example.com", ""]) {
    test(`on "${hostname}" without a secret throws at once, and says what to do`, () => {
      expect(() => serveAjp({ hostname, port: 0 }, hello)).toThrow(/secret.*allowInsecure/);
      expect(() => serveAjp({ hostname, port: 0, secret: "" }, hello)).toThrow("secret");
      expect(() => serveAjp({ hostname, port: 0, allowInsecure: false }, hello)).toThrow("secret");
    });
  }

  test("with a secret, or allowInsecure, it listens", async () => {
    for (const options of [{ secret: "s3cret" }, { allowInsecure: true }]) {
      const server = ended(serveAjp({ hostname: "0.0.0.0", port: 0, ...options }, hello));
      expect(await server.ready).toMatchObject({ hostname: "0.0.0.0" });
    }
  });

  test("on loopback no secret is needed", async () => {
    for (const hostname of ["127.0.0.1", "localhost"]) {
      await ended(serveAjp({ hostname, port: 0 }, hello)).ready;
    }
  });
});

describe("Server.shutdown", () => {
  test("idle connections are closed at once, whatever the web server does", async () => {
    const server = await serve(hello, { shutdownTimeout: 10_000 });
    const clients = [await server.connect(), await server.connect(), await server.connect()];
    await clients[1]!.cping();
    clients[2]!.send();
    expect(await clients[2]!.readResponse()).toMatchObject({ reuse: true });
    const start = performance.now();
    await server.server.shutdown();
    expect(performance.now() - start).toBeLessThan(1000);
    for (const client of clients) expect(await client.nextPacket()).toBe(null);
    expect(server.server.stats.connections).toBe(0);
  });

  test("a running request finishes with End Response without reuse", async () => {
    const gate = new Gate();
    const server = await serve(async () => {
      await gate.promise;
      return new Response("done");
    }, { shutdownTimeout: 5000 });
    const client = await server.connect();
    client.send();
    await until(() => server.server.stats.activeRequests === 1);
    const stopped = server.server.shutdown();
    expect(server.server.shutdown()).toBe(stopped);
    expect(await pending(stopped, 30)).toBe(true);
    await expect(connect(server.addr)).rejects.toThrow();
    gate.open();
    expect(await client.readResponse()).toMatchObject({ status: 200, text: "done", reuse: false });
    expect(await client.nextPacket()).toBe(null);
    await stopped;
    await server.server.finished;
  });

  test("a request whose head is on its way is still served", async () => {
    const server = await serve(hello, { shutdownTimeout: 5000 });
    const client = await server.connect();
    const bytes = forwardPacket();
    client.write(bytes.slice(0, 30));
    await until(() => server.server.stats.bytesReceived === 30);
    const stopped = server.server.shutdown();
    client.write(bytes.slice(30));
    expect(await client.readResponse()).toMatchObject({ status: 200, reuse: false });
    await stopped;
  });

  test("a request that takes too long is cut off without End Response", async () => {
    const aborted = new Gate<unknown>();
    const cancelled = new Gate();
    const server = await serve(({ signal }) => {
      signal.addEventListener("abort", () => aborted.open(signal.reason));
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(utf8("first")),
          cancel: () => cancelled.open(),
        }),
      );
    }, { shutdownTimeout: 60 });
    const client = await server.connect();
    client.send();
    await until(() => client.unread > 0, "the head");
    const start = performance.now();
    await server.server.shutdown();
    expect(performance.now() - start).toBeGreaterThan(40);
    expect(await aborted.promise).toMatchObject({ code: "ERR_SHUTDOWN", initiator: "local" });
    await cancelled.promise;
    const rest = await client.readResponse();
    expect(rest).toMatchObject({ status: 200, text: "first", reuse: undefined });
    expect(server.server.stats).toMatchObject({ connections: 0, activeRequests: 0 });
  });

  test("before it listens ends it", async () => {
    const server = serveAjp({ port: 0 }, hello);
    const { ready } = server;
    await server.shutdown();
    await server.finished;
    await ready.catch(() => {});
    expect(await server.shutdown()).toBe(undefined);
  });

  test("again, or afterwards, is harmless", async () => {
    const server = await serve(hello);
    await Promise.all([server.server.shutdown(), server.server.shutdown()]);
    await server.server.shutdown();
    await server.server.finished;
  });

  test("await using ends it", async () => {
    let addr: Addr;
    let server: Server;
    {
      await using scoped = serveAjp({ port: 0 }, hello);
      server = scoped;
      addr = await scoped.ready;
      expect(await fetchFrom(addr)).toBe("hello");
    }
    await server.finished;
    await expect(connect(addr)).rejects.toThrow();
  });
});

describe("options.signal", () => {
  test("aborted later ends the server and its connections at once", async () => {
    const controller = new AbortController();
    const aborted = new Gate<unknown>();
    const server = await serve(({ signal }) => {
      signal.addEventListener("abort", () => aborted.open(signal.reason));
      return new Promise(() => {});
    }, { signal: controller.signal, shutdownTimeout: 10_000 });
    const client = await server.connect();
    client.send();
    await until(() => server.server.stats.activeRequests === 1);
    controller.abort();
    await server.server.finished;
    expect(await aborted.promise).toMatchObject({ code: "ERR_SHUTDOWN" });
    expect(await client.nextPacket()).toBe(null);
    await expect(connect(server.addr)).rejects.toThrow();
  });

  test("aborted before does not listen", async () => {
    const server = serveAjp({ port: 0, signal: AbortSignal.abort() }, hello);
    await server.finished;
    await expect(server.ready).rejects.toThrow();
  });

  test("aborted while it starts to listen ends it", async () => {
    const controller = new AbortController();
    const server = serveAjp({ port: 0, signal: controller.signal }, hello);
    const ready = server.ready.catch(() => {});
    controller.abort();
    await server.finished;
    await ready;
  });
});

describe("Server.stats", () => {
  test("counts", async () => {
    const gate = new Gate();
    const server = await serve(async (request) => {
      if (request.url.endsWith("/wait")) await gate.promise;
      if (request.url.endsWith("/throw")) throw new Error("oops");
      return new Response("hello");
    });
    const nothing = {
      connections: 0,
      activeRequests: 0,
      totalConnections: 0,
      refusedConnections: 0,
      totalRequests: 0,
      protocolErrors: 0,
      handlerErrors: 0,
      bytesReceived: 0,
      bytesSent: 0,
    };
    const before = server.server.stats;
    expect(before).toEqual(nothing);

    const client = await server.connect();
    client.write(forwardPacket({ uri: "/wait" }));
    await until(() => server.server.stats.activeRequests === 1);
    const { length } = forwardPacket({ uri: "/wait" });
    expect(server.server.stats).toEqual({
      ...nothing,
      connections: 1,
      activeRequests: 1,
      totalConnections: 1,
      totalRequests: 1,
      bytesReceived: length,
    });
    gate.open();
    await client.readResponse();
    await server.fetch({ uri: "/throw" });
    await server.fetch({ uri: "no-slash" });
    client.close();
    await until(() => server.server.stats.connections === 0);
    expect(server.server.stats).toMatchObject({
      connections: 0,
      activeRequests: 0,
      totalConnections: 3,
      refusedConnections: 0,
      totalRequests: 2,
      protocolErrors: 1,
      handlerErrors: 1,
    });
    expect(server.server.stats.bytesSent).toBeGreaterThan(100);
    // A snapshot does not change.
    expect(before).toEqual(nothing);
  });
});

describe("serveConnection", () => {
  test("serves AJP over any pair of streams", async () => {
    const toServer = new TransformStream<Uint8Array, Uint8Array>();
    const toClient = new TransformStream<Uint8Array, Uint8Array>();
    const connection = serveConnection(
      { readable: toServer.readable, writable: toClient.writable },
      { protocol: "ajp", logger: new Log() },
      async (request) => new Response(await request.text()),
    );
    const writer = toServer.writable.getWriter();
    const reader = toClient.readable.getReader();
    const received: number[] = [];
    const reading = (async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        received.push(...value);
      }
    })();
    await writer.write(Uint8Array.of(0x12, 0x34, 0, 1, 10));
    await until(() => received.length === 5);
    expect(received).toEqual([0x41, 0x42, 0, 1, 9]);
    await connection.shutdown();
    await connection.finished;
    await reading.catch(() => {});
  });

  test("serves a Transport of the adapter's own", async () => {
    const finished: Promise<void>[] = [];
    const listener = await listen({ hostname: "127.0.0.1", port: 0 }, (transport) => {
      finished.push(serveConnection(transport, { protocol: "ajp" }, hello).finished);
    }, () => {});
    onTestFinished(() => listener.close());
    expect(await fetchFrom(listener.addr)).toBe("hello");
    await Promise.all(finished);
    expect(finished).toHaveLength(1);
  });

  test("close cuts it off", async () => {
    const gate = new Gate<unknown>();
    const connections: { close(): void; finished: Promise<void> }[] = [];
    const listener = await listen({ hostname: "127.0.0.1", port: 0 }, (transport) => {
      connections.push(serveConnection(transport, { protocol: "ajp" }, ({ signal }) => {
        signal.addEventListener("abort", () => gate.open(signal.reason));
        setTimeout(() => connections[0]!.close(), 5);
        return new Promise(() => {});
      }));
    }, () => {});
    onTestFinished(() => listener.close());
    const client = await AjpClient.open(listener.addr);
    client.send();
    expect(await client.nextPacket()).toBe(null);
    expect(await gate.promise).toMatchObject({ code: "ERR_SHUTDOWN" });
    await connections[0]!.finished;
    await delay(0);
  });
});
