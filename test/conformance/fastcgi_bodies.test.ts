// Bodies in both directions: whole, broken, and faster than the other end takes them.
import { describe, expect, test } from "vitest";
import { concat } from "../../src/bytes/std.ts";
import { ProtocolError } from "../../src/errors.ts";
import * as wire from "../../src/fastcgi/constants.ts";
import { pairs, record } from "../support/fastcgi.ts";
import { type FastCgiClient, header, variables } from "../support/fastcgi_client.ts";
import { fixture, until } from "../support/fastcgi_server.ts";
import { runtime } from "../support/runtime.ts";
import { pattern, pending, sha, stillness } from "../support/sockets.ts";

const { open, serve, connect } = fixture();

const MIB = 1024 * 1024;
const POST = { REQUEST_METHOD: "POST" };
/** What the system's buffers of one connection and the runtime's own may hold; more would be ours. */
const MOST_BUFFERED = 24 * MIB;

/** BEGIN and PARAMS of a POST without a length. */
function beginPost(client: FastCgiClient, id: number, more: Record<string, string> = {}): FastCgiClient {
  return client.begin(id).params(id, variables({ ...POST, ...more }));
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

function codeOf(error: unknown): string {
  return error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`;
}

describe("the body of a request", () => {
  test("as text", async () => {
    const client = await open(async (request) => new Response(await request.text()));
    expect((await client.fetch(1, POST, "h\u00e9llo")).text).toBe("h\u00e9llo");
  });

  test("as JSON", async () => {
    const client = await open(async (request) => Response.json(Object.keys(await request.json())));
    expect((await client.fetch(1, { ...POST, CONTENT_TYPE: "application/json" }, '{"a":1,"b":2}')).text).toBe(
      '["a","b"]',
    );
  });

  test("as a form with a file", async () => {
    const client = await open(async (request) => {
      const form = await request.formData();
      const file = form.get("file") as File;
      return new Response(`${form.get("field")} ${file.name} ${await file.text()}`);
    });
    const body = [
      "--border",
      'Content-Disposition: form-data; name="field"',
      "",
      "value",
      "--border",
      'Content-Disposition: form-data; name="file"; filename="f.bin"',
      "Content-Type: application/x-test",
      "",
      "content",
      "--border--",
      "",
    ].join("\r\n");
    const type = { CONTENT_TYPE: "multipart/form-data; boundary=border" };
    expect((await client.fetch(1, { ...POST, ...type }, body)).text).toBe("value f.bin content");
  });

  test("as a stream, piece by piece as it comes", async () => {
    const pieces: string[] = [];
    const client = await open(async (request) => {
      for await (const piece of request.body!) pieces.push(new TextDecoder().decode(piece));
      return new Response(pieces.join("|"));
    });
    beginPost(client, 1).stdin(1, "one");
    await until(() => pieces.length === 1);
    client.stdin(1, "two");
    await until(() => pieces.length === 2);
    client.stdinEnd(1);
    expect((await client.response(1)).text).toBe("one|two");
  });

  test.each([["missing", {}], ["empty", { CONTENT_LENGTH: "" }], ["negative", { CONTENT_LENGTH: "-1" }]])(
    "of a length that is %s lasts until the end of STDIN",
    async (_, length) => {
      let read: Promise<string> | undefined;
      const client = await open(async (request) => new Response(await (read = request.text())));
      beginPost(client, 1, length as Record<string, string>).stdin(1, "some ");
      await until(() => read !== undefined);
      expect(await pending(read!, 20)).toBe(true);
      client.stdin(1, "body").stdinEnd(1);
      expect((await client.response(1)).text).toBe("some body");
    },
  );

  test("of known length ends with it where the end of STDIN is held back until the response", async () => {
    const client = await open(async (request) => new Response(await request.text()));
    beginPost(client, 1, { CONTENT_LENGTH: "4" }).stdin(1, "body");
    expect((await client.response(1)).text).toBe("body");
    client.stdinEnd(1);
    expect((await client.fetch(1, POST, "next")).text).toBe("next");
  });

  test("is cut at CONTENT_LENGTH", async () => {
    const client = await open(async (request) => new Response(await request.text()));
    expect((await client.fetch(1, { ...POST, CONTENT_LENGTH: "4" }, "body and more")).text).toBe("body");
    expect((await client.fetch(1, POST, "next")).text).toBe("next");
  });

  test("of a GET is skipped", async () => {
    const client = await open((request) => new Response(String(request.body)));
    expect((await client.fetch(1, {}, "body")).text).toBe("null");
    expect((await client.fetch(1, {}, pattern(3 * MIB))).text).toBe("null");
  });

  test("that nobody reads does not disturb the next request", async () => {
    const client = await open((request) => new Response(new URL(request.url).pathname));
    for (let n = 0; n < 5; n++) {
      const path = `/${n}`;
      expect((await client.fetch(1, { ...POST, REQUEST_URI: path }, pattern(2 * MIB))).text).toBe(path);
    }
  });

  test("that is cancelled half-way is skipped", async () => {
    const client = await open(async (request) => {
      const reader = request.body!.getReader();
      await reader.read();
      await reader.cancel();
      return new Response("enough");
    });
    expect((await client.fetch(1, POST, pattern(5 * MIB))).text).toBe("enough");
    expect((await client.fetch(1, POST, "x")).text).toBe("enough");
  });

  test("20 MB arrive unchanged", async () => {
    const client = await open(async (request) => new Response(sha(new Uint8Array(await request.arrayBuffer()))));
    const body = pattern(20_000_000);
    expect((await client.fetch(1, POST, body)).text).toBe(sha(body));
  });

  test("longer than the buffer, read late", async () => {
    const server = await serve(async (request) => {
      // All of the buffer is full by then, and the socket is not read any more.
      await stillness(() => server.stats.bytesReceived, 30);
      return new Response(sha(new Uint8Array(await request.arrayBuffer())));
    });
    const client = await connect(server);
    const body = pattern(10 * MIB);
    expect((await client.fetch(1, POST, body)).text).toBe(sha(body));
  });
});

describe("a body that breaks", () => {
  test("STDIN ends before CONTENT_LENGTH: the reader gets the reason, the web server 400", async () => {
    let read: Promise<string> | undefined;
    const client = await open(async (request) => new Response(await (read = request.text())));
    beginPost(client, 1, { CONTENT_LENGTH: "10" }).stdin(1, "12345").stdinEnd(1);
    expect(await client.response(1)).toMatchObject({ status: 400, appStatus: 0 });
    expect(codeOf(await failure(read!))).toBe("ERR_BODY_TRUNCATED");
    expect((await client.fetch(1, POST, "next")).text).toBe("next");
  });

  test("STDIN ends too early before the handler reads: the same", async () => {
    let go!: () => void;
    let read: Promise<string> | undefined;
    const client = await open(async (request) => {
      await new Promise<void>((resolve) => go = resolve);
      return new Response(await (read = request.text()));
    });
    beginPost(client, 1, { CONTENT_LENGTH: "10" }).stdin(1, "12345").stdinEnd(1);
    expect((await client.response(1)).status).toBe(400);
    go();
    await until(() => read !== undefined);
    expect(codeOf(await failure(read!))).toBe("ERR_BODY_TRUNCATED");
  });

  test("announced over maxBodyBytes: 413", async () => {
    const client = await open(() => new Response("never"), { maxBodyBytes: 10 });
    expect((await client.fetch(1, POST, "12345678901")).status).toBe(413);
    expect((await client.fetch(1)).text).toBe("never");
  });

  test("over maxBodyBytes without an announcement: the reader gets the reason, the web server 413", async () => {
    let read: Promise<string> | undefined;
    const client = await open(async (request) => new Response(await (read = request.text())), { maxBodyBytes: 10 });
    beginPost(client, 1).stdin(1, "1234567890").stdin(1, "1");
    expect((await client.response(1)).status).toBe(413);
    expect(codeOf(await failure(read!))).toBe("ERR_BODY_TOO_LARGE");
    client.stdin(1, "late").stdinEnd(1);
    expect((await client.fetch(1, POST, "next")).text).toBe("next");
  });

  test("in the middle of an echo: the connection is closed without END", async () => {
    const client = await open((request) => new Response(request.body));
    beginPost(client, 1, { CONTENT_LENGTH: "10" }).stdin(1, "12345");
    let text = "";
    while (!text.endsWith("12345")) text += await client.stdout(1);
    client.stdinEnd(1);
    await client.closed();
    expect(client.untaken).toEqual([]);
  });
});

describe("the body of a response", () => {
  test("20 MB arrive unchanged, from a buffer and from a stream", async () => {
    const body = pattern(20_000_000);
    let stream = false;
    const client = await open(() => {
      if (!stream) return new Response(body as Uint8Array<ArrayBuffer>);
      let at = 0;
      return new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(body.subarray(at, at += 77_777));
            if (at >= body.length) controller.close();
          },
        }),
      );
    });
    const whole = await client.fetch(1);
    // Bun gives the bytes in pieces, so that their length cannot be known.
    if (runtime !== "bun") expect(header(whole, "content-length")).toBe("20000000");
    expect(sha(whole.body)).toBe(sha(body));
    stream = true;
    expect(sha((await client.fetch(1)).body)).toBe(sha(body));
  });

  test("many small pieces", async () => {
    const client = await open(() => {
      let n = 0;
      return new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(new TextEncoder().encode(`${n} `));
            if (++n === 5000) controller.close();
          },
        }),
      );
    });
    expect((await client.fetch(1)).text).toBe(Array.from({ length: 5000 }, (_, n) => `${n} `).join(""));
  });

  test("empty pieces end nothing", async () => {
    const client = await open(() => {
      let n = 0;
      return new Response(
        new ReadableStream({
          async pull(controller) {
            controller.enqueue(n % 2 ? new Uint8Array(0) : new TextEncoder().encode(`${n}`));
            await new Promise((resolve) => setTimeout(resolve, 1));
            if (++n === 6) controller.close();
          },
        }),
      );
    });
    expect((await client.fetch(1)).text).toBe("024");
  });

  test("begins before the request has ended: an echo of 20 MB", async () => {
    const client = await open((request) => new Response(request.body));
    const body = pattern(20_000_000);
    beginPost(client, 1).stdin(1, body.subarray(0, 1000));
    let begun = "";
    while (!begun.includes("\r\n\r\n")) begun += await client.stdout(1);
    client.stdin(1, body.subarray(1000)).stdinEnd(1);
    const contents: Uint8Array[] = [];
    for (;;) {
      const { type, content } = await client.record();
      if (type === wire.END_REQUEST) break;
      contents.push(content);
    }
    const echoed = concat(contents);
    expect(sha(echoed.subarray(-19_900_000))).toBe(sha(body.subarray(-19_900_000)));
  });
});

describe("backpressure", () => {
  test("a handler that does not read stops the web server's writes, and what is held is bounded", async () => {
    let go!: () => void;
    const server = await serve(async (request) => {
      await new Promise<void>((resolve) => go = resolve);
      return new Response(sha(new Uint8Array(await request.arrayBuffer())));
    }, { maxBufferedBytes: MIB });
    const client = await connect(server);
    const body = pattern(48 * MIB);
    client.request(1, POST, body);
    const received = await stillness(() => server.stats.bytesReceived);
    expect(received).toBeGreaterThan(MIB / 2);
    expect(received).toBeLessThan(2 * MIB);
    expect(client.socket.writableLength).toBeGreaterThan(body.length - MOST_BUFFERED);
    go();
    expect((await client.response(1)).text).toBe(sha(body));
  });

  test("a web server that does not read stops the handler's stream", async () => {
    const total = 64 * MIB;
    const piece = new Uint8Array(64 * 1024);
    let produced = 0;
    const client = await open(() =>
      new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(piece);
            produced += piece.length;
            if (produced === total) controller.close();
          },
        }, { highWaterMark: 0 }),
      )
    );
    client.socket.pause();
    client.request(1);
    await until(() => produced > 0);
    expect(await stillness(() => produced)).toBeLessThan(MOST_BUFFERED);
    client.socket.resume();
    let received = 0;
    for (;;) {
      const { type, contentLength } = await client.record();
      if (type === wire.END_REQUEST) break;
      received += contentLength;
    }
    expect(received).toBeGreaterThan(total);
  });

  test("a flood of GET_VALUES from a web server that never reads is not read either", async () => {
    const server = await serve(() => new Response("fine"));
    const client = await connect(server);
    const ask = record(wire.GET_VALUES, 0, pairs({ FCGI_MAX_CONNS: "", FCGI_MAX_REQS: "", FCGI_MPXS_CONNS: "" }));
    const flood = concat(new Array(10_000).fill(ask));
    client.socket.pause();
    for (let n = 0; n < 80; n++) client.send(flood);
    expect(await stillness(() => server.stats.bytesReceived)).toBeLessThan(MOST_BUFFERED);
    expect(server.stats.bytesSent).toBeLessThan(MOST_BUFFERED);
    expect(client.socket.writableLength).toBeGreaterThan(0);
    // Others are served meanwhile.
    expect((await (await connect(server)).fetch(1)).text).toBe("fine");
  });
});
