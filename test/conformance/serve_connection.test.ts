// serveConnection over streams that no socket stands behind, for each protocol.
import { afterEach, describe, expect, test, vi } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import { serveConnection } from "../../src/mod.ts";
import type {
  AjpOptions,
  FastCgiOptions,
  Handler,
  HandlerObject,
  ProtocolName,
  ServedConnection,
} from "../../src/types.ts";
import { ajpPacket, containerPackets, forwardPacket } from "../support/ajp.ts";
import { fastCgiRequest, records } from "../support/fastcgi.ts";
import { readResponse, variables } from "../support/fastcgi_client.ts";
import { until } from "../support/fastcgi_server.ts";
import { toHex, utf8 } from "../support/hex.ts";
import { concat, pattern, pending, sha, stillness } from "../support/sockets.ts";

type Options = AjpOptions & FastCgiOptions;

interface Answer {
  status: number;
  body: Uint8Array;
}

/** How a web server says the same in each protocol. */
interface Wire {
  request(path: string, body?: string): Uint8Array;
  /** How many bytes the end of a response has, and whether these are such ones. */
  endLength: number;
  isEnd(bytes: Uint8Array): boolean;
  /** The response in `bytes`, or undefined while it is not whole. */
  response(bytes: Uint8Array): Answer | undefined;
}

const AJP: Wire = {
  endLength: 6,
  isEnd: (bytes) => toHex(bytes).startsWith("4142000205"),
  request(path, body) {
    if (body === undefined) return forwardPacket({ uri: path });
    const bytes = utf8(body);
    const head = forwardPacket({ method: "POST", uri: path, headers: [["content-length", String(bytes.length)]] });
    return concat([head, ajpPacket(Uint8Array.of(bytes.length >> 8, bytes.length & 255, ...bytes))]);
  },
  response(bytes) {
    const packets = containerPackets(bytes);
    if (packets.at(-1)?.type !== "EndResponse") return undefined;
    const head = packets.find((packet) => packet.type === "SendHeaders")!;
    const chunks = packets.flatMap((packet) => packet.type === "SendBodyChunk" ? [packet.data] : []);
    return { status: head.status, body: concat(chunks) };
  },
};

const FASTCGI: Wire = {
  endLength: 16,
  isEnd: (bytes) => toHex(bytes) === "01030001000800000000000000000000",
  request: (path, body) =>
    fastCgiRequest(
      1,
      variables({
        REQUEST_URI: path,
        ...(body === undefined ? {} : { REQUEST_METHOD: "POST", CONTENT_LENGTH: String(utf8(body).length) }),
      }),
      utf8(body ?? ""),
    ),
  response(bytes) {
    const response = readResponse(records(bytes));
    return response.appStatus === undefined ? undefined : response;
  },
};

vi.setConfig({ testTimeout: 8000 });

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** The web server's end of a connection. */
interface Peer {
  connection: ServedConnection;
  send(bytes: Uint8Array): Promise<void>;
  /** Sends the last. */
  end(): Promise<void>;
  /** Breaks the connection. */
  abort(reason: unknown): Promise<void>;
  /** Reads until there is a whole response. */
  response(): Promise<Answer>;
  /** Reads until the application has sent its last, and returns what was not read before. */
  rest(): Promise<Uint8Array>;
  logged: unknown[][];
}

function serve(
  protocol: ProtocolName,
  handler: Handler | HandlerObject,
  options: Options = {},
  strategy: QueuingStrategy<Uint8Array> = {},
): Peer {
  const wire = protocol === "ajp" ? AJP : FASTCGI;
  const up = new TransformStream<Uint8Array, Uint8Array>();
  const down = new TransformStream<Uint8Array, Uint8Array>(undefined, strategy);
  const logged: unknown[][] = [];
  const log = (...data: unknown[]) => void logged.push(data);
  const connection = serveConnection(
    { readable: up.readable, writable: down.writable },
    { protocol, logger: { error: log, warn: log }, ...options },
    handler,
  );
  const writer = up.writable.getWriter();
  const reader = down.readable.getReader();
  cleanups.push(() => connection.close(), () => connection.finished);
  return {
    connection,
    logged,
    send: (bytes) => writer.write(bytes),
    end: () => writer.close(),
    abort: (reason) => writer.abort(reason),
    async response() {
      const chunks: Uint8Array[] = [];
      let tail: Uint8Array = new Uint8Array(0);
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error("The application has sent its last");
        chunks.push(value);
        tail = concat([tail, value.subarray(-wire.endLength)]).subarray(-wire.endLength);
        // A body could hold the same bytes, so it is looked at as a whole; but not for each of its chunks.
        const response = wire.isEnd(tail) ? wire.response(concat(chunks)) : undefined;
        if (response !== undefined) return response;
      }
    },
    async rest() {
      const chunks: Uint8Array[] = [];
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return concat(chunks);
        chunks.push(value);
      }
    },
  };
}

