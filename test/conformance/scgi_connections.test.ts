// How an SCGI connection ends: departures, failures, time limits, shutdown.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import type { Handler } from "../../src/types.ts";
import { readByPerl } from "../support/perl_reader.ts";
import { type ScgiClient, scgiHead, scgiRequest } from "../support/scgi_client.ts";
import { serve } from "../support/scgi_fixture.ts";
import { delay, pattern, sha, stillness } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const POST = { REQUEST_METHOD: "POST" };

function codeOf(error: unknown): string {
  return error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`;
}

interface Witness {
  signals: string[];
  body: Promise<string> | undefined;
  cancelled: unknown[];
  completed: Promise<string> | undefined;
}

/** A handler that answers `/stream` with an endless body and waits otherwise, and what it is told. */
function witnessed(): { witness: Witness; handler: Handler } {
  const witness: Witness = { signals: [], body: undefined, cancelled: [], completed: undefined };
  return {
    witness,
    handler(request, info) {
      request.signal.addEventListener("abort", () => witness.signals.push(codeOf(request.signal.reason)));
      witness.completed = info.completed.then(() => "completed", codeOf);
      if (request.body !== null) witness.body = request.text().then(() => "whole", codeOf);
      if (!request.url.endsWith("/stream")) return new Promise<Response>(() => {});
      return new Response(
        new ReadableStream({
          async pull(controller) {
            controller.enqueue(new TextEncoder().encode("piece"));
            await delay(5);
          },
          cancel: (reason) => void witness.cancelled.push(codeOf(reason)),
        }),
      );
    },
  };
}

describe("a web server that leaves", () => {
  const RESET: [string, (client: ScgiClient) => void] = ["by a reset", (client) => client.socket.resetAndDestroy()];
  const CLOSE: [string, (client: ScgiClient) => void] = ["by closing", (client) => client.close()];

  test.each([RESET])("%s while the handler waits: signal once", async (_, leave) => {
    const { witness, handler } = witnessed();
    const { server, connect } = await serve(handler);
    const client = (await connect()).request();
    await until(() => witness.completed !== undefined);
    leave(client);
    expect(await witness.completed).toBe("ERR_ABORTED");
    await until(() => server.stats.connections === 0);
    expect(witness.signals).toEqual(["ERR_ABORTED"]);
    expect(server.stats.activeRequests).toBe(0);
  });

  test.each([RESET, CLOSE])(
    "%s in the middle of the response: signal once, its stream is cancelled",
    async (_, leave) => {
      const { witness, handler } = witnessed();
      const { server, connect } = await serve(handler);
      const client = (await connect()).request({ REQUEST_URI: "/stream" });
      await client.until("piece");
      leave(client);
      await until(() => witness.cancelled.length > 0);
      expect(await witness.completed).toBe("ERR_ABORTED");
      await until(() => server.stats.connections === 0);
      expect(witness.cancelled).toEqual(["ERR_ABORTED"]);
      expect(witness.signals).toEqual(["ERR_ABORTED"]);
    },
  );

  test.each([RESET, CLOSE])("%s in the middle of the body: signal once, the body breaks", async (_, leave) => {
    const { witness, handler } = witnessed();
    const { server, connect } = await serve(handler);
    const client = (await connect()).send(scgiHead(100, POST), "half");
    await until(() => witness.body !== undefined);
    leave(client);
    expect(await witness.body).toMatch(/^ERR_(ABORTED|BODY_TRUNCATED)$/);
    await until(() => server.stats.connections === 0);
    expect(witness.signals).toHaveLength(1);
    expect(server.stats.activeRequests).toBe(0);
  });

  test.each([RESET, CLOSE])("%s in the middle of the head: nothing happens", async (_, leave) => {
    const { server, connect, fetch, log } = await serve(() => new Response("fine"));
    const client = (await connect()).send(scgiRequest().subarray(0, 50));
    await until(() => server.stats.bytesReceived === 50);
    leave(client);
    await until(() => server.stats.connections === 0);
    expect(server.stats.totalRequests).toBe(0);
    expect(log.warnings).toEqual([]);
    expect((await fetch()).text).toBe("fine");
  });

  test("after the response: no signal", async () => {
    let signal: AbortSignal | undefined;
    const { server, fetch } = await serve((request) => {
      ({ signal } = request);
      return new Response("x");
    });
    expect((await fetch()).text).toBe("x");
    await until(() => server.stats.connections === 0);
    expect(signal!.aborted).toBe(false);
  });
});

describe("a handler that fails", () => {
  const SECRET = "the secret plan";

  test.each<[string, Handler]>([
    ["throws", () => {
      throw new Error(SECRET);
    }],
    ["rejects", () => Promise.reject(new Error(SECRET))],
    ["returns nothing", () => undefined as unknown as Response],
    [
      "returns a body that breaks at once",
      () => new Response(new ReadableStream({ pull: () => Promise.reject(new Error(SECRET)) }, { highWaterMark: 0 })),
    ],
    ["returns less than its content-length", () => new Response("1234", { headers: { "content-length": "10" } })],
  ])("%s: a plain 500 that tells nothing", async (_, handler) => {
    const { fetch, log } = await serve(handler);
    const response = await fetch();
    expect(response).toMatchObject({ status: 500, text: "500 Internal Server Error\n" });
    expect(JSON.stringify(response)).not.toContain("secret");
    expect(log.errors).toHaveLength(1);
  });

  test("onError answers instead", async () => {
    const { fetch } = await serve(() => Promise.reject(new Error("no")), {
      onError: (error) => new Response(`sorry: ${(error as Error).message}`, { status: 503 }),
    });
    expect(await fetch()).toMatchObject({ status: 503, text: "sorry: no" });
  });

  test("a body longer than its content-length is cut there", async () => {
    const { fetch, log } = await serve(() => new Response("1234567890", { headers: { "content-length": "4" } }));
    expect(await fetch()).toMatchObject({ status: 200, text: "1234" });
    expect(log.errors).toHaveLength(1);
  });
});

/** Gives half of a body, and goes wrong once that has been sent. */
function halfBody(how: "close" | "error"): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      controller.enqueue(new TextEncoder().encode("half"));
      await delay(30);
      if (how === "close") controller.close();
      else controller.error(new Error("broken"));
    },
  }, { highWaterMark: 0 });
}

describe("a response that breaks after its head", () => {
  test.each<[string, () => Response]>([
    ["its stream fails", () => new Response(halfBody("error"))],
    [
      "it is shorter than its content-length",
      () => new Response(halfBody("close"), { headers: { "content-length": "100" } }),
    ],
  ])("%s: the connection is reset", async (_, handler) => {
    let completed: Promise<string> | undefined;
    const { addr, server, log } = await serve((_, info) => {
      completed = info.completed.then(() => "completed", codeOf);
      return handler();
    });
    const { ended, received } = await readByPerl(addr, scgiRequest());
    expect(ended).toBe("reset");
    expect(received).toMatch(/^Status: 200 OK\r\n[^]*half$/);
    expect(await completed).toBe("ERR_BAD_RESPONSE");
    expect(log.errors).toHaveLength(1);
    await until(() => server.stats.connections === 0);
  });

  test("one that does not break ends with FIN", async () => {
    const { addr } = await serve(() => new Response(halfBody("close")));
    expect(await readByPerl(addr, scgiRequest())).toEqual({
      ended: "end",
      received: expect.stringMatching(/^Status: 200 OK\r\n[^]*half$/),
    });
  });

  test("on a unix socket, which knows no reset, it ends all the same", async () => {
    const folder = mkdtempSync(join(tmpdir(), "isthmus-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const { addr, server } = await serve(() => new Response(halfBody("error")), { path: join(folder, "s") });
    const { received } = await readByPerl(addr, scgiRequest());
    expect(received).toMatch(/half$/);
    await until(() => server.stats.connections === 0);
  });

  test("a request body that breaks in the middle of an echo resets as well", async () => {
    const { connect, server } = await serve((request) => new Response(request.body));
    const client = (await connect()).send(scgiHead(10, POST), "12345");
    await client.until("12345");
    client.socket.end();
    await client.closed();
    expect(new TextDecoder().decode(client.received)).toMatch(/12345$/);
    await until(() => server.stats.connections === 0);
  });
});

describe("time limits", () => {
  const LIMIT = 400;

  test("headTimeout runs from the accept and is not put off by a byte now and then", async () => {
    const { connect, log } = await serve(() => new Response("never"), { headTimeout: LIMIT });
    const silent = await connect();
    const slow = await connect();
    const bytes = scgiRequest();
    let at = 0;
    const timer = setInterval(() => slow.send(bytes.subarray(at, ++at)), LIMIT / 4);
    onTestFinished(() => clearInterval(timer));
    await Promise.all([silent.closed(), slow.closed()]);
    expect(at).toBeLessThan(bytes.length);
    expect(silent.bytesReceived + slow.bytesReceived).toBe(0);
    expect(log.warnings[0]).toContain("[ERR_TIMEOUT]");
  });

  test("bodyTimeout: 408, and the reader gets the reason", async () => {
    let read: Promise<string> | undefined;
    const { connect } = await serve(async (request) => new Response(await (read = request.text())), {
      bodyTimeout: LIMIT,
    });
    const client = (await connect()).send(scgiHead(10, POST), "half");
    expect((await client.response()).status).toBe(408);
    expect(await read!.then(() => "whole", codeOf)).toBe("ERR_TIMEOUT");
  });

  test("bodyTimeout starts anew with each piece, and waits only for what was asked for", async () => {
    const gate = new Gate();
    const { server, connect } = await serve(async (request) => {
      await gate.promise;
      return new Response(await request.text());
    }, { bodyTimeout: 1200 });
    const client = (await connect()).send(scgiHead(90, POST));
    // Nobody reads yet, so nothing is late.
    await stillness(() => server.stats.bytesReceived, 2000);
    gate.open();
    // Longer than the limit in all, and each piece so much shorter that a busy machine does not matter.
    for (let n = 0; n < 15; n++) {
      client.send("piece ");
      await delay(100);
    }
    expect((await client.response()).text).toBe("piece ".repeat(15));
  });

  test("writeTimeout: a web server that does not read is given up", async () => {
    let cancelled = 0;
    const { connect } = await serve(() =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
          cancel: () => void cancelled++,
        }, { highWaterMark: 0 }),
      ), { writeTimeout: LIMIT });
    const client = await connect();
    client.socket.pause();
    client.request();
    await until(() => cancelled === 1);
  });
});

describe("the end of a connection", () => {
  test("all of the answer arrives, although the web server still sends 5 MB", async () => {
    const answer = pattern(300_000);
    const { connect } = await serve(() => new Response(answer as Uint8Array<ArrayBuffer>));
    const client = await connect();
    client.socket.pause();
    await new Promise<void>((resolve) => client.request(POST, pattern(5_000_000)).socket.end(resolve));
    client.socket.resume();
    expect(sha((await client.response()).body)).toBe(sha(answer));
  });

  test("a web server that does not close its side is left behind before long", async () => {
    const { server, connect } = await serve(() => new Response("x"));
    const client = (await connect()).request();
    await client.ended;
    await until(() => server.stats.connections === 0);
  });

  test("shutdown closes what is idle and lets the request that runs end", async () => {
    const gate = new Gate();
    let started = 0;
    const { server, connect } = await serve(async () => {
      started++;
      await gate.promise;
      return new Response("finished");
    }, { shutdownTimeout: 5000 });
    const idle = await connect();
    const busy = (await connect()).request();
    const begun = (await connect()).send(scgiRequest().subarray(0, 3));
    await until(() => started === 1 && server.stats.bytesReceived === scgiRequest().length + 3);
    const ended = server.shutdown();
    await idle.closed();
    gate.open();
    expect((await busy.response()).text).toBe("finished");
    // One that has begun is taken.
    begun.send(scgiRequest().subarray(3));
    expect((await begun.response()).text).toBe("finished");
    await ended;
  });

  test("shutdown cuts off what shutdownTimeout leaves", async () => {
    const { witness, handler } = witnessed();
    const { server, connect } = await serve(handler, { shutdownTimeout: 50 });
    const client = (await connect()).request();
    await until(() => witness.completed !== undefined);
    await server.shutdown();
    await client.closed();
    expect(witness.signals).toEqual(["ERR_SHUTDOWN"]);
  });
});
