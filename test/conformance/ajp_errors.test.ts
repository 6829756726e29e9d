// Handlers that fail, each in its own way: what the web server and the operator are told.
import { describe, expect, test } from "vitest";
import type { Handler, ServeAjpOptions } from "../../src/types.ts";
import type { AjpRequest, AjpResponse } from "../support/ajp_client.ts";
import { type AjpFixture, serve } from "../support/ajp_fixture.ts";
import { utf8 } from "../support/hex.ts";
import { delay } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const SECRET = "the database password is hunter2";

/** One response, and whether the server still serves after it. */
async function answered(
  handler: Handler,
  options: ServeAjpOptions = {},
  request: AjpRequest = {},
): Promise<{ response: AjpResponse; server: AjpFixture }> {
  const server = await serve((request, info) => {
    return request.url.endsWith("/health") ? new Response("well") : handler(request, info);
  }, options);
  const client = await server.connect();
  client.send(request);
  const response = await client.readResponse();
  if (response.reuse) {
    await client.cping();
    client.send({ uri: "/health" });
    expect((await client.readResponse()).text).toBe("well");
  } else {
    expect(await client.nextPacket()).toBe(null);
  }
  expect((await server.fetch({ uri: "/health" })).text).toBe("well");
  expect(server.server.stats.activeRequests).toBe(0);
  return { response, server };
}

function expectPlain500({ response, server }: { response: AjpResponse; server: AjpFixture }): void {
  expect(response).toMatchObject({ status: 500, reason: "Internal Server Error", reuse: true });
  expect(response.text).toBe("500 Internal Server Error\n");
  expect(response.header("content-type")).toMatch(/^text\/plain/);
  expect(JSON.stringify(response)).not.toContain("hunter2");
  expect(server.server.stats.handlerErrors).toBe(1);
  expect(server.log.errors).toHaveLength(1);
}

function streamThatFails(chunks: string[], ...errors: unknown[]): ReadableStream<Uint8Array> {
  const error = errors.length > 0 ? errors[0] : new Error(SECRET);
  return new ReadableStream({
    async pull(controller) {
      const chunk = chunks.shift();
      await delay(2);
      if (chunk === undefined) controller.error(error);
      else controller.enqueue(utf8(chunk));
    },
  });
}

describe("a handler that fails before the head is a plain 500 that tells nothing", () => {
  const error = new Error(SECRET);
  const used = async (): Promise<Response> => {
    const response = new Response(SECRET);
    await response.text();
    return response;
  };
  for (
    const [what, handler] of [
      ["throws", () => {
        throw error;
      }],
      ["rejects", () => Promise.reject(error)],
      ["throws a string", () => {
        throw SECRET;
      }],
      ["throws undefined", () => {
        throw undefined;
      }],
      ["throws an object without a prototype", () => {
        throw Object.create(null);
      }],
      ["throws a ProtocolError's look-alike", () => {
        throw Object.assign(new Error(SECRET), { statusHint: 200, initiator: "peer" });
      }],
      ["returns undefined", () => undefined],
      ["returns null", () => null],
      ["returns a string", () => SECRET],
      ["returns an object", () => ({ status: "200" })],
      ["resolves with undefined", () => Promise.resolve(undefined)],
      ["returns Response.error()", () => Response.error()],
      ["returns a thenable that throws", () => ({
        then() {
          throw error;
        },
      })],
      ["returns something whose then cannot be looked at", () => ({
        get then() {
          throw error;
        },
      })],
      ["returns an interim response", () => Object.defineProperty(new Response(null), "status", { value: 103 })],
      ["returns headers that throw", () =>
        Object.defineProperty(new Response(SECRET), "headers", {
          get() {
            throw error;
          },
        })],
      ["returns a used body", used],
      ["returns a locked body", () => {
        const response = new Response(SECRET);
        response.body!.getReader();
        return response;
      }],
      ["returns a stream that fails at once", () => new Response(new ReadableStream({ start: (c) => c.error(error) }))],
      ["returns a stream that throws in pull", () =>
        new Response(
          new ReadableStream({
            pull() {
              throw error;
            },
          }),
        )],
      [
        "returns a Content-Length beyond its body",
        () => new Response(SECRET, { headers: { "content-length": "1000" } }),
      ],
      [
        "returns headers too large for a packet",
        () => new Response("x", { headers: { "x-large": SECRET.repeat(300) } }),
      ],
      [
        "returns headers too large, and a slow stream",
        () => new Response(streamThatFails(["a", "b"]), { headers: { "x-large": SECRET.repeat(300) } }),
      ],
    ] as [string, (...args: unknown[]) => unknown][]
  ) {
    test(what, async () => expectPlain500(await answered(handler as Handler)));
  }

  test("a chunk that is no Uint8Array", async () => {
    // Bun takes strings itself, as an extension.
    for (const chunk of [42, { length: 3 }]) {
      const { response } = await answered(() =>
        new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(chunk as unknown as Uint8Array);
              controller.close();
            },
          }),
        )
      );
      expect(response).toMatchObject({ status: 500, reuse: true });
    }
  });

  test("headers too large: the log names what to raise", async () => {
    const { server } = await answered(() => new Response("x", { headers: { "x-large": "x".repeat(9000) } }));
    expect(String(server.log.errors[0]![1])).toMatch(/packetSize.*ProxyIOBufferSize.*max_packet_size/);
  });

  test("the error itself goes to the log", async () => {
    const { server } = await answered(() => Promise.reject(error));
    expect(server.log.errors[0]).toContain(error);
  });

  test("with a body that is owed, the end waits for it", async () => {
    const server = await serve(() => {
      throw error;
    });
    const client = await server.connect();
    client.send({ method: "POST", length: 5 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders", status: 500 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendBodyChunk" });
    await delay(10);
    expect(client.unread).toBe(0);
    client.sendData("hello");
    expect(await client.nextPacket()).toEqual({ type: "EndResponse", reuse: true });
  });

  test("with HEAD there is no body", async () => {
    const { response } = await answered(() => Promise.reject(error), {}, { method: "HEAD" });
    expect(response).toMatchObject({ status: 500, reuse: true, packets: ["SendHeaders", "EndResponse"] });
  });
});