const echo: Handler = async (request) => new Response(`${new URL(request.url).pathname} ${await request.text()}`);

describe.each<[ProtocolName, Wire]>([["ajp", AJP], ["fastcgi", FASTCGI]])(
  "serveConnection with %s",
  (protocol, wire) => {
    test("serves one request after the other", async () => {
      const peer = serve(protocol, echo);
      for (let n = 0; n < 10; n++) {
        void peer.send(wire.request(`/${n}`, `body ${n}`));
        const { status, body } = await peer.response();
        expect(status).toBe(200);
        expect(new TextDecoder().decode(body)).toBe(`/${n} body ${n}`);
      }
      await peer.end();
      await peer.connection.finished;
    });

    test("takes bytes one by one, and empty chunks", async () => {
      const peer = serve(protocol, echo);
      const response = peer.response();
      for (const byte of wire.request("/x", "body")) {
        await peer.send(new Uint8Array(0));
        await peer.send(Uint8Array.of(byte));
      }
      expect(new TextDecoder().decode((await response).body)).toBe("/x body");
    });

    test("takes an object with fetch, and tells no peer address", async () => {
      const app = {
        name: "app",
        fetch(this: { name: string }, _: Request, info: { protocol: string; peerAddr: unknown }) {
          return new Response(`${this?.name} ${info.protocol} ${info.peerAddr}`);
        },
      };
      const peer = serve(protocol, app);
      void peer.send(wire.request("/"));
      expect(new TextDecoder().decode((await peer.response()).body)).toBe(`app ${protocol} undefined`);
    });

    test("takes a Transport of one's own", async () => {
      const inbox: (Uint8Array | null)[] = [wire.request("/own", "body"), null];
      const sent: Uint8Array[] = [];
      let closed = 0;
      let finish!: () => void;
      const answered = new Promise<void>((resolve) => finish = resolve);
      const connection = serveConnection(
        {
          peerAddr: { transport: "unix", path: "/own" },
          async read() {
            if (inbox.length === 1) await answered;
            return inbox.shift() ?? null;
          },
          write(chunks) {
            sent.push(...chunks.map((chunk) => chunk.slice()));
            finish();
            return undefined;
          },
          closeWrite: () => Promise.resolve(),
          close: () => void closed++,
        },
        { protocol },
        async (request, info) => new Response(`${JSON.stringify(info.peerAddr)} ${await request.text()}`),
      );
      await connection.finished;
      expect(new TextDecoder().decode(wire.response(concat(sent))!.body)).toBe(
        '{"transport":"unix","path":"/own"} body',
      );
      expect(closed).toBe(1);
    });

    test("a large body arrives whole through a writable with room for one chunk", async () => {
      const body = pattern(5_000_000);
      const peer = serve(protocol, () => new Response(body as Uint8Array<ArrayBuffer>), {}, { highWaterMark: 1 });
      void peer.send(wire.request("/"));
      expect(sha((await peer.response()).body)).toBe(sha(body));
    });

    test("a writable that takes nothing stops the response's stream", async () => {
      let produced = 0;
      const bytes = new ByteLengthQueuingStrategy({ highWaterMark: 65536 });
      const peer = serve(
        protocol,
        () =>
          new Response(
            new ReadableStream({
              pull(controller) {
                controller.enqueue(new Uint8Array(10_000));
                produced += 10_000;
                if (produced === 20_000_000) controller.close();
              },
            }, { highWaterMark: 0 }),
          ),
        {},
        bytes as QueuingStrategy<Uint8Array>,
      );
      void peer.send(wire.request("/"));
      await until(() => produced > 0);
      expect(await stillness(() => produced, 50)).toBeLessThan(1_000_000);
      expect((await peer.response()).body).toHaveLength(20_000_000);
      expect(produced).toBe(20_000_000);
    });

    test("shutdown of an idle connection ends it", async () => {
      const peer = serve(protocol, echo);
      void peer.send(wire.request("/"));
      await peer.response();
      const ended = peer.connection.shutdown();
      expect(await peer.rest()).toHaveLength(0);
      await peer.end();
      await ended;
      await peer.connection.finished;
    });

    test("shutdown lets a request end", async () => {
      let finish!: (response: Response) => void;
      const peer = serve(protocol, () => new Promise<Response>((resolve) => finish = resolve));
      void peer.send(wire.request("/"));
      await until(() => finish !== undefined);
      const ended = peer.connection.shutdown();
      expect(await pending(ended, 20)).toBe(true);
      finish(new Response("fine"));
      expect(new TextDecoder().decode((await peer.response()).body)).toBe("fine");
      expect(await peer.rest()).toHaveLength(0);
      await peer.end();
      await ended;
    });

    test("shutdown before anything came", async () => {
      const peer = serve(protocol, echo);
      const ended = peer.connection.shutdown();
      expect(await peer.rest()).toHaveLength(0);
      await peer.end();
      await ended;
    });

    test("close aborts what runs", async () => {
      let signal: AbortSignal | undefined;
      let aborts = 0;
      const peer = serve(protocol, (request) => {
        ({ signal } = request);
        signal.addEventListener("abort", () => aborts++);
        return new Promise<Response>(() => {});
      });
      void peer.send(wire.request("/"));
      await until(() => signal !== undefined);
      peer.connection.close();
      peer.connection.close();
      await peer.connection.finished;
      expect(aborts).toBe(1);
      expect((signal!.reason as ProtocolError).code).toBe("ERR_SHUTDOWN");
      // The other end is told as well.
      await expect(peer.send(Uint8Array.of(1))).rejects.toBe(undefined);
      await peer.connection.shutdown();
    });

    test.each<[string, (peer: Peer) => Promise<unknown>]>([
      ["ends", (peer) => peer.end()],
      ["breaks", (peer) => peer.abort(new Error("broken cable"))],
    ])("a readable that %s aborts what runs", async (how, act) => {
      let signal: AbortSignal | undefined;
      const peer = serve(protocol, (request) => {
        ({ signal } = request);
        return new Promise<Response>(() => {});
      });
      void peer.send(wire.request("/"));
      await until(() => signal !== undefined);
      await act(peer);
      await peer.connection.finished;
      expect(signal!.aborted).toBe(true);
      const reason = signal!.reason as ProtocolError;
      expect(reason).toBeInstanceOf(ProtocolError);
      expect(reason.code).toBe("ERR_ABORTED");
      if (how === "breaks") expect((reason.cause as Error).message).toBe("broken cable");
    });

    test("a writable that breaks aborts what runs", async () => {
      let reason: unknown;
      const writable = new WritableStream<Uint8Array>({ write: () => Promise.reject(new Error("broken pipe")) });
      let send!: ReadableStreamDefaultController<Uint8Array>;
      let cancelled = 0;
      const readable = new ReadableStream<Uint8Array>({
        start: (controller) => void (send = controller),
        cancel: () => void cancelled++,
      });
      const connection = serveConnection({ readable, writable }, { protocol }, () =>
        new Response(
          new ReadableStream({
            pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
            cancel: (error) => void (reason = error),
          }, { highWaterMark: 0 }),
        ));
      send.enqueue(wire.request("/"));
      await connection.finished;
      await until(() => reason !== undefined);
      expect(reason).toMatchObject({ code: "ERR_ABORTED" });
      expect(cancelled).toBe(1);
    });

    test("garbage ends the connection without an answer", async () => {
      const peer = serve(protocol, echo);
      const rest = peer.rest().catch(() => new Uint8Array(0));
      void peer.send(utf8("GET / HTTP/1.1\r\n\r\n")).catch(() => {});
      await peer.connection.finished;
      expect(await rest).toHaveLength(0);
      expect(peer.logged).toHaveLength(1);
    });

    test.each<[string, Options, unknown]>([
      ["a negative limit", { maxHeaderBytes: -1 }, RangeError],
      ["a limit that is no number", { headTimeout: "5s" as unknown as number }, RangeError],
      ["half a header", { maxHeaderCount: 1.5 }, RangeError],
      ["NaN", { maxBodyBytes: NaN }, RangeError],
      ["no request at all", { maxConcurrentRequests: 0 }, RangeError],
      ["a mount without a slash", { mount: "app" }, TypeError],
    ])("%s is refused", (_, options, type) => {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      expect(() => serveConnection({ readable, writable }, { protocol, ...options }, echo)).toThrow(
        type as typeof Error,
      );
    });

    test("no handler is refused", () => {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const none = undefined as unknown as Handler;
      expect(() => serveConnection({ readable, writable }, { protocol }, none)).toThrow(TypeError);
    });
  },
);

test("serveConnection with a protocol that is not there", () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const protocol = "http" as unknown as ProtocolName;
  expect(() => serveConnection({ readable, writable }, { protocol }, echo)).toThrow(
    new TypeError("Cannot serve this protocol: it must be one of ajp, fastcgi, scgi, cgi, any"),
  );
});
