// What FastCGI has beyond one request after the other: several at once, aborts, the end of a connection, time limits.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import * as wire from "../../src/fastcgi/constants.ts";
import { record } from "../support/fastcgi.ts";
import { type FastCgiClient, variables } from "../support/fastcgi_client.ts";
import { fixture, until } from "../support/fastcgi_server.ts";
import { pattern, sha, stillness } from "../support/sockets.ts";

const { open, serve, connect, errors, warnings } = fixture();

const MIB = 1024 * 1024;
const POST = { REQUEST_METHOD: "POST" };

function beginPost(client: FastCgiClient, id: number, more: Record<string, string> = {}, keepConn = true) {
  return client.begin(id, { keepConn }).params(id, variables({ ...POST, ...more }));
}

function path(request: Request): string {
  return new URL(request.url).pathname;
}

function codeOf(error: unknown): string {
  return error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`;
}

describe("several requests at once", () => {
  test("quick ones pass a slow one", async () => {
    let finish!: (response: Response) => void;
    const client = await open((request) =>
      path(request) === "/slow" ? new Promise<Response>((resolve) => finish = resolve) : new Response(path(request))
    );
    client.request(1, { REQUEST_URI: "/slow" });
    for (let id = 3; id < 53; id += 2) client.request(id, { REQUEST_URI: `/${id}` });
    for (let id = 3; id < 53; id += 2) expect((await client.response(id)).text).toBe(`/${id}`);
    finish(new Response("slow"));
    expect((await client.response(1)).text).toBe("slow");
  });

  test("one that does not read its body of 900 KB does not hold up quick ones", async () => {
    let go!: () => void;
    const client = await open(async (request) => {
      if (path(request) === "/lazy") await new Promise<void>((resolve) => go = resolve);
      return new Response(sha(new Uint8Array(await request.arrayBuffer())));
    });
    const body = pattern(900_000);
    client.request(1, { ...POST, REQUEST_URI: "/lazy" }, body);
    for (let id = 2; id < 20; id++) expect((await client.fetch(id, POST, "x")).status).toBe(200);
    go();
    expect((await client.response(1)).text).toBe(sha(body));
  });

  test("one that does not read its body of 5 MB does not either where the web server multiplexes", async () => {
    let go!: () => void;
    const client = await open(async (request) => {
      if (path(request) === "/lazy") await new Promise<void>((resolve) => go = resolve);
      return new Response(sha(new Uint8Array(await request.arrayBuffer())));
    });
    // As HAProxy asks; the answer is what lets it multiplex.
    await client.getValues("FCGI_MPXS_CONNS", "FCGI_MAX_REQS");
    const body = pattern(5 * MIB);
    client.request(1, { ...POST, REQUEST_URI: "/lazy" }, body);
    for (let id = 2; id < 20; id++) expect((await client.fetch(id, POST, "x")).status).toBe(200);
    go();
    expect((await client.response(1)).text).toBe(sha(body));
  });

  test("STDIN and STDOUT of several alternate", async () => {
    const client = await open((request) => new Response(request.body));
    const ids = [1, 2, 300, 65535];
    for (const id of ids) beginPost(client, id);
    const texts = new Map(ids.map((id) => [id, ""]));
    for (let round = 0; round < 20; round++) {
      for (const id of ids) client.stdin(id, `${id}:${round} `);
      // Each sees its own before the next round begins.
      for (const id of ids) {
        while (!texts.get(id)!.endsWith(`${id}:${round} `)) texts.set(id, texts.get(id)! + await client.stdout(id));
      }
    }
    for (const id of ids) client.stdinEnd(id);
    for (const id of ids) {
      expect(texts.get(id)!.split("\r\n\r\n")[1]).toBe(Array.from({ length: 20 }, (_, n) => `${id}:${n} `).join(""));
      expect((await client.record(({ type, requestId }) => requestId === id && type === wire.END_REQUEST)).requestId)
        .toBe(id);
    }
  });

  test("large bodies both ways at once", async () => {
    const client = await open((request) => new Response(request.body));
    const bodies = Array.from({ length: 8 }, (_, n) => pattern(1_000_000 + n));
    for (const [n, body] of bodies.entries()) client.request(n + 1, POST, body);
    for (const [n, body] of bodies.entries()) expect(sha((await client.response(n + 1)).body)).toBe(sha(body));
  });

  test("more than maxConcurrentRequests: 503 for those, and the others go on", async () => {
    const finish: ((response: Response) => void)[] = [];
    const client = await open(() => new Promise<Response>((resolve) => finish.push(resolve)), {
      maxConcurrentRequests: 2,
    });
    for (const id of [1, 3, 5]) client.request(id);
    expect(await client.response(5)).toMatchObject({ status: 503, protocolStatus: wire.REQUEST_COMPLETE });
    for (const resolve of finish) resolve(new Response("fine"));
    expect((await client.response(1)).text).toBe("fine");
    expect((await client.response(3)).text).toBe("fine");
  });
});

interface Witness {
  signals: string[];
  body: Promise<string> | undefined;
  cancelled: unknown[];
  completed: Promise<string> | undefined;
}

/** A handler that answers `/stream` with an endless body and waits otherwise, and what it is told. */
function witnessed(): { witness: Witness; handler: Parameters<typeof open>[0] } {
  const witness: Witness = { signals: [], body: undefined, cancelled: [], completed: undefined };
  return {
    witness,
    handler(request, info) {
      request.signal.addEventListener("abort", () => witness.signals.push(codeOf(request.signal.reason)));
      witness.completed = info.completed.then(() => "completed", codeOf);
      if (request.body !== null) witness.body = request.text().then(() => "whole", codeOf);
      if (path(request) !== "/stream") return new Promise<Response>(() => {});
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode("first")),
          cancel: (reason) => void witness.cancelled.push(codeOf(reason)),
        }),
      );
    },
  };
}

const ENDINGS: [string, (client: FastCgiClient) => void, boolean][] = [
  ["ABORT_REQUEST", (client) => client.abort(1), true],
  ["FIN", (client) => client.socket.end(), false],
  ["a reset", (client) => client.socket.resetAndDestroy(), false],
  ["garbage", (client) => client.send(new Uint8Array(100)), false],
];

describe.each(ENDINGS)("%s", (ending, act, connectionLives) => {
  const expected = ending === "garbage" ? "ERR_FASTCGI_VERSION" : "ERR_ABORTED";

  test("while the handler waits: signal once, the body breaks", async () => {
    const { witness, handler } = witnessed();
    const client = await open(handler);
    beginPost(client, 1, { CONTENT_LENGTH: "100" }).stdin(1, "half");
    await until(() => witness.body !== undefined);
    act(client);
    expect(await witness.body).toBe(expected);
    await until(() => witness.signals.length > 0);
    expect(await witness.completed).toBe(expected);
    if (connectionLives) {
      expect(await client.response(1)).toMatchObject({ status: 0, appStatus: 0, protocolStatus: 0 });
      client.stdin(1, "late").stdinEnd(1).abort(1);
      client.request(1, { REQUEST_URI: "/stream" });
      expect(await client.stdout(1)).toMatch(/^Status: 200/);
    }
    expect(witness.signals).toEqual([expected]);
  });

  test("in the middle of the response: signal once, its stream is cancelled", async () => {
    const { witness, handler } = witnessed();
    const client = await open(handler);
    client.request(1, { REQUEST_URI: "/stream" });
    let text = "";
    while (!text.endsWith("first")) text += await client.stdout(1);
    act(client);
    await until(() => witness.cancelled.length > 0);
    await until(() => witness.signals.length > 0);
    expect(await witness.completed).toBe(expected);
    if (connectionLives) {
      const { content } = await client.record();
      expect(content).toEqual(new Uint8Array(8));
      expect(client.untaken).toEqual([]);
    }
    expect(witness.cancelled).toEqual([expected]);
    expect(witness.signals).toEqual([expected]);
  });
});

describe("ABORT_REQUEST of one", () => {
  test(
    "what the handler answers afterwards goes nowhere, even with its id in use again",
    async () => {
      const finish: ((text: string) => void)[] = [];
      const client = await open(async () => new Response(await new Promise<string>((resolve) => finish.push(resolve))));
      client.request(1);
      await until(() => finish.length === 1);
      client.abort(1);
      expect((await client.response(1)).status).toBe(0);
      client.request(1);
      await until(() => finish.length === 2);
      finish[0]!("old");
      finish[1]!("young");
      expect((await client.response(1)).text).toBe("young");
      expect(client.untaken).toEqual([]);
      expect(errors).toEqual([]);
    },
  );

  test("the others of the connection know nothing of it", async () => {
    let finish!: (response: Response) => void;
    let signal: AbortSignal | undefined;
    const client = await open((request) => {
      if (path(request) === "/other") ({ signal } = request);
      return new Promise<Response>((resolve) => path(request) === "/other" ? finish = resolve : undefined);
    });
    client.request(1).request(2, { REQUEST_URI: "/other" });
    await until(() => signal !== undefined);
    client.abort(1);
    await client.response(1);
    finish(new Response("fine"));
    expect((await client.response(2)).text).toBe("fine");
    expect(signal!.aborted).toBe(false);
  });
});

test.each(ENDINGS.slice(1))("%s aborts all requests of the connection", async (_, act) => {
  const signals: string[] = [];
  let started = 0;
  const client = await open((request) => {
    request.signal.addEventListener("abort", () => signals.push(path(request)));
    started++;
    return new Promise<Response>(() => {});
  });
  for (const id of [1, 2, 3]) client.request(id, { REQUEST_URI: `/${id}` });
  await until(() => started === 3);
  act(client);
  await until(() => signals.length === 3);
  expect(signals.sort()).toEqual(["/1", "/2", "/3"]);
});

describe("the end of a connection", () => {
  test("no signal comes with success, neither at the end nor when the connection closes", async () => {
    let signal: AbortSignal | undefined;
    const server = await serve((request) => {
      ({ signal } = request);
      return new Response("x");
    });
    const client = await connect(server);
    await client.fetch(1);
    client.socket.end();
    await client.ended;
    await until(() => server.stats.connections === 0);
    expect(signal!.aborted).toBe(false);
  });

  test("KEEP_CONN: 100 requests on one connection", async () => {
    const server = await serve(async (request) => new Response(`${path(request)} ${await request.text()}`));
    const client = await connect(server);
    for (let n = 0; n < 100; n++) {
      const response = await client.fetch(1, { ...POST, REQUEST_URI: `/${n}` }, `body ${n}`);
      expect(response.text).toBe(`/${n} body ${n}`);
    }
    expect(server.stats).toMatchObject({ totalConnections: 1, totalRequests: 100, activeRequests: 0 });
  });

  test("without KEEP_CONN: FIN after END", async () => {
    const client = await open(() => new Response("done"));
    expect((await client.fetch(1, {}, "", false)).text).toBe("done");
    expect(await client.closed()).toBe(undefined);
    expect(client.untaken).toEqual([]);
  });

  test("without KEEP_CONN all of the response arrives, although the web server still sends 5 MB", async () => {
    const answer = pattern(300_000);
    const client = await open(() => new Response(answer as Uint8Array<ArrayBuffer>));
    // As Caddy does: nothing is read before all has been sent.
    client.socket.pause();
    const sent = new Promise<void>((resolve) => {
      client.request(1, POST, pattern(5 * MIB), false).socket.end(resolve);
    });
    await sent;
    client.socket.resume();
    const response = await client.response(1);
    expect(sha(response.body)).toBe(sha(answer));
    expect(await client.closed()).toBe(undefined);
  });

  test("several requests of which one lacks KEEP_CONN: FIN after the last", async () => {
    const finish = new Map<string, (response: Response) => void>();
    const client = await open((request) => new Promise((resolve) => finish.set(path(request), resolve)));
    client.request(1, { REQUEST_URI: "/1" }, "", false).request(2, { REQUEST_URI: "/2" });
    await until(() => finish.size === 2);
    finish.get("/1")!(new Response("one"));
    expect((await client.response(1)).text).toBe("one");
    finish.get("/2")!(new Response("two"));
    expect((await client.response(2)).text).toBe("two");
    await client.ended;
  });

  test("shutdown lets all requests of a connection end, and takes no more", async () => {
    const finish: ((response: Response) => void)[] = [];
    const server = await serve(() => new Promise<Response>((resolve) => finish.push(resolve)));
    const client = await connect(server);
    client.request(1).request(2);
    await until(() => finish.length === 2);
    const ended = server.shutdown();
    finish[0]!(new Response("one"));
    expect((await client.response(1)).text).toBe("one");
    expect((await client.fetch(3)).status).toBe(503);
    finish[1]!(new Response("two"));
    expect((await client.response(2)).text).toBe("two");
    await client.closed();
    await ended;
    expect(finish).toHaveLength(2);
  });

  test("maxRequestsPerConnection", async () => {
    const client = await open(() => new Response("x"), { maxRequestsPerConnection: 2 });
    await client.fetch(1);
    await client.fetch(1);
    await client.ended;
  });
});

describe("time limits", () => {
  const LIMIT = 400;

  test("headTimeout runs from the start of the connection", async () => {
    const client = await open(() => new Response("x"), { headTimeout: LIMIT });
    await client.closed();
    expect(client.bytesReceived).toBe(0);
    expect(warnings).toHaveLength(1);
  });

  test("headTimeout is not put off by GET_VALUES, nor by a byte now and then", async () => {
    const client = await open(() => new Response("x"), { headTimeout: LIMIT });
    await client.getValues("FCGI_MAX_CONNS");
    const bytes = record(wire.GET_VALUES, 0);
    const timer = setInterval(() => client.send(bytes.subarray(0, 1)), 20);
    await client.closed();
    clearInterval(timer);
  });

  test("headTimeout in PARAMS: 408, and the connection ends", async () => {
    const client = await open(() => new Response("x"), { headTimeout: LIMIT });
    client.begin(1).send(record(wire.PARAMS, 1, Uint8Array.of(9, 9, 65)));
    expect(await client.response(1)).toMatchObject({ status: 408, appStatus: 0 });
    await client.closed();
  });

  test("headTimeout in PARAMS on a shared connection: 408 for that one, the others go on", async () => {
    let finish!: (response: Response) => void;
    const client = await open(() => new Promise<Response>((resolve) => finish = resolve), { headTimeout: LIMIT });
    client.request(1).begin(3);
    expect((await client.response(3)).status).toBe(408);
    finish(new Response("fine"));
    expect((await client.response(1)).text).toBe("fine");
    await client.ended;
  });

  test("bodyTimeout: 408, and the reader gets the reason", async () => {
    let read: Promise<string> | undefined;
    const client = await open(async (request) => new Response(await (read = request.text())), { bodyTimeout: LIMIT });
    beginPost(client, 1, { CONTENT_LENGTH: "10" }).stdin(1, "half");
    expect((await client.response(1)).status).toBe(408);
    expect(await read!.then(() => "whole", codeOf)).toBe("ERR_TIMEOUT");
    await client.ended;
  });

  test("bodyTimeout starts anew with each piece, and waits only for what was asked for", async () => {
    let go!: () => void;
    const client = await open(async (request) => {
      await new Promise<void>((resolve) => go = resolve);
      return new Response(await request.text());
    }, { bodyTimeout: 1200 });
    beginPost(client, 1);
    // Nobody reads yet, so nothing is late.
    await stillness(() => client.bytesReceived, 2000);
    go();
    // Longer than the limit in all, and each piece so much shorter that a busy machine does not matter.
    for (let n = 0; n < 15; n++) {
      client.stdin(1, "piece ");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    client.stdinEnd(1);
    expect((await client.response(1)).text).toBe("piece ".repeat(15));
  });

  test("writeTimeout: a web server that does not read is given up", async () => {
    let cancelled = 0;
    const client = await open(() =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
          cancel: () => void cancelled++,
        }, { highWaterMark: 0 }),
      ), { writeTimeout: LIMIT });
    client.socket.pause();
    client.request(1);
    await until(() => cancelled === 1);
    expect(warnings.length + errors.length).toBeLessThan(3);
  });

  test("idleTimeout: an idle connection is closed, and one that waits for its handler is not", async () => {
    let finish!: (response: Response) => void;
    const client = await open(() => new Promise<Response>((resolve) => finish = resolve), { idleTimeout: LIMIT });
    client.request(1);
    await stillness(() => client.bytesReceived, 2 * LIMIT);
    finish(new Response("x"));
    expect((await client.response(1)).text).toBe("x");
    expect(await client.closed()).toBe(undefined);
    expect(warnings).toEqual([]);
  });
});