describe("a response that breaks after its head has no End Response", () => {
  for (
    const [what, make] of [
      ["a stream that fails", () => new Response(streamThatFails(["a", "b"]))],
      ["a stream that fails with undefined", () => new Response(streamThatFails(["a"], undefined))],
      ["a body shorter than its Content-Length", () => {
        const chunks = ["a", "b"];
        const body = new ReadableStream({
          async pull(controller) {
            await delay(2);
            const chunk = chunks.shift();
            if (chunk === undefined) controller.close();
            else controller.enqueue(utf8(chunk));
          },
        });
        return new Response(body, { headers: { "content-length": "3" } });
      }],
    ] as [string, () => Response][]
  ) {
    test(what, async () => {
      const completed = new Gate<unknown>();
      const { response, server } = await answered((_, info) => {
        info.completed.then(() => completed.open("resolved"), (error) => completed.open(error));
        return make();
      });
      expect(response).toMatchObject({ status: 200, reuse: undefined });
      // What was held when it broke is lost.
      expect(response.text).toMatch(/^a?b?$/);
      expect(server.server.stats.handlerErrors).toBe(1);
      expect(server.log.errors).toHaveLength(1);
      expect(await completed.promise).not.toBe("resolved");
    });
  }

  test("a chunk that is no Uint8Array", async () => {
    const { response } = await answered(() =>
      new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(utf8("a"));
            await delay(10);
            controller.enqueue(42 as unknown as Uint8Array);
          },
        }),
      )
    );
    expect(response).toMatchObject({ status: 200, text: expect.stringMatching(/^a?$/), reuse: undefined });
  });

  test("onError is told, and what it returns is ignored", async () => {
    const errors: unknown[] = [];
    const { response, server } = await answered(() => new Response(streamThatFails(["a"])), {
      onError(error) {
        errors.push(error);
        return new Response("ignored");
      },
    });
    expect(response).toMatchObject({ status: 200, text: expect.stringMatching(/^a?$/), reuse: undefined });
    expect(errors).toMatchObject([{ message: SECRET }]);
    expect(server.log.errors).toEqual([]);
  });
});

describe("a body longer than its Content-Length", () => {
  test("is cut there, and the connection ends", async () => {
    const cancelled = new Gate();
    const { response, server } = await answered(() =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(utf8("hello")),
          cancel: () => cancelled.open(),
        }),
        { headers: { "content-length": "8" } },
      )
    );
    expect(response).toMatchObject({ status: 200, text: "hellohel", reuse: false });
    await cancelled.promise;
    expect(server.server.stats.handlerErrors).toBe(1);
  });

  test("at hand is cut there too", async () => {
    const { response } = await answered(() => new Response("hello", { headers: { "content-length": "3" } }));
    expect(response).toMatchObject({ status: 200, text: "hel", reuse: false });
    expect(response.header("content-length")).toBe("3");
  });
});

