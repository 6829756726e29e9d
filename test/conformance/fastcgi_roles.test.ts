// The Authorizer and Filter roles through sockets: what the handlers are given, and what the web server gets.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import * as wire from "../../src/fastcgi/constants.ts";
import { allow, type Handler, type HandlerInfo } from "../../src/mod.ts";
import { type FastCgiClient, header, type Variables, variables } from "../support/fastcgi_client.ts";
import { fixture, until } from "../support/fastcgi_server.ts";
import { pattern, sha, stillness } from "../support/sockets.ts";
import { adapter } from "../support/runtime.ts";
import { Gate } from "../support/until.ts";

const { open, serve, connect, errors } = fixture();

const MIB = 1024 * 1024;
const never: Handler = () => {
  throw new Error("The wrong handler");
};

/** As mod_authnz_fcgi asks: no STDIN, no KEEP_CONN. */
function ask(client: FastCgiClient, id: number, more: Variables = {}, keepConn = false) {
  client.begin(id, { role: wire.ROLE_AUTHORIZER, keepConn }).params(id, variables(more));
  return client.response(id);
}

function beginFilter(client: FastCgiClient, id: number, more: Variables = {}): FastCgiClient {
  return client.begin(id, { role: wire.ROLE_FILTER }).params(id, variables({ REQUEST_METHOD: "POST", ...more }));
}

