// One port for all protocols, through real sockets, in the runtime that runs the tests.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { bindServe, serveConnection } from "../../src/mod.ts";
import type { Handler, Listen, NetAddr, ServeAnyOptions, Server } from "../../src/types.ts";
import { AjpClient } from "../support/ajp_client.ts";
import { FastCgiClient } from "../support/fastcgi_client.ts";
import { latin1 } from "../support/hex.ts";
import { Log } from "../support/log.ts";
import { adapter } from "../support/runtime.ts";
import { readByPerl } from "../support/perl_reader.ts";
import { ScgiClient, scgiRequest } from "../support/scgi_client.ts";
import { client, closed, pattern, receiveAll, sha } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const adapters = await adapter();
const POST = { REQUEST_METHOD: "POST" };
const BYTES = 3_000_000;

async function echo(request: Request, info: { protocol: string }): Promise<Response> {
  const body = new Uint8Array(await request.arrayBuffer());
  return new Response(`${info.protocol} ${body.length} ${sha(body)}`);
}

async function start(handler: Handler, options: ServeAnyOptions = {}): Promise<{ server: Server; log: Log }> {
  const log = new Log();
  const where = options.path === undefined ? { port: 0 } : {};
  const server = adapters.serve({ ...where, logger: log, shutdownTimeout: 50, ...options }, handler);
  onTestFinished(() => server.shutdown());
  await server.ready;
  return { server, log };
}

/** The same request by each protocol, on connections of their own. */
async function askAll(server: Server, body: Uint8Array = pattern(BYTES)): Promise<string[]> {
  const ajp = await AjpClient.open(server.addr);
  const fastcgi = await FastCgiClient.open(server.addr);
  const scgi = await ScgiClient.open(server.addr);
  onTestFinished(() => [ajp, fastcgi, scgi].forEach((client) => client.close()));
  const answers = await Promise.all([
    ajp.fetch(
      { method: "POST" },
      Array.from({ length: Math.ceil(body.length / 8000) }, (_, n) => body.subarray(n * 8000, (n + 1) * 8000)),
    ),
    fastcgi.fetch(1, POST, body),
    scgi.fetch(POST, body),
  ]);
  return answers.map(({ text }) => text);
}

describe("serve", () => {
  test("answers AJP, FastCGI and SCGI, and info says which it was", async () => {
    const { server } = await start(echo);
    const hash = sha(pattern(BYTES));
    const expected = ["ajp", "fastcgi", "scgi"].map((name) => `${name} ${BYTES} ${hash}`);
    const all = await Promise.all(Array.from({ length: 5 }, () => askAll(server)));
    for (const answers of all) expect(answers).toEqual(expected);
    expect(server.stats).toMatchObject({ totalConnections: 15, totalRequests: 15, protocolErrors: 0 });
  });

  test("does so on a unix socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const { server } = await start(echo, { path: join(folder, "s") });
    expect((await askAll(server, new Uint8Array(3))).map((text) => text.split(" ")[0])).toEqual([
      "ajp",
      "fastcgi",
      "scgi",
    ]);
  });

  test("a connection that is kept stays with its protocol", async () => {
    const { server } = await start((_, info) => new Response(info.protocol));
    const ajp = await AjpClient.open(server.addr);
    const fastcgi = await FastCgiClient.open(server.addr);
    onTestFinished(() => [ajp, fastcgi].forEach((client) => client.close()));
    for (let n = 0; n < 3; n++) {
      await ajp.cping();
      expect((await ajp.fetch()).text).toBe("ajp");
      expect((await fastcgi.fetch(1)).text).toBe("fastcgi");
      expect((await fastcgi.getValues("FCGI_MPXS_CONNS"))["FCGI_MPXS_CONNS"]).toBe("1");
    }
    expect(server.stats.totalConnections).toBe(2);
  });

  test("takes first bytes that come one by one", async () => {
    const { server } = await start((_, info) => new Response(info.protocol));
    const scgi = await ScgiClient.open(server.addr);
    for (const byte of scgiRequest()) {
      scgi.send(Uint8Array.of(byte));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    expect((await scgi.response()).text).toBe("scgi");
    const ajp = await client(server.addr);
    onTestFinished(() => void ajp.destroy());
    for (const [n, byte] of [0x12, 0x34, 0x00, 0x01, 0x0a].entries()) {
      const before = server.stats.bytesReceived;
      ajp.write(Uint8Array.of(byte));
      if (n < 4) await until(() => server.stats.bytesReceived === before + 1);
    }
    ajp.end();
    expect(await receiveAll(ajp)).toEqual(Uint8Array.of(0x41, 0x42, 0x00, 0x01, 0x09));
  });

  test("mount, limits and errors are the same whatever arrives", async () => {
    const { server } = await start((request) => new Response(new URL(request.url).pathname), {
      mount: "/app",
      maxBodyBytes: 5,
    });
    const ajp = await AjpClient.open(server.addr);
    const fastcgi = await FastCgiClient.open(server.addr);
    onTestFinished(() => [ajp, fastcgi].forEach((client) => client.close()));
    expect((await ajp.fetch({ uri: "/app/x" })).text).toBe("/x");
    expect((await ajp.fetch({ uri: "/y" })).status).toBe(404);
    expect((await fastcgi.fetch(1, { REQUEST_URI: "/app/x" })).text).toBe("/x");
    expect((await fastcgi.fetch(1, POST, "123456")).status).toBe(413);
    const scgi = async (more: Record<string, string>, body = "") =>
      await (await ScgiClient.open(server.addr)).fetch(more, body);
    expect((await scgi({ REQUEST_URI: "/app/x" })).text).toBe("/x");
    expect((await scgi(POST, "123456")).status).toBe(413);
  });
});

