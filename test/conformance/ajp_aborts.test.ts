// A client that goes away: what the handler is told, when, and how often.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import type { Handler, HandlerInfo } from "../../src/types.ts";
import type { AjpClient } from "../support/ajp_client.ts";
import { type AjpFixture, serve } from "../support/ajp_fixture.ts";
import { utf8 } from "../support/hex.ts";
import { delay } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

/** How often each thing happened to one request. */
class Tally {
  aborts = 0;
  reason: unknown;
  completions = 0;
  failures: unknown[] = [];
  cancels: unknown[] = [];

  watch(request: Request, info: HandlerInfo): void {
    request.signal.addEventListener("abort", () => {
      this.aborts++;
      this.reason = request.signal.reason;
    });
    info.completed.then(() => this.completions++, (error) => this.failures.push(error));
  }

  /** Whatever was to happen has happened: nothing of it a second time. */
  async settled(): Promise<void> {
    await until(() => this.completions + this.failures.length > 0, "info.completed");
    await delay(20);
  }
}

async function fixture(
  handler: (request: Request, info: HandlerInfo, tally: Tally) => Response | Promise<Response>,
): Promise<{ server: AjpFixture; client: AjpClient; tally: Tally; running: Gate }> {
  const tally = new Tally();
  const running = new Gate();
  const watched: Handler = (request, info) => {
    tally.watch(request, info);
    running.open();
    return handler(request, info, tally);
  };
  const server = await serve(watched);
  return { server, client: await server.connect(), tally, running };
}

/** A stream that gives one chunk and then nothing, until it is cancelled. */
function endless(tally: Tally): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => controller.enqueue(utf8("first")),
    cancel: (reason) => void tally.cancels.push(reason),
  });
}

async function expectAborted(server: AjpFixture, tally: Tally, code = "ERR_ABORTED"): Promise<void> {
  await tally.settled();
  expect(tally).toMatchObject({ aborts: 1, completions: 0 });
  expect(tally.failures).toHaveLength(1);
  expect(tally.reason).toBeInstanceOf(ProtocolError);
  expect(tally.reason).toMatchObject({ code });
  expect(tally.failures[0]).toBe(tally.reason);
  await until(() => server.server.stats.connections === 0, "the end of the connection");
  expect(server.server.stats.activeRequests).toBe(0);
}

describe("request.signal does not fire, and info.completed resolves", () => {
  for (
    const [what, method, handler] of [
      ["after a GET", "GET", () => new Response("ok")],
      ["after a POST that was read", "POST", async (request) => new Response(await request.text())],
      ["after a POST that was not read", "POST", () => new Response("ok")],
      ["after a POST that was echoed", "POST", (request) => new Response(request.body)],
      ["after a body that was cancelled", "POST", async (request) => {
        await request.body!.cancel();
        return new Response(null, { status: 204 });
      }],
      ["after a stream", "GET", () =>
        new Response(
          new ReadableStream({
            async pull(controller) {
              await delay(2);
              controller.enqueue(utf8("x"));
              controller.close();
            },
          }),
        )],
      ["after an error of the handler", "GET", () => {
        throw new Error("oops");
      }],
    ] as [string, string, Handler][]
  ) {
    test(what, async () => {
      const { server, client, tally } = await fixture(handler);
      client.send({ method }, method === "POST" ? "body" : []);
      expect(await client.readResponse()).toMatchObject({ reuse: true });
      await tally.settled();
      // Not even when the connection ends afterwards.
      client.close();
      await until(() => server.server.stats.connections === 0);
      expect(tally).toMatchObject({ aborts: 0, completions: 1, failures: [] });
    });
  }

  test("looked at only after the response, it is not aborted", async () => {
    const kept = new Gate<Request>();
    const { client } = await fixture((request) => {
      kept.open(request.clone());
      return new Response("ok");
    });
    client.send();
    await client.readResponse();
    expect((await kept.promise).signal.aborted).toBe(false);
  });
});