function codeOf(error: unknown): string {
  return error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`;
}

async function bytesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

test("allow comes with every adapter", async () => {
  expect((await adapter()).allow).toBe(allow);
});

describe("an authorizer", () => {
  test("lets in and sets variables", async () => {
    let seen: [Request, HandlerInfo] | undefined;
    const client = await open(never, {
      authorize: (request, info) => {
        seen = [request, info];
        return allow({ role: "editor", FULL_NAME: "Zoë" });
      },
    });
    const response = await ask(client, 1, {
      REQUEST_URI: "/private/a%20b?c",
      REMOTE_USER: "zoe",
      REMOTE_PASSWD: "secret",
      FCGI_ROLE: "AUTHORIZER",
    });
    expect(response).toMatchObject({
      status: 200,
      headers: [["Variable-ROLE", "editor"], ["Variable-FULL_NAME", "Zo\xc3\xab"]].sort(),
      text: "",
      appStatus: 0,
      protocolStatus: wire.REQUEST_COMPLETE,
    });
    const [request, info] = seen!;
    expect([request.method, request.url]).toEqual(["GET", "http://www.example.com/private/a%20b?c"]);
    expect(request.body).toBe(null);
    expect(info).toMatchObject({ protocol: "fastcgi", role: "authorizer", data: undefined, remoteUser: "zoe" });
    expect(info.params.get("REMOTE_PASSWD")).toBe("secret");
    await info.completed;
    await client.ended;
  });

  test("refuses with a page of its own", async () => {
    const client = await open(never, {
      authorize: () => new Response("Members only", { status: 403, headers: { "variable-role": "x", "x-why": "no" } }),
    });
    const response = await ask(client, 1, {}, true);
    expect(response).toMatchObject({ status: 403, text: "Members only" });
    expect([header(response, "x-why"), header(response, "variable-role")]).toEqual(["no", undefined]);
    expect((await ask(client, 1, {}, true)).status).toBe(403);
  });

  test("has no body, whatever the method", async () => {
    const client = await open(never, { authorize: (request) => allow({ BODY: String(request.body) }) });
    for (const REQUEST_METHOD of ["GET", "POST", "PUT", "DELETE", "PROPFIND"]) {
      const response = await ask(client, 1, { REQUEST_METHOD, CONTENT_LENGTH: "5" }, true);
      expect(response.headers).toEqual([["Variable-BODY", "null"]]);
    }
  });

  test("the body of a 200 is dropped, and cancelled", async () => {
    const cancelled = new Gate();
    const client = await open(never, {
      authorize: () =>
        new Response(new ReadableStream({ cancel: () => cancelled.open() }), {
          headers: { "variable-a": "1", "content-type": "text/plain", "content-length": "5" },
        }),
    });
    expect(await ask(client, 1)).toMatchObject({ status: 200, headers: [["Variable-A", "1"]], text: "" });
    await cancelled.promise;
  });

  test("that throws refuses with a 500", async () => {
    const client = await open(never, {
      authorize: () => {
        throw new Error("no database");
      },
    });
    expect(await ask(client, 1)).toMatchObject({ status: 500, text: "500 Internal Server Error\n" });
    expect(errors).toHaveLength(1);
  });

  test("that throws lets nobody in, even if onError returns a 200", async () => {
    const client = await open(never, {
      authorize: () => Promise.reject(new Error("no database")),
      onError: () => new Response("Something went wrong"),
    });
    expect((await ask(client, 1)).status).toBe(500);
  });

  test("that throws is answered with what onError returns otherwise", async () => {
    const client = await open(never, {
      authorize: () => Promise.reject(new Error("no database")),
      onError: () => new Response("Later", { status: 503 }),
    });
    expect(await ask(client, 1)).toMatchObject({ status: 503, text: "Later" });
  });

  test.each([
    ["OPTIONS *", { REQUEST_METHOD: "OPTIONS", REQUEST_URI: "*" }, 403],
    ["TRACE", { REQUEST_METHOD: "TRACE" }, 405],
    ["a path outside the mount", { REQUEST_URI: "/elsewhere" }, 404],
    ["a URL that is none", { REQUEST_URI: "x" }, 400],
  ])("nothing but its own 200 lets in: %s", async (_, more, status) => {
    const mount = "REQUEST_URI" in more && more.REQUEST_URI === "/elsewhere" ? { mount: "/app" } : {};
    const client = await open(never, { authorize: () => new Response(null, { status: 403 }), ...mount });
    expect((await ask(client, 1, more as Variables)).status).toBe(status);
  });

  test("and responders share a connection, each with its handler", async () => {
    const client = await open((_, info) => new Response(info.role), {
      authorize: (_, info) => allow({ R: info.role }),
    });
    client.begin(1, { role: wire.ROLE_AUTHORIZER }).request(2).params(1, variables());
    expect((await client.response(1)).headers).toEqual([["Variable-R", "authorizer"]]);
    expect((await client.response(2)).text).toBe("responder");
  });
});

describe("a filter", () => {
  test("is given the body and the file", async () => {
    let data: HandlerInfo["data"];
    const client = await open(async (request, info) => {
      ({ data } = info);
      const body = await request.text();
      return new Response(`${info.role} ${body} ${new TextDecoder().decode(await bytesOf(info.data!.stream))}`);
    });
    const more = { CONTENT_LENGTH: "4", FCGI_DATA_LENGTH: "8", FCGI_DATA_LAST_MOD: "1700000000" };
    beginFilter(client, 1, more).stdin(1, "body").stdinEnd(1).data(1, "the ").data(1, "file").dataEnd(1);
    expect(await client.response(1)).toMatchObject({ status: 200, text: "filter body the file", appStatus: 0 });
    expect(data).toMatchObject({ length: 8, lastModified: new Date(1700000000_000) });
  });

  test("a file of which nothing is said, and one of no bytes", async () => {
    const client = await open(async (_, { data }) =>
      Response.json([data!.length ?? "none", data!.lastModified ?? "none", (await bytesOf(data!.stream)).length])
    );
    beginFilter(client, 1, { REQUEST_METHOD: "GET" }).stdinEnd(1).data(1, "some").dataEnd(1);
    expect(JSON.parse((await client.response(1)).text)).toEqual(["none", "none", 4]);
    beginFilter(client, 1, { REQUEST_METHOD: "GET", FCGI_DATA_LENGTH: "0", FCGI_DATA_LAST_MOD: "0" }).stdinEnd(1);
    expect(JSON.parse((await client.response(1)).text)).toEqual([0, "1970-01-01T00:00:00.000Z", 0]);
  });

  test("a file of 20 MB passes through, as does its body", async () => {
    const client = await open(async (request, { data }) =>
      new Response(`${sha(await bytesOf(request.body!))} ${sha(await bytesOf(data!.stream))}`)
    );
    const [body, file] = [pattern(3 * MIB), pattern(20 * MIB)];
    beginFilter(client, 1).stdin(1, body).stdinEnd(1).data(1, file).dataEnd(1);
    expect((await client.response(1)).text).toBe(`${sha(body)} ${sha(file)}`);
  });

  test("a file that is streamed back keeps its order", async () => {
    const client = await open((_, { data }) => new Response(data!.stream));
    const file = pattern(8 * MIB);
    beginFilter(client, 1, { REQUEST_METHOD: "GET", FCGI_DATA_LENGTH: String(file.length) });
    client.stdinEnd(1).data(1, file).dataEnd(1);
    expect(sha((await client.response(1)).body)).toBe(sha(file));
  });

  test("a file that nobody reads stops the web server, and what is held is bounded", async () => {
    const gate = new Gate();
    const server = await serve(async (_, { data }) => {
      await gate.promise;
      return new Response(sha(await bytesOf(data!.stream)));
    }, { maxBufferedBytes: 100_000 });
    const client = await connect(server);
    const file = pattern(40 * MIB);
    beginFilter(client, 1).stdinEnd(1).data(1, file).dataEnd(1);
    expect(await stillness(() => server.stats.bytesReceived)).toBeLessThan(2 * MIB);
    gate.open();
    expect((await client.response(1)).text).toBe(sha(file));
  });

  test("a body that is not read does not keep the file away", async () => {
    let body: Promise<string> | undefined;
    const client = await open(async (request, { data }) => {
      const file = sha(await bytesOf(data!.stream));
      body = request.text().then(() => "whole", codeOf);
      await body;
      return new Response(file);
    }, { maxBufferedBytes: 100_000 });
    const file = pattern(5 * MIB);
    beginFilter(client, 1).stdin(1, pattern(5 * MIB)).stdinEnd(1).data(1, file).dataEnd(1);
    expect((await client.response(1)).text).toBe(sha(file));
    expect(await body!).toBe("ERR_ABORTED");
  });

  test("both read at once", async () => {
    const client = await open(async (request, { data }) => {
      const both = await Promise.all([bytesOf(request.body!), bytesOf(data!.stream)]);
      return new Response(both.map(sha).join(" "));
    }, { maxBufferedBytes: 50_000 });
    const [body, file] = [pattern(4 * MIB), pattern(4 * MIB + 1)];
    beginFilter(client, 1).stdin(1, body).stdinEnd(1).data(1, file).dataEnd(1);
    expect((await client.response(1)).text).toBe(`${sha(body)} ${sha(file)}`);
  });

  test("a body half read, whose rest stops the file, has the time of a body", async () => {
    const client = await open(async (request, { data }) => {
      await request.body!.getReader().read();
      return new Response(await bytesOf(data!.stream) as Uint8Array<ArrayBuffer>);
    }, { maxBufferedBytes: 50_000, bodyTimeout: 80 });
    beginFilter(client, 1).stdin(1, pattern(4 * MIB)).stdinEnd(1).data(1, "file").dataEnd(1);
    expect((await client.response(1)).status).toBe(500);
  });

  test("may answer without reading, and the connection serves on", async () => {
    const client = await open((_, info) => new Response(info.role), { maxBufferedBytes: 50_000 });
    const file = pattern(4 * MIB);
    beginFilter(client, 1, { FCGI_DATA_LENGTH: String(file.length) }).stdin(1, file).stdinEnd(1).data(1, file).dataEnd(
      1,
    );
    expect((await client.response(1)).text).toBe("filter");
    expect((await client.fetch(1)).text).toBe("responder");
  });

  test("a large answer to a web server that sends everything before it reads", async () => {
    const answer = pattern(6 * MIB);
    const client = await open(() => new Response(answer as Uint8Array<ArrayBuffer>), { maxBufferedBytes: 50_000 });
    client.socket.pause();
    await new Promise<void>((resolve) => {
      beginFilter(client, 1, { REQUEST_METHOD: "GET" }).stdinEnd(1).data(1, pattern(12 * MIB)).dataEnd(1);
      client.socket.write(new Uint8Array(0), () => resolve());
    });
    client.socket.resume();
    expect(sha((await client.response(1)).body)).toBe(sha(answer));
  });

  test("a cancelled file is skipped", async () => {
    const client = await open(async (_, { data }) => {
      const reader = data!.stream.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return new Response(String(value!.length > 0));
    }, { maxBufferedBytes: 50_000 });
    beginFilter(client, 1).stdinEnd(1).data(1, pattern(4 * MIB)).dataEnd(1);
    expect((await client.response(1)).text).toBe("true");
    expect((await client.fetch(1, { REQUEST_METHOD: "GET" })).status).toBe(500); // it has no file
  });

  interface Broken {
    name: string;
    act(client: FastCgiClient): unknown;
    code: string;
    status: number;
  }
  const BROKEN: Broken[] = [
    { name: "shorter than its length", act: (client) => client.dataEnd(1), code: "ERR_BODY_TRUNCATED", status: 400 },
    { name: "late", act: () => {}, code: "ERR_TIMEOUT", status: 408 },
    { name: "aborted", act: (client) => client.abort(1), code: "ERR_ABORTED", status: 0 },
    { name: "lost with its connection", act: (client) => client.socket.end(), code: "ERR_ABORTED", status: -1 },
  ];

  test.each(BROKEN)("a file that is $name fails", async ({ act, code, status }) => {
    const read = new Gate<Promise<string>>();
    let signal: AbortSignal | undefined;
    const client = await open(async (request, { data }) => {
      ({ signal } = request);
      const whole = bytesOf(data!.stream).then(() => "whole", codeOf);
      read.open(whole.then((it) => it));
      return new Response(await whole);
    }, { bodyTimeout: code === "ERR_TIMEOUT" ? 80 : 60_000 });
    beginFilter(client, 1, { FCGI_DATA_LENGTH: "10" }).stdinEnd(1).data(1, "half");
    await until(() => read.settled);
    act(client);
    expect(await read.promise).toBe(code);
    if (status >= 0) expect((await client.response(1)).status).toBe(status);
    expect(codeOf(signal!.reason)).toBe(code);
  });

  test("a file that is longer than its length is cut", async () => {
    const client = await open((_, { data }) => new Response(data!.stream));
    beginFilter(client, 1, { FCGI_DATA_LENGTH: "4" }).stdinEnd(1).data(1, "file and more").data(1, "more").dataEnd(1);
    expect((await client.response(1)).text).toBe("file");
  });

  test("what of the file was not read when the response has been sent is not the whole", async () => {
    let data: HandlerInfo["data"];
    const client = await open((_, info) => {
      ({ data } = info);
      return new Response("x");
    });
    beginFilter(client, 1).stdinEnd(1);
    await client.response(1);
    expect(await bytesOf(data!.stream).then(() => "whole", codeOf)).toBe("ERR_ABORTED");
  });
});