describe("plain HTTP sent there by mistake", () => {
  test("is told what this port is, whoever asks", async () => {
    const { server, log } = await start(() => new Response("never"));
    const url = `http://127.0.0.1:${(server.addr as NetAddr).port}/`;
    for (const init of [{}, { method: "POST", body: new Uint8Array(100_000) }]) {
      const response = await fetch(url, init);
      expect(response.status).toBe(400);
      expect(response.headers.get("content-type")).toBe("text/plain;charset=UTF-8");
      expect(await response.text()).toMatch(/does not speak HTTP[^]*ProxyPass[^]*scgi_pass/);
    }
    expect(server.stats).toMatchObject({ totalRequests: 0, protocolErrors: 2 });
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain("[ERR_UNKNOWN_PROTOCOL]");
    await until(() => server.stats.connections === 0);
  });

  test("gets its answer whole although it has sent its last", async () => {
    const { server } = await start(() => new Response("never"));
    const { ended, received } = await readByPerl(server.addr, latin1("GET / HTTP/1.0\r\n\r\n"));
    expect(ended).toBe("end");
    expect(received).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[^]*Connection: close\r\n\r\n400 Bad Request\n/);
    const peer = await client(server.addr);
    const all = receiveAll(peer);
    peer.end("GET / HTTP/1.0\r\n\r\n");
    expect(new TextDecoder().decode(await all)).toBe(received);
  });
});

test.each(["\x16\x03\x01\x02\x00", "\x00", "\x12\x35", "get / HTTP/1.1\r\n\r\n", "0:,", "\r\n\r\n\x00\r\nQUIT\n"])(
  "garbage %j is closed without an answer, and others are served",
  async (garbage) => {
    const { server, log } = await start((_, info) => new Response(info.protocol));
    const peer = await client(server.addr);
    let received = 0;
    peer.on("data", (chunk) => received += chunk.length);
    peer.once("end", () => peer.destroy());
    peer.write(latin1(garbage));
    await closed(peer);
    expect(received).toBe(0);
    expect(log.warnings[0]).toContain("[ERR_UNKNOWN_PROTOCOL]");
    expect((await (await ScgiClient.open(server.addr)).fetch()).text).toBe("scgi");
  },
);