describe("request.signal fires once when the client goes away", () => {
  test("before the response", async () => {
    const { server, client, tally, running } = await fixture((request) =>
      new Promise((resolve) => request.signal.addEventListener("abort", () => resolve(new Response("too late"))))
    );
    client.send();
    await running.promise;
    client.close();
    await expectAborted(server, tally);
  });

  test("before the response, by half-closing", async () => {
    const { server, client, tally, running } = await fixture(() => new Promise(() => {}));
    client.send();
    await running.promise;
    client.socket.end();
    await expectAborted(server, tally);
    expect(await client.nextPacket()).toBe(null);
  });

  test("before the response, by a reset", async () => {
    const { server, client, tally, running } = await fixture(() => new Promise(() => {}));
    client.send();
    await running.promise;
    client.socket.resetAndDestroy();
    await expectAborted(server, tally);
  });

  test("looked at only afterwards, it is aborted already", async () => {
    const go = new Gate();
    const signal = new Gate<AbortSignal>();
    const running = new Gate();
    const server = await serve(async (request) => {
      running.open();
      await go.promise;
      signal.open(request.signal);
      return new Response("too late");
    });
    const client = await server.connect();
    client.send();
    await running.promise;
    client.close();
    await until(() => server.server.stats.connections === 0);
    go.open();
    expect(await signal.promise).toMatchObject({ aborted: true, reason: { code: "ERR_ABORTED" } });
  });

  test("while the handler waits for the body, which fails with a ProtocolError", async () => {
    const failure = new Gate<unknown>();
    const { server, client, tally } = await fixture(async (request) => {
      failure.open(await request.text().catch((error) => error));
      return new Response("too late");
    });
    client.send({ method: "POST", length: "chunked" });
    expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
    client.sendData("part");
    expect(await client.nextPacket()).toMatchObject({ type: "GetBodyChunk" });
    client.close();
    expect(await failure.promise).toBeInstanceOf(ProtocolError);
    await expectAborted(server, tally);
    expect(tally.reason).toBe(await failure.promise);
  });

  test("in the middle of a packet of the body", async () => {
    const failure = new Gate<unknown>();
    const { server, client, tally, running } = await fixture(async (request) => {
      failure.open(await request.arrayBuffer().catch((error) => error));
      return new Response("too late");
    });
    client.send({ method: "POST", length: 10 });
    await running.promise;
    client.write(Uint8Array.of(0x12, 0x34, 0, 12, 0, 10, 65, 66));
    client.socket.end();
    expect(await failure.promise).toMatchObject({ code: "ERR_ABORTED" });
    await expectAborted(server, tally);
  });

  test("after the body was read", async () => {
    const { server, client, tally } = await fixture(async (request) => {
      client.close();
      await request.text();
      return await new Promise(() => {});
    });
    client.send({ method: "POST" }, "body");
    await expectAborted(server, tally);
  });

  test("with the body unread: reading it then fails", async () => {
    const go = new Gate();
    const failure = new Gate<unknown>();
    const { server, client, tally, running } = await fixture(async (request) => {
      await go.promise;
      failure.open(await request.text().catch((error) => error));
      return new Response("too late");
    });
    client.send({ method: "POST" }, "body");
    await running.promise;
    client.close();
    await expectAborted(server, tally);
    go.open();
    expect(await failure.promise).toMatchObject({ code: "ERR_ABORTED" });
  });

  test("while the response is sent, whose stream is cancelled", async () => {
    const { server, client, tally } = await fixture((_request, _info, tally) => new Response(endless(tally)));
    client.send();
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders" });
    client.close();
    await expectAborted(server, tally);
    expect(tally.cancels).toEqual([tally.reason]);
  });

  test("while a generator waits, whose finally runs", async () => {
    let finallyRan = 0;
    const { server, client, tally } = await fixture(() => {
      const wake = new Gate();
      async function* generate(): AsyncGenerator<Uint8Array> {
        try {
          for (let i = 0;; i++) {
            yield utf8(`${i}`);
            await Promise.race([wake.promise, delay(5)]);
          }
        } finally {
          finallyRan++;
        }
      }
      const generator = generate();
      return new Response(
        new ReadableStream({
          async pull(controller) {
            const { value, done } = await generator.next();
            if (done) controller.close();
            else controller.enqueue(value);
          },
          async cancel() {
            wake.open();
            await generator.return(undefined);
          },
        }),
      );
    });
    client.send();
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders" });
    client.close();
    await expectAborted(server, tally);
    await until(() => finallyRan > 0);
    expect(finallyRan).toBe(1);
  });

  test("while the web server does not read the response", async () => {
    const { server, client, tally, running } = await fixture((_request, _info, tally) =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(65536)),
          cancel: (reason) => void tally.cancels.push(reason),
        }),
      )
    );
    client.send();
    client.pause();
    await running.promise;
    await delay(50);
    client.close();
    await expectAborted(server, tally);
    expect(tally.cancels).toHaveLength(1);
  });

  test("while the end is held back for a packet that is owed", async () => {
    const { server, client, tally } = await fixture(() => new Response("early"));
    client.send({ method: "POST", length: 5 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders" });
    client.close();
    await expectAborted(server, tally);
  });
});

describe("a handler whose client is gone", () => {
  test("answers into the void: the body of its response is cancelled", async () => {
    const go = new Gate();
    const { server, client, tally, running } = await fixture(async (_request, _info, tally) => {
      await go.promise;
      return new Response(endless(tally));
    });
    client.send();
    await running.promise;
    client.close();
    await expectAborted(server, tally);
    go.open();
    await until(() => tally.cancels.length > 0);
    expect(server.log.errors).toEqual([]);
  });

  test("throws into the void: nobody is troubled", async () => {
    const go = new Gate();
    const { server, client, tally, running } = await fixture(async () => {
      await go.promise;
      throw new Error("gone too");
    });
    client.send();
    await running.promise;
    client.close();
    await expectAborted(server, tally);
    go.open();
    await delay(10);
    expect(server.server.stats.handlerErrors).toBe(0);
  });

  test("that passes its signal on to fetch-like work stops that", async () => {
    const { server, client, tally, running } = await fixture(async ({ signal }) => {
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      return new Response("never");
    });
    client.send();
    await running.promise;
    client.close();
    await expectAborted(server, tally);
    expect(server.log.errors).toEqual([]);
    expect(await (await server.connect()).cping()).toBe(undefined);
  });
});
