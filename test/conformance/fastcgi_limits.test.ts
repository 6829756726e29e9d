// How many requests are taken, and under which ids, through sockets.
import { describe, expect, test } from "vitest";
import * as wire from "../../src/fastcgi/constants.ts";
import { fastCgiRequest } from "../support/fastcgi.ts";
import { header, variables } from "../support/fastcgi_client.ts";
import { fixture, until } from "../support/fastcgi_server.ts";

const { open, serve, connect } = fixture();

/** A handler whose requests wait until they are let go. */
function waiting() {
  const finish: ((response: Response) => void)[] = [];
  return { finish, handler: () => new Promise<Response>((resolve) => finish.push(resolve)) };
}

describe("maxActiveRequests", () => {
  test("counts the requests of all connections: 503 with Retry-After over it, and END", async () => {
    const { finish, handler } = waiting();
    const server = await serve(handler, { maxActiveRequests: 2 });
    const [one, two] = [await connect(server), await connect(server)];
    one.request(1);
    await until(() => finish.length === 1);
    two.request(1);
    await until(() => finish.length === 2);
    const refused = await one.fetch(3);
    expect(refused).toMatchObject({ status: 503, appStatus: 0, protocolStatus: wire.REQUEST_COMPLETE });
    expect(header(refused, "retry-after")).toBe("1");
    expect((await two.fetch(3, { REQUEST_METHOD: "POST" }, "a body that nobody reads")).status).toBe(503);
    expect(server.stats.activeRequests).toBe(2);
    finish[0]!(new Response("one"));
    expect((await one.response(1)).text).toBe("one");
    two.request(5);
    await until(() => finish.length === 3);
    finish[1]!(new Response("two"));
    finish[2]!(new Response("three"));
    expect((await two.response(1)).text).toBe("two");
    expect((await two.response(5)).text).toBe("three");
    await until(() => server.stats.activeRequests === 0);
  });

  test("a filter that is refused is skipped with its file", async () => {
    const { finish, handler } = waiting();
    const client = await open(handler, { maxActiveRequests: 1 });
    client.request(1);
    await until(() => finish.length === 1);
    client.begin(3, { role: wire.ROLE_FILTER }).params(3, variables()).stdinEnd(3).data(3, "file").dataEnd(3);
    expect((await client.response(3)).status).toBe(503);
    finish[0]!(new Response("fine"));
    expect((await client.response(1)).text).toBe("fine");
  });

  test("an authorizer that is refused lets nobody in", async () => {
    const { finish, handler } = waiting();
    const client = await open(handler, { maxActiveRequests: 1, authorize: () => new Response() });
    client.request(1);
    await until(() => finish.length === 1);
    client.begin(3, { role: wire.ROLE_AUTHORIZER }).params(3, variables());
    expect((await client.response(3)).status).toBe(503);
  });
});

describe("maxConcurrentRequests", () => {
  test("counts those of one connection: 503 with Retry-After over it, and END", async () => {
    const { finish, handler } = waiting();
    const server = await serve(handler, { maxConcurrentRequests: 2 });
    const [one, two] = [await connect(server), await connect(server)];
    one.request(1).request(3);
    const refused = await one.fetch(5);
    expect(refused).toMatchObject({ status: 503, appStatus: 0, protocolStatus: wire.REQUEST_COMPLETE });
    expect(header(refused, "retry-after")).toBe("1");
    two.request(1);
    await until(() => finish.length === 3);
    for (const resolve of finish) resolve(new Response("fine"));
    for (const [client, id] of [[one, 1], [one, 3], [two, 1]] as const) {
      expect((await client.response(id)).text).toBe("fine");
    }
    one.request(5);
    await until(() => finish.length === 4);
    finish[3]!(new Response("at last"));
    expect((await one.response(5)).text).toBe("at last");
  });
});

describe("maxRequestsPerConnection", () => {
  test("bounds requests that overlap", async () => {
    const { finish, handler } = waiting();
    const client = await open(handler, { maxRequestsPerConnection: 2 });
    client.request(1).request(3).request(5);
    expect(await client.response(5)).toMatchObject({ status: 503, protocolStatus: wire.REQUEST_COMPLETE });
    for (const resolve of finish) resolve(new Response("fine"));
    expect((await client.response(1)).text).toBe("fine");
    expect((await client.response(3)).text).toBe("fine");
    await client.ended;
    expect(finish).toHaveLength(2);
  });
});

describe("multiplex: false", () => {
  test("is told, and held to", async () => {
    const { finish, handler } = waiting();
    const client = await open(handler, { multiplex: false });
    expect(await client.getValues("FCGI_MPXS_CONNS", "FCGI_MAX_REQS")).toEqual({
      FCGI_MPXS_CONNS: "0",
      FCGI_MAX_REQS: "1",
    });
    client.request(1);
    await until(() => finish.length === 1);
    expect(await client.fetch(3)).toMatchObject({ status: 0, protocolStatus: wire.CANT_MPX_CONN });
    finish[0]!(new Response("fine"));
    expect((await client.response(1)).text).toBe("fine");
    client.request(3);
    await until(() => finish.length === 2);
    finish[1]!(new Response("now"));
    expect((await client.response(3)).text).toBe("now");
  });
});

describe("request ids", () => {
  test("the same for 1000 requests", async () => {
    const client = await open((request) => new Response(new URL(request.url).pathname));
    for (let n = 0; n < 1000; n++) expect((await client.fetch(1, { REQUEST_URI: `/${n}` })).text).toBe(`/${n}`);
  });

  test("never one again: 1, 3, 5 … 32767", async () => {
    const server = await serve((request) => new Response(request.headers.get("x-id")));
    const client = await connect(server);
    const vars = { REQUEST_METHOD: "GET", REQUEST_URI: "/", SERVER_NAME: "h" };
    const ids = Array.from({ length: 16384 }, (_, n) => 2 * n + 1);
    for (let at = 0; at < ids.length; at += 32) {
      const burst = ids.slice(at, at + 32);
      client.send(...burst.map((id) => fastCgiRequest(id, { ...vars, HTTP_X_ID: String(id) })));
      for (const id of burst) expect((await client.response(id)).text).toBe(String(id));
    }
    expect(server.stats).toMatchObject({ totalConnections: 1, totalRequests: 16384, activeRequests: 0 });
    expect(client.untaken).toEqual([]);
  }, 30_000);

  test("65535, beside 1", async () => {
    const client = await open((request) => new Response(request.headers.get("x-id")));
    client.request(65535, { HTTP_X_ID: "last" }).request(1, { HTTP_X_ID: "first" });
    expect((await client.response(1)).text).toBe("first");
    expect((await client.response(65535)).text).toBe("last");
  });
});