describe("the secret of AJP", () => {
  test("is no protection beyond loopback, as a stranger could speak another protocol", () => {
    for (const more of [{}, { secret: "s3cret" }]) {
      expect(() => adapters.serve({ hostname: "0.0.0.0", port: 0, ...more }, () => new Response())).toThrow(
        /^Cannot listen on 0\.0\.0\.0 for AJP, FastCGI or SCGI, as .*: set `allowInsecure: true`/,
      );
    }
  });

  test("is asked of AJP, and of AJP alone", async () => {
    const { server } = await start((_, info) => new Response(info.protocol), { secret: "s3cret" });
    const ajp = async (secrets: string[]) => {
      const client = await AjpClient.open(server.addr);
      onTestFinished(() => client.close());
      return await client.fetch({ secrets });
    };
    expect((await ajp([])).status).toBe(403);
    expect((await ajp(["wrong"])).status).toBe(403);
    expect((await ajp(["s3cret"])).text).toBe("ajp");
    const fastcgi = await FastCgiClient.open(server.addr);
    onTestFinished(() => fastcgi.close());
    expect((await fastcgi.fetch(1)).text).toBe("fastcgi");
    expect((await (await ScgiClient.open(server.addr)).fetch()).text).toBe("scgi");
  });
});

describe("a connection whose protocol is not known yet", () => {
  test("is closed when its first bytes take too long", async () => {
    const { server, log } = await start(() => new Response("never"), { headTimeout: 80 });
    const silent = await client(server.addr);
    const undecided = await client(server.addr);
    undecided.write(Uint8Array.of(0x12));
    for (const peer of [silent, undecided]) {
      peer.resume();
      peer.once("end", () => peer.destroy());
    }
    await Promise.all([closed(silent), closed(undecided)]);
    expect(log.warnings[0]).toContain("[ERR_TIMEOUT]");
  });

  test("is closed by a shutdown, which lets what runs end", async () => {
    const gate = new Gate();
    const { server } = await start(async (_, info) => {
      await gate.promise;
      return new Response(info.protocol);
    }, { shutdownTimeout: 5000 });
    const idle = await client(server.addr);
    const gone = closed(idle);
    idle.resume();
    idle.once("end", () => idle.destroy());
    const scgi = (await ScgiClient.open(server.addr)).request();
    await until(() => server.stats.activeRequests === 1);
    const ended = server.shutdown();
    await gone;
    gate.open();
    expect((await scgi.response()).text).toBe("scgi");
    await ended;
  });

  test("is closed quietly when the web server leaves", async () => {
    const { server, log } = await start(() => new Response("never"));
    const peer = await client(server.addr);
    await until(() => server.stats.connections === 1);
    peer.destroy();
    await until(() => server.stats.connections === 0);
    expect(log.warnings).toEqual([]);
  });
});

test("a response that breaks is seen over SCGI here too", async () => {
  const { server } = await start(() => {
    const gate = new Gate();
    setTimeout(() => gate.open(), 30);
    return new Response(
      new ReadableStream({
        async pull(controller) {
          controller.enqueue(new TextEncoder().encode("half"));
          await gate.promise;
          controller.error(new Error("broken"));
        },
      }, { highWaterMark: 0 }),
    );
  });
  const { ended, received } = await readByPerl(server.addr, scgiRequest());
  expect(ended).toBe("reset");
  expect(received).toMatch(/half$/);
});

test("serveConnection takes whichever arrives", async () => {
  const incoming = new TransformStream<Uint8Array, Uint8Array>();
  const outgoing = new TransformStream<Uint8Array, Uint8Array>();
  const connection = serveConnection(
    { readable: incoming.readable, writable: outgoing.writable },
    { protocol: "any" },
    (_, info) => new Response(info.protocol),
  );
  const writer = incoming.writable.getWriter();
  const answer = new Response(outgoing.readable).text();
  await writer.write(scgiRequest());
  await writer.close();
  expect(await answer).toMatch(/^Status: 200 OK\r\n[^]*\r\n\r\nscgi$/);
  await connection.finished;
});

test("the default ports are 4000 for SCGI and 9000 for all", async () => {
  const ports: number[] = [];
  const listen: Listen = ({ port }) => {
    ports.push(port);
    return Promise.reject(new Error("not here"));
  };
  for (const protocol of ["scgi", "any"] as const) {
    await expect(bindServe(protocol, listen)(() => new Response()).ready).rejects.toThrow("not here");
  }
  expect(ports).toEqual([4000, 9000]);
});
