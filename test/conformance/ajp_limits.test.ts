// What a peer may not do, and that the server goes on serving everybody else.
import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import type { ServeAjpOptions } from "../../src/types.ts";
import { type AjpRequest, CPING, dataPacket, forwardPacket } from "../support/ajp_client.ts";
import { type AjpFixture, serve } from "../support/ajp_fixture.ts";
import { hex, latin1 } from "../support/hex.ts";
import { delay, pattern } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

/** A server that answers "ok", and whose health is checked after `attack`. */
async function attacked(
  options: ServeAjpOptions,
  attack: (server: AjpFixture) => Promise<void>,
  healthy: AjpRequest = {},
): Promise<AjpFixture> {
  const server = await serve(() => new Response("ok"), options);
  await attack(server);
  expect(await server.fetch(healthy)).toMatchObject({ status: 200, text: "ok", reuse: true });
  await until(() => server.server.stats.connections === 0, "the end of all connections");
  expect(server.server.stats.activeRequests).toBe(0);
  return server;
}

/** Sends `bytes`, and expects an answer with this status, then FIN. */
async function expectRefused(server: AjpFixture, bytes: Uint8Array, status: number): Promise<void> {
  const client = await server.connect();
  client.write(bytes);
  const response = await client.readResponse();
  expect(response).toMatchObject({ status, reuse: false, asked: [] });
  expect(response.text).toMatch(new RegExp(`^${status} `));
  expect(response.header("content-type")).toMatch(/^text\/plain/);
  expect(await client.nextPacket()).toBe(null);
  client.close();
}

/** Sends `bytes`, and expects the connection to be closed without an answer. */
async function expectClosed(server: AjpFixture, bytes: Uint8Array): Promise<void> {
  const client = await server.connect();
  client.write(bytes);
  expect(await client.nextPacket()).toBe(null);
  client.close();
}

describe("the secret", () => {
  const healthy: AjpRequest = { secrets: ["s3cret"] };

  test("without it every path is a 403, and the handler is not called", async () => {
    const server = await attacked({ secret: "s3cret", mount: "/app" }, async (server) => {
      const requests: AjpRequest[] = [
        {},
        { uri: "/app/admin" },
        { uri: "/outside" },
        { uri: "*", method: "OPTIONS" },
        { method: "TRACE" },
        { method: "CONNECT" },
        { method: "HEAD" },
        { uri: "no-slash" },
        { headers: [["host", "a/b"]] },
        { method: "POST", headers: [["content-length", "5"]] },
        { headers: [["x-secret", "s3cret"]] },
        { requestAttributes: [["secret", "s3cret"]] },
        { attributes: { remoteUser: "s3cret", queryString: "secret=s3cret" } },
        { secrets: ["s3cre"] },
        { secrets: ["s3crets"] },
        { secrets: [""] },
        { secrets: ["s3cret", "x"] },
      ];
      for (const request of requests) await expectRefused(server, forwardPacket(request), 403);
    }, { ...healthy, uri: "/app/" });
    expect(server.server.stats.totalRequests).toBe(1);
    expect(server.server.stats.protocolErrors).toBe(17);
    // An attacker cannot fill the log, nor read the secret in it.
    expect(server.log.warnings).toHaveLength(1);
    expect(server.log.warnings.join()).not.toContain("s3cret");
  });

  test("a refused request with a body in flight gets its answer", async () => {
    await attacked({ secret: "s3cret" }, async (server) => {
      const body = pattern(1_000_000);
      const packets = [forwardPacket({ method: "POST", headers: [["content-length", String(body.length)]] })];
      for (let at = 0; at < body.length; at += 8186) packets.push(dataPacket(body.subarray(at, at + 8186)));
      const all = new Uint8Array(packets.reduce((total, packet) => total + packet.length, 0));
      let at = 0;
      for (const packet of packets) {
        all.set(packet, at);
        at += packet.length;
      }
      await expectRefused(server, all, 403);
    }, healthy);
  });

  test("a body that forges a request with the wrong state behind it does no harm", async () => {
    // What an old mod_proxy_ajp could be made to send: a body packet that nobody waits for (CVE-2022-26377).
    const server = await attacked({ secret: "s3cret" }, async (server) => {
      const client = await server.connect();
      client.send({ method: "POST", length: "chunked", secrets: ["s3cret"] });
      const forged = new Uint8Array(514);
      forged.set(forwardPacket({ uri: "/admin", attributes: { remoteUser: "root" } }).subarray(6));
      client.sendData(forged);
      expect(await client.readResponse()).toMatchObject({ status: 200 });
      expect(await client.readResponse()).toMatchObject({ status: 403, reuse: false });
      expect(await client.nextPacket()).toBe(null);
      client.close();
    }, healthy);
    expect(server.server.stats.totalRequests).toBe(2);
  });
});

