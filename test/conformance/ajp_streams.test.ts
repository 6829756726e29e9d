// Streamed responses through real sockets: each piece at once, and no faster than the web server reads.
import { describe, expect, test } from "vitest";
import type { AjpResponse } from "../support/ajp_client.ts";
import { serve } from "../support/ajp_fixture.ts";
import { utf8 } from "../support/hex.ts";
import { delay, stillness } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

/** A response of one stream, after which the connection must still be good. */
async function streamed(body: ReadableStream<Uint8Array>): Promise<AjpResponse> {
  const server = await serve(() => new Response(body));
  const client = await server.connect();
  client.send();
  const response = await client.readResponse();
  expect(response.reuse).toBe(true);
  await client.cping();
  return response;
}

describe("response stream", () => {
  test("each chunk leaves at once, with one flush", async () => {
    const gates = Array.from({ length: 3 }, () => new Gate());
    const server = await serve(() =>
      new Response(
        new ReadableStream({
          async start(controller) {
            for (const [i, gate] of gates.entries()) {
              controller.enqueue(utf8(`data: ${i}\n\n`));
              await gate.promise;
            }
            controller.close();
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      )
    );
    const client = await server.connect();
    client.send();
    const head = await client.nextPacket();
    expect(head).toMatchObject({ type: "SendHeaders", headers: [["content-type", "text/event-stream"]] });
    for (const [i, gate] of gates.entries()) {
      expect(await client.nextPacket()).toEqual({ type: "SendBodyChunk", data: utf8(`data: ${i}\n\n`) });
      expect(await client.nextPacket()).toEqual({ type: "SendBodyChunk", data: utf8("") });
      await delay(10);
      expect(client.unread).toBe(0);
      gate.open();
    }
    expect(await client.nextPacket()).toEqual({ type: "EndResponse", reuse: true });
    await client.cping();
  });

  test("the head leaves although the first chunk is slow", async () => {
    const gate = new Gate();
    const server = await serve(() =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await gate.promise;
            controller.enqueue(utf8("late"));
            controller.close();
          },
        }),
      )
    );
    const client = await server.connect();
    client.send();
    expect(await client.nextPacket()).toMatchObject({ type: "SendHeaders" });
    expect(await client.nextPacket()).toEqual({ type: "SendBodyChunk", data: utf8("") });
    gate.open();
    const response = await client.nextPacket();
    expect(response).toEqual({ type: "SendBodyChunk", data: utf8("late") });
  });

  test("of chunks that are at hand leaves without a flush", async () => {
    const response = await streamed(
      new ReadableStream({
        start(controller) {
          for (let i = 0; i < 100; i++) controller.enqueue(utf8(`${i} `));
          controller.close();
        },
      }),
    );
    expect(response.flushes).toBe(0);
    expect(response.text.split(" ")).toHaveLength(101);
    expect(response.header("content-length")).toBe(String(response.body.length));
  });

  test("with empty chunks sends no packet for them that would be a flush", async () => {
    const response = await streamed(
      new ReadableStream({
        start(controller) {
          for (const text of ["", "a", "", "", "b", ""]) controller.enqueue(utf8(text));
          controller.close();
        },
      }),
    );
    expect(response).toMatchObject({ text: "ab", flushes: 0 });
  });

  test("a generator is read to its end", async () => {
    let finallyRan = 0;
    async function* generate(): AsyncGenerator<Uint8Array> {
      try {
        for (let i = 0; i < 5; i++) {
          await delay(1);
          yield utf8(`${i}`);
        }
      } finally {
        finallyRan++;
      }
    }
    const response = await streamed(streamOf(generate()));
    expect(response.text).toBe("01234");
    expect(finallyRan).toBe(1);
  });

  test("handlers that answer at different speeds do not wait for each other", async () => {
    const gate = new Gate();
    const server = await serve(async (request) => {
      if (request.url.endsWith("/slow")) await gate.promise;
      return new Response(new URL(request.url).pathname);
    });
    const slow = server.fetch({ uri: "/slow" });
    for (let i = 0; i < 10; i++) expect((await server.fetch({ uri: `/${i}` })).text).toBe(`/${i}`);
    gate.open();
    expect((await slow).text).toBe("/slow");
  });
});

