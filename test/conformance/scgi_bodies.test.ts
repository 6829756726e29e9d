// Bodies over SCGI in both directions: whole, broken, and faster than the other end takes them.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import { runtime } from "../support/runtime.ts";
import { header, scgiHead } from "../support/scgi_client.ts";
import { serve } from "../support/scgi_fixture.ts";
import { pattern, pending, sha, stillness } from "../support/sockets.ts";
import { Gate, until } from "../support/until.ts";

const MIB = 1024 * 1024;
const POST = { REQUEST_METHOD: "POST" };
/** What the systems' buffers of one connection and the runtime's own may hold; more would be ours. */
const MOST_BUFFERED = 24 * MIB;

function codeOf(error: unknown): string {
  return error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`;
}

async function hash(request: Request): Promise<Response> {
  return new Response(sha(new Uint8Array(await request.arrayBuffer())));
}

describe("the body of a request", () => {
  test("as text, as JSON and as a form with a file", async () => {
    const { fetch } = await serve(async (request) => {
      const type = request.headers.get("content-type") ?? "";
      if (type.startsWith("application/json")) return Response.json(Object.keys(await request.json()));
      if (!type.startsWith("multipart/form-data")) return new Response(await request.text());
      const form = await request.formData();
      const file = form.get("file") as File;
      return new Response(`${form.get("field")} ${file.name} ${await file.text()}`);
    });
    expect((await fetch(POST, "h\u00e9llo")).text).toBe("h\u00e9llo");
    expect((await fetch({ ...POST, CONTENT_TYPE: "application/json" }, '{"a":1,"b":2}')).text).toBe('["a","b"]');
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
    expect((await fetch({ ...POST, ...type }, body)).text).toBe("value f.bin content");
  });

  test("as a stream, piece by piece as it comes, the head byte by byte before it", async () => {
    const pieces: string[] = [];
    const { connect } = await serve(async (request) => {
      for await (const piece of request.body!) pieces.push(new TextDecoder().decode(piece));
      return new Response(pieces.join("|"));
    });
    const client = await connect();
    for (const byte of scgiHead(6, POST)) client.send(Uint8Array.of(byte));
    client.send("one");
    await until(() => pieces.length === 1);
    client.send("two");
    expect((await client.response()).text).toBe("one|two");
  });

  test("is exactly CONTENT_LENGTH: what follows is not read as part of it and does no harm", async () => {
    const { connect } = await serve(async (request) => new Response(await request.text()));
    for (const extra of ["more", "70:CONTENT_LENGTH\0"]) {
      expect((await (await connect()).send(scgiHead(4, POST), `body${extra}`).response()).text).toBe("body");
    }
    const client = await connect();
    client.send(scgiHead(4, POST), "body", pattern(3 * MIB));
    expect((await client.response()).text).toBe("body");
  });

  test("that follows the FIN of the web server's does not keep it from its answer", async () => {
    const gate = new Gate();
    const { connect } = await serve(async (request) => {
      const text = await request.text();
      await gate.promise;
      return new Response(text + request.signal.aborted);
    });
    const client = await connect();
    client.send(scgiHead(4, POST), "body").socket.end();
    expect(await pending(client.ended, 50)).toBe(true);
    gate.open();
    expect((await client.response()).text).toBe("bodyfalse");
  });

  test("of a large answer after FIN nothing is lost, although the web server reads slowly", async () => {
    const body = pattern(5 * MIB);
    const { connect } = await serve(() => new Response(body as Uint8Array<ArrayBuffer>));
    const client = await connect();
    client.socket.pause();
    client.request().socket.end();
    await stillness(() => client.socket.bytesWritten, 50);
    client.socket.resume();
    expect(sha((await client.response()).body)).toBe(sha(body));
  });

  test("of a GET is skipped", async () => {
    const { fetch } = await serve((request) => new Response(String(request.body)));
    expect((await fetch({}, "body")).text).toBe("null");
    expect((await fetch({}, pattern(3 * MIB))).text).toBe("null");
  });

  test("that nobody reads does not lose the answer", async () => {
    const { fetch } = await serve(() => new Response("enough"));
    for (const size of [1, 100_000, 5 * MIB]) expect((await fetch(POST, pattern(size))).text).toBe("enough");
  });

  test("that is cancelled half-way does not lose the answer", async () => {
    const { fetch } = await serve(async (request) => {
      const reader = request.body!.getReader();
      await reader.read();
      await reader.cancel();
      return new Response("enough");
    });
    expect((await fetch(POST, pattern(5 * MIB))).text).toBe("enough");
  });

  test("that nobody reads does not block an answer of 3 MB to one who sends all before he reads", async () => {
    const answer = pattern(3 * MIB);
    const { connect } = await serve(() => new Response(answer as Uint8Array<ArrayBuffer>));
    const client = await connect();
    client.socket.pause();
    await new Promise<void>((resolve) => client.request(POST, pattern(20 * MIB)).socket.write("", () => resolve()));
    client.socket.resume();
    expect(sha((await client.response()).body)).toBe(sha(answer));
  });

  test("20 MB arrive unchanged", async () => {
    const { fetch } = await serve(hash);
    const body = pattern(20_000_000);
    expect((await fetch(POST, body)).text).toBe(sha(body));
  });

  test("sizes around what is held", async () => {
    const { fetch } = await serve(hash);
    for (const size of [1, 65535, 65536, 65537, 131072, 131073]) {
      const body = pattern(size);
      expect((await fetch(POST, body)).text).toBe(sha(body));
    }
  });
});

describe("a body that breaks", () => {
  test("FIN before its end: the reader gets the reason, the signal comes, the web server gets 400", async () => {
    let read: Promise<string> | undefined;
    const signals: string[] = [];
    const { connect, log } = await serve(async (request) => {
      request.signal.addEventListener("abort", () => signals.push(codeOf(request.signal.reason)));
      return new Response(await (read = request.text()));
    });
    const client = (await connect()).send(scgiHead(10, POST), "12345");
    await until(() => read !== undefined);
    client.socket.end();
    expect(await client.response()).toMatchObject({ status: 400, text: "400 Bad Request\n" });
    expect(await read!.then(() => "whole", codeOf)).toBe("ERR_BODY_TRUNCATED");
    expect(signals).toEqual(["ERR_BODY_TRUNCATED"]);
    expect(log.warnings).toHaveLength(1);
    expect(log.errors).toEqual([]);
  });

  test("FIN before its end, while the handler does not read: the same", async () => {
    const gate = new Gate();
    let read: Promise<string> | undefined;
    const { connect } = await serve(async (request) => {
      await gate.promise;
      return new Response(await (read = request.text()));
    });
    const client = await connect();
    client.send(scgiHead(10, POST), "12345").socket.end();
    expect((await client.response()).status).toBe(400);
    gate.open();
    await until(() => read !== undefined);
    expect(await read!.then(() => "whole", codeOf)).toBe("ERR_BODY_TRUNCATED");
  });

  test("a reset before its end: the reader gets the reason", async () => {
    let read: Promise<string> | undefined;
    const { connect } = await serve(async (request) => new Response(await (read = request.text())));
    const client = (await connect()).send(scgiHead(10, POST), "12345");
    await until(() => read !== undefined);
    client.socket.resetAndDestroy();
    expect(await read!.then(() => "whole", codeOf)).toBe("ERR_ABORTED");
  });

  test("announced over maxBodyBytes: 413, although the web server is still sending", async () => {
    const { connect, fetch } = await serve(() => new Response("never"), { maxBodyBytes: 10 });
    expect((await fetch(POST, "12345678901")).status).toBe(413);
    expect((await fetch(POST, pattern(5 * MIB))).status).toBe(413);
    const client = await connect();
    expect((await client.send(scgiHead(11, POST)).response()).status).toBe(413);
    expect((await fetch(POST, "1234567890")).text).toBe("never");
  });
});

describe("the body of a response", () => {
  test("20 MB arrive unchanged, from a buffer and from a stream", async () => {
    const body = pattern(20_000_000);
    const { fetch } = await serve((request) => {
      if (request.url.endsWith("/buffer")) return new Response(body as Uint8Array<ArrayBuffer>);
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
    const whole = await fetch({ REQUEST_URI: "/buffer" });
    // Bun gives the bytes in pieces, so that their length cannot be known.
    if (runtime !== "bun") expect(header(whole, "content-length")).toBe("20000000");
    expect(sha(whole.body)).toBe(sha(body));
    expect(sha((await fetch()).body)).toBe(sha(body));
  });

  test("many small pieces", async () => {
    const { fetch } = await serve(() => {
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
    expect((await fetch()).text).toBe(Array.from({ length: 5000 }, (_, n) => `${n} `).join(""));
  });

  test("begins before the request has ended: an echo of 20 MB", async () => {
    const { connect } = await serve((request) => new Response(request.body));
    const body = pattern(20_000_000);
    const client = (await connect()).send(scgiHead(body.length, POST), body.subarray(0, 1000));
    await until(() => client.bytesReceived > 1000);
    client.send(body.subarray(1000));
    expect(sha((await client.response()).body)).toBe(sha(body));
  });
});

describe("backpressure", () => {
  test("a handler that does not read stops the web server's writes, and what is held is bounded", async () => {
    const gate = new Gate();
    const { server, connect } = await serve(async (request) => {
      await gate.promise;
      return await hash(request);
    });
    const client = await connect();
    const body = pattern(48 * MIB);
    client.request(POST, body);
    const received = await stillness(() => server.stats.bytesReceived);
    expect(received).toBeGreaterThan(1000);
    expect(received).toBeLessThan(MIB);
    expect(client.socket.writableLength).toBeGreaterThan(body.length - MOST_BUFFERED);
    gate.open();
    expect((await client.response()).text).toBe(sha(body));
  });

  test("a web server that does not read stops the handler's stream", async () => {
    const total = 64 * MIB;
    const piece = new Uint8Array(64 * 1024);
    let produced = 0;
    const { connect } = await serve(() =>
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
    const client = await connect();
    client.socket.pause();
    client.request();
    await until(() => produced > 0);
    expect(await stillness(() => produced)).toBeLessThan(MOST_BUFFERED);
    client.socket.resume();
    expect((await client.response()).body).toHaveLength(total);
  });
});