describe("refused with a status, End Response without reuse, and FIN", () => {
  const post = (...headers: [string, string][]) => forwardPacket({ method: "POST", headers });
  for (
    const [what, bytes, status] of [
      ["two Content-Lengths", post(["content-length", "1"], ["content-length", "1"]), 400],
      ["Content-Length and Transfer-Encoding", post(["content-length", "1"], ["transfer-encoding", "chunked"]), 400],
      ["Transfer-Encoding gzip", post(["transfer-encoding", "gzip"]), 400],
      ["a Host with a path", post(["host", "a/b"]), 400],
      ["a header name with a colon", post(["a:", "b"]), 400],
      ["a header value with CR LF", post(["a", "b\r\nc: d"]), 400],
      ["a path without a slash", forwardPacket({ uri: "x" }), 400],
      ["a path with NUL", forwardPacket({ uri: "/\0" }), 400],
      ["a packet over packetSize", hex("1234 2000 02"), 400],
      ["a packet of 65535 bytes", hex("1234 ffff 0202"), 400],
      ["a string over the end of its packet", hex("1234 0006 0202 7fff 4854"), 400],
      [
        "a header count over what is there",
        hex("1234 0015 0202 ffff 0001 2f00 ffff ffff ffff 0050 00 0064 0000 ff"),
        400,
      ],
      ["a request of one byte", hex("1234 0001 02"), 400],
      ["a body over maxBodyBytes", post(["content-length", "1001"]), 413],
      ["101 headers", post(...Array.from({ length: 101 }, (_, i): [string, string] => [`x-${i}`, "v"])), 431],
      ["too many bytes of headers", post(["x", "v".repeat(5001)]), 431],
    ] as [string, Uint8Array, number][]
  ) {
    test(`${status}: ${what}`, async () => {
      const server = await attacked({ maxBodyBytes: 1000, maxHeaderBytes: 5000 }, async (server) => {
        await expectRefused(server, bytes, status);
        expect(server.server.stats).toMatchObject({ protocolErrors: 1, totalRequests: 0 });
      });
      expect(server.log.warnings).toHaveLength(1);
    });
  }

  test("what the runtime's Request does not take is a 400 too", async () => {
    // A URL whose host ends in a number must be an IPv4 address.
    await attacked({}, (server) => expectRefused(server, post(["host", "256.256.256.256.1"]), 400));
  });

  test("the message names the packet size to set", async () => {
    const server = await attacked({}, (server) => expectRefused(server, hex("1234 2000 02"), 400));
    expect(server.log.warnings[0]).toMatch(/8196.*packetSize is 8192.*ProxyIOBufferSize.*max_packet_size/);
  });
});