describe("onError", () => {
  test("gives the response", async () => {
    const seen: unknown[] = [];
    const error = new Error(SECRET);
    const { response, server } = await answered(() => Promise.reject(error), {
      onError(error) {
        seen.push(error);
        return Response.json({ sorry: true }, { status: 503, headers: { "retry-after": "1" } });
      },
    });
    expect(response).toMatchObject({ status: 503, text: '{"sorry":true}', reuse: true });
    expect(response.header("retry-after")).toBe("1");
    expect(seen).toEqual([error]);
    expect(server.log.errors).toEqual([]);
    expect(server.server.stats.handlerErrors).toBe(1);
  });

  test("may be asynchronous, and answer with a stream", async () => {
    const { response } = await answered(() => Promise.reject(new Error(SECRET)), {
      async onError() {
        await delay(5);
        return new Response(
          new ReadableStream({
            async pull(controller) {
              await delay(5);
              controller.enqueue(utf8("streamed"));
              controller.close();
            },
          }),
          { status: 502 },
        );
      },
    });
    expect(response).toMatchObject({ status: 502, text: "streamed", reuse: true });
  });

  for (
    const [what, onError] of [
      ["throws", () => {
        throw new Error(SECRET);
      }],
      ["rejects", () => Promise.reject(new Error(SECRET))],
      ["returns nothing", () => undefined],
      [
        "returns a stream that fails",
        () => new Response(new ReadableStream({ start: (c) => c.error(new Error(SECRET)) })),
      ],
      ["returns headers too large", () => new Response("x", { headers: { "x-large": "x".repeat(9000) } })],
    ] as [string, () => Response][]
  ) {
    test(`that ${what} is a plain 500`, async () => {
      const { response } = await answered(() => Promise.reject(new Error(SECRET)), { onError });
      expect(response).toMatchObject({ status: 500, text: "500 Internal Server Error\n", reuse: true });
      expect(JSON.stringify(response)).not.toContain("hunter2");
    });
  }

  test("is asked when a slow response turns out to have headers too large", async () => {
    const { response } = await answered(
      () => new Response(streamThatFails(["a", "b"]), { headers: { "x-large": "x".repeat(9000) } }),
      {
        async onError() {
          await delay(10);
          return new Response("sorry", { status: 507 });
        },
      },
    );
    expect(response).toMatchObject({ status: 507, text: "sorry", reuse: true });
  });

  test("answers although the body of the request is still owed", async () => {
    const server = await serve(() => new Response("x", { headers: { "x-large": "x".repeat(9000) } }), {
      onError: () => new Response("sorry", { status: 507 }),
    });
    const client = await server.connect();
    client.send({ method: "POST", length: 5 });
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders", status: 507 });
    expect(await client.nextPacket()).toEqual({ type: "SendBodyChunk", data: utf8("sorry") });
    client.sendData("hello");
    expect(await client.nextPacket()).toEqual({ type: "EndResponse", reuse: true });
    await client.cping();
  });

  test("is not asked when the client has gone away", async () => {
    let asked = 0;
    const running = new Gate();
    const server = await serve(({ signal }) => {
      running.open();
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    }, {
      onError() {
        asked++;
        return new Response("x");
      },
    });
    const client = await server.connect();
    client.send();
    await running.promise;
    client.close();
    await until(() => server.server.stats.connections === 0);
    await delay(5);
    expect(asked).toBe(0);
  });
});

describe("a broken packet while the end of the response is held back for it", () => {
  for (
    const [what, request, handler] of [
      ["after a response without a body", {}, () => new Response(null, { status: 204 })],
      ["after a response with a body", {}, () => new Response("early")],
      ["after a plain 500", {}, () => Promise.reject(new Error(SECRET))],
      ["after a 405 without the handler", { method: "TRACE" }, () => new Response("never")],
    ] as [string, AjpRequest, Handler][]
  ) {
    test(`${what}: the connection is closed and nothing else said`, async () => {
      const server = await serve(handler);
      const client = await server.connect();
      client.send({ method: "POST", ...request, length: 5 });
      const head = await client.nextPacket();
      expect(head).toMatchObject({ type: "SendHeaders" });
      client.write(Uint8Array.of(0x12, 0x34, 0, 1, 5));
      for (let packet = await client.nextPacket(); packet !== null; packet = await client.nextPacket()) {
        expect(packet.type).toBe("SendBodyChunk");
      }
      await until(() => server.server.stats.connections === 0, "the end of the connection");
      expect(server.server.stats.activeRequests).toBe(0);
    });
  }
});