describe("response stream, to a web server that does not read", () => {
  const CHUNK = 65536;
  const COUNT = 3200;
  /** More than the systems' buffers at both ends hold. */
  const MOST = 24 * 1024 * 1024 / CHUNK;

  for (
    const [kind, make] of [
      ["pulled", (chunk: Uint8Array, count: () => boolean) =>
        new ReadableStream({
          pull(controller) {
            if (count()) controller.enqueue(chunk);
            else controller.close();
          },
        })],
      ["pulled slowly", (chunk: Uint8Array, count: () => boolean) =>
        new ReadableStream({
          async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 0));
            for (let i = 0; i < 16; i++) {
              if (!count()) return controller.close();
              controller.enqueue(chunk.subarray(i * 4096, (i + 1) * 4096));
            }
          },
        })],
    ] as const
  ) {
    // 200 MB would be produced if nothing stopped it.
    const size = kind === "pulled" ? 1 : 16;
    test(`${kind}: it is stopped, goes on after it, and comes whole`, async () => {
      let pulls = 0;
      let most = COUNT * size;
      const chunk = new Uint8Array(CHUNK).fill(7);
      const server = await serve(() => new Response(make(chunk, () => pulls < most && ++pulls > 0)));
      const client = await server.connect();
      client.send();
      client.pause();
      await until(() => pulls > 0);
      const stopped = await stillness(() => pulls, 150);
      expect(stopped).toBeLessThan(MOST * size);
      most = stopped + 200 * size;
      let length = 0;
      client.resume();
      for (let packet = await client.nextPacket();; packet = await client.nextPacket()) {
        if (packet?.type === "SendBodyChunk") length += packet.data.length;
        else if (packet?.type !== "SendHeaders") {
          expect(packet).toEqual({ type: "EndResponse", reuse: true });
          break;
        }
      }
      expect(pulls).toBe(most);
      expect(length).toBe(most / size * CHUNK);
    }, 15_000);
  }

  test("other connections are served meanwhile", async () => {
    const server = await serve((request) =>
      request.url.endsWith("/big") ? new Response(new Uint8Array(64 * 1024 * 1024)) : new Response("small")
    );
    const stuck = await server.connect();
    stuck.send({ uri: "/big" });
    stuck.pause();
    for (let i = 0; i < 20; i++) expect((await server.fetch()).text).toBe("small");
  });

  test("writeTimeout does not run out on one that reads slowly but steadily", async () => {
    // All of it takes longer than the limit, each part of it much less.
    const body = new Uint8Array(64 * 1024 * 1024);
    const server = await serve(() => new Response(body), { writeTimeout: 1000 });
    const client = await server.connect();
    client.send();
    let received = 0;
    client.socket.on("data", (chunk: Uint8Array) => {
      received += chunk.length;
      if (received < 2 * 1024 * 1024) return;
      received = 0;
      client.pause();
      setTimeout(() => client.resume(), 50);
    });
    const response = await client.readResponse();
    expect(response).toMatchObject({ status: 200, reuse: true });
    expect(response.body).toHaveLength(body.length);
  });

  test("writeTimeout gives it up, and cancels the stream", async () => {
    const cancelled = new Gate<unknown>();
    const server = await serve(() =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(CHUNK)),
          cancel: (reason) => cancelled.open(reason),
        }),
      ), { writeTimeout: 100 });
    const client = await server.connect();
    client.send();
    client.pause();
    expect(await cancelled.promise).toMatchObject({ code: "ERR_TIMEOUT" });
    await until(() => server.server.stats.connections === 0);
    expect(server.server.stats.activeRequests).toBe(0);
  });
});

function streamOf(generator: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await generator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await generator.return(undefined);
    },
  });
}