describe("closed without an answer", () => {
  for (
    const [what, bytes] of [
      ["HTTP", latin1("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
      ["TLS", hex("1603 0102 0001 0001 fc03 03")],
      ["FastCGI", hex("0101 0001 0008 0000 0001 0000 0000 0000")],
      ["AJP14", hex("1235 0001 0a")],
      ["its own magic", hex("4142 0001 09")],
      ["zeros", new Uint8Array(100)],
      ["Shutdown", hex("1234 0001 07")],
      ["Ping", hex("1234 0001 08")],
      ["CPong", hex("1234 0001 09")],
      ["an unknown type", hex("1234 0001 63")],
      ["a data packet", dataPacket("hello")],
      ["two empty packets", hex("1234 0000 1234 0000")],
      ["noise", pattern(10_000)],
    ] as [string, Uint8Array][]
  ) {
    test(what, () => attacked({}, (server) => expectClosed(server, bytes)).then(() => {}));
  }

  test("a connection that says nothing and goes is no error", async () => {
    const server = await attacked({}, async (server) => {
      for (let i = 0; i < 5; i++) (await server.connect()).close();
    });
    expect(server.server.stats.protocolErrors).toBe(0);
    expect(server.log.warnings).toEqual([]);
  });

  test("garbage on some connections while another works", async () => {
    const server = await serve(async (request) => new Response(await request.text()));
    const good = await server.connect();
    for (let i = 0; i < 20; i++) {
      const bad = await server.connect();
      good.send({ method: "POST", length: "chunked" });
      expect(await good.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
      bad.write(pattern(100 + i * 100));
      good.sendData(`round ${i}`);
      expect(await good.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
      expect(await bad.nextPacket()).toBe(null);
      good.sendEnd();
      expect(await good.readResponse()).toMatchObject({ text: `round ${i}`, reuse: true });
      bad.close();
    }
    await good.cping();
  });
});

describe("time limits", () => {
  test("headTimeout closes a connection whose head does not come whole", async () => {
    const server = await attacked({ headTimeout: 60 }, async (server) => {
      const client = await server.connect();
      client.write(forwardPacket().slice(0, 20));
      expect(await client.nextPacket()).toBe(null);
      client.close();
    });
    expect(server.server.stats.protocolErrors).toBe(1);
  });

  test("headTimeout is not put off by single bytes", async () => {
    await attacked({ headTimeout: 100 }, async (server) => {
      const client = await server.connect();
      const bytes = forwardPacket();
      let at = 0;
      const timer = setInterval(() => client.write(bytes.slice(at, ++at)), 20);
      expect(await client.nextPacket()).toBe(null);
      clearInterval(timer);
      expect(at).toBeLessThan(bytes.length);
      client.close();
    });
  });

  test("headTimeout does not run on an idle connection, nor while a handler works", async () => {
    const server = await serve(async () => {
      await delay(150);
      return new Response("ok");
    }, { headTimeout: 40, bodyTimeout: 40 });
    const client = await server.connect();
    await delay(100);
    await client.cping();
    client.send();
    expect(await client.readResponse()).toMatchObject({ status: 200, reuse: true });
    await client.cping();
  });

  test("bodyTimeout before the head is a 408 without reuse", async () => {
    const failure = new Gate<unknown>();
    const server = await serve(async (request) => {
      failure.open(await request.text().catch((error) => error));
      return new Response("too late");
    }, { bodyTimeout: 60 });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" });
    expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
    expect(await client.readResponse()).toMatchObject({ status: 408, reuse: false });
    expect(await client.nextPacket()).toBe(null);
    expect(await failure.promise).toMatchObject({ code: "ERR_TIMEOUT" });
    expect(server.server.stats.protocolErrors).toBe(1);
  });

  test("bodyTimeout after the head breaks the connection", async () => {
    const server = await serve((request) => new Response(request.body), { bodyTimeout: 500 });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" });
    expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
    client.sendData("part");
    // Not to answer the questions: what is left is read packet by packet.
    const types: string[] = [];
    for (let packet = await client.nextPacket(); packet !== null; packet = await client.nextPacket()) {
      types.push(packet.type);
    }
    expect(types).toContain("SendHeaders");
    expect(types).not.toContain("EndResponse");
    await until(() => server.server.stats.activeRequests === 0);
  });

  test("bodyTimeout of a packet that nobody wants ends the response without reuse", async () => {
    const server = await serve(() => new Response("early"), { bodyTimeout: 60 });
    const client = await server.connect();
    client.send({ method: "POST", length: 5 });
    expect(await client.readResponse()).toMatchObject({ status: 200, text: "early", reuse: false });
    expect(await client.nextPacket()).toBe(null);
  });

  test("bodyTimeout begins anew with each packet, and does not run while the handler thinks", async () => {
    const server = await serve(async (request) => {
      let length = 0;
      for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
        length += chunk.length;
        await delay(900);
      }
      return new Response(String(length));
    }, { bodyTimeout: 700 });
    const client = await server.connect();
    client.send({ method: "POST", length: "chunked" }, ["1234", "5678"]);
    expect(await client.readResponse()).toMatchObject({ status: 200, text: "8", reuse: true });
  });

  test("idleTimeout closes an idle connection, and no other", async () => {
    const gate = new Gate();
    const server = await serve(async () => {
      await gate.promise;
      return new Response("ok");
    }, { idleTimeout: 400 });
    const [idle, busy] = [await server.connect(), await server.connect()];
    busy.send();
    await idle.closed();
    expect(await idle.nextPacket()).toBe(null);
    gate.open();
    expect(await busy.readResponse()).toMatchObject({ status: 200, reuse: true });
    await busy.closed();
    expect(server.server.stats.protocolErrors).toBe(0);
  });
});

describe("numbers", () => {
  test("maxConnections closes further ones at once, until there is room", async () => {
    const server = await serve(() => new Response("ok"), { maxConnections: 2 });
    const [first, second] = [await server.connect(), await server.connect()];
    await first.cping();
    await second.cping();
    const third = await server.connect();
    await third.closed();
    expect(server.server.stats).toMatchObject({ connections: 2, refusedConnections: 1 });
    first.close();
    await until(() => server.server.stats.connections === 1);
    expect(await server.fetch()).toMatchObject({ status: 200 });
    await second.cping();
  });

  test("maxRequestsPerConnection ends the connection with the last response", async () => {
    const server = await serve(() => new Response("ok"), { maxRequestsPerConnection: 3 });
    const client = await server.connect();
    for (const reuse of [true, true, false]) {
      client.send();
      expect(await client.readResponse()).toMatchObject({ status: 200, reuse });
      if (reuse) await client.cping();
    }
    expect(await client.nextPacket()).toBe(null);
  });

  test("200 connections at once, each with a request that waits for the last", async () => {
    const all = new Gate();
    let running = 0;
    const server = await serve(async (request) => {
      if (++running === 200) all.open();
      await all.promise;
      return new Response(await request.text());
    });
    await Promise.all(Array.from({ length: 200 }, async (_, i) => {
      const client = await server.connect();
      await client.cping();
      client.send({ method: "POST", ...(i % 2 ? { length: "chunked" } : {}) }, `request ${i}`);
      expect(await client.readResponse()).toMatchObject({ status: 200, text: `request ${i}`, reuse: true });
      await client.cping();
    }));
    expect(server.server.stats).toMatchObject({ connections: 200, totalRequests: 200, activeRequests: 0 });
  });

  test("early bytes are not read without bound", async () => {
    const gate = new Gate();
    const server = await serve(async () => {
      await gate.promise;
      return new Response("ok");
    });
    const client = await server.connect();
    client.send();
    await until(() => server.server.stats.activeRequests === 1);
    const pings = Buffer.alloc(64 * 1024 * 1024, CPING);
    client.socket.write(pings);
    let before = -1;
    while (before !== server.server.stats.bytesReceived) {
      before = server.server.stats.bytesReceived;
      await delay(50);
    }
    expect(before).toBeLessThan(256 * 1024);
    client.close();
    gate.open();
    expect(await server.fetch()).toMatchObject({ status: 200 });
  });

  test("a flood of CPings whose answers nobody reads is not read without bound", async () => {
    const server = await serve(() => new Response("ok"));
    const client = await server.connect();
    client.pause();
    const pings = Buffer.alloc(64 * 1024 * 1024, CPING);
    client.socket.write(pings);
    let before = -1;
    while (before !== server.server.stats.bytesReceived) {
      before = server.server.stats.bytesReceived;
      await delay(100);
    }
    expect(before).toBeLessThan(32 * 1024 * 1024);
    expect(await server.fetch()).toMatchObject({ status: 200 });
  });
});
