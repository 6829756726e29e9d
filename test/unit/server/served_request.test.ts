import { describe, expect, test, vi } from "vitest";
import type { Exchange } from "../../../src/connection/machine.ts";
import { ProtocolError } from "../../../src/errors.ts";
import type { RequestHead } from "../../../src/http/request_head.ts";
import type { ResponseHead } from "../../../src/http/response.ts";
import { Observer } from "../../../src/server/observe.ts";
import { ServedRequest } from "../../../src/server/served_request.ts";
import { resolveSettings } from "../../../src/server/settings.ts";
import { Soon } from "../../../src/server/soon.ts";
import type { ConnectionOptions, Handler } from "../../../src/types.ts";
import { latin1 } from "../../support/hex.ts";

/** An exchange that writes down what it is told to do, and ends when told so. */
class FakeExchange implements Exchange {
  readonly head: RequestHead;
  events!: Exchange["events"];
  readonly commands: string[] = [];
  readonly heads: ResponseHead[] = [];
  body = "";

  constructor(more: Partial<RequestHead>) {
    this.head = {
      role: "responder",
      method: "GET",
      scheme: "http",
      authority: "h.example",
      target: "/",
      headers: [],
      contentLength: 0,
      meta: {} as RequestHead["meta"],
      ...more,
    };
  }

  pullBody(): void {
    this.commands.push("pullBody");
  }

  discardBody(): void {
    this.commands.push("discardBody");
  }

  sendHead(head: ResponseHead): void {
    this.commands.push(`head ${head.status}`);
    this.heads.push(head);
  }

  sendBody(chunk: Uint8Array): void {
    this.body += String.fromCharCode(...chunk);
  }

  flush(): void {
    this.commands.push("flush");
  }

  log(): void {
    this.commands.push("log");
  }

  end(keep = true): void {
    this.commands.push(keep ? "end" : "end-close");
    this.events.onFinished();
  }

  fail(): void {
    this.commands.push("fail");
  }
}

function serve(more: Partial<RequestHead>, handler: Handler, options: ConnectionOptions = {}) {
  const exchange = new FakeExchange(more);
  const logger = { error: vi.fn(), warn: vi.fn() };
  const observer = new Observer(logger);
  const served = new ServedRequest(exchange, {
    handler,
    settings: resolveSettings({ logger, ...options }, () => {}),
    observer,
    soon: new Soon(),
    uploads: new Set(),
    protocol: "ajp",
    peerAddr: undefined,
    flush: () => {},
    blocked: undefined,
  });
  served.start();
  return { exchange, observer, served, logger };
}

const never: Handler = () => {
  throw new Error("The handler must not be called");
};
const later = () => new Promise((resolve) => setTimeout(resolve, 20));

describe("ServedRequest refuses without calling the handler", () => {
  test.each([
    ["TRACE", "/", 405],
    ["TRACK", "/", 405],
    ["trace", "/", 405],
    ["CONNECT", "/", 501],
  ])("%s %s with %i", (method, target, status) => {
    const { exchange, observer } = serve({ method, target, contentLength: 5 }, never);
    expect(exchange.heads).toMatchObject([{ status }]);
    expect(exchange.commands.at(-1)).toBe("end");
    expect(exchange.commands).toContain("discardBody");
    expect(observer.stats).toMatchObject({ activeRequests: 0, totalRequests: 0, protocolErrors: 0 });
  });

  test("a target that is outside of the mount with 404", () => {
    for (const target of ["/testing", "/", "/test/../x"]) {
      const { exchange } = serve({ target, method: "POST", contentLength: -1 }, never, { mount: "/test" });
      expect(exchange.heads).toMatchObject([{ status: 404 }]);
      expect(exchange.commands).not.toContain("pullBody");
    }
  });

  test("a URL that no Request can have with 400, and closes", () => {
    const { exchange, observer } = serve({ authority: "1.2.3.4.5" }, never);
    expect(exchange.heads).toMatchObject([{ status: 400 }]);
    expect(exchange.commands.at(-1)).toBe("end-close");
    expect(observer.stats.protocolErrors).toBe(1);
  });
});

test("ServedRequest answers OPTIONS * itself", () => {
  const { exchange } = serve({ method: "OPTIONS", target: "*" }, never);
  expect(exchange.heads).toMatchObject([{ status: 200, contentLength: 0 }]);
  expect(exchange.heads[0]!.headers).toContainEqual(["allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"]);
});

test("ServedRequest takes the mount off the URL", async () => {
  const { exchange } = serve({ target: "/test/a?b" }, (request) => new Response(request.url), { mount: "/test/" });
  await later();
  expect(exchange.body).toBe("http://h.example/a?b");
});

test.each(["GET", "HEAD"])("ServedRequest gives %s no body, and discards the one that was sent", (method) => {
  let body: unknown;
  const { exchange } = serve({ method, contentLength: 5 }, (request) => {
    body = request.body;
    return new Response(null);
  });
  expect(body).toBeNull();
  expect(exchange.commands).toEqual(["discardBody", "head 200", "end"]);
});

test("ServedRequest never asks for a body that the handler does not read", async () => {
  const { exchange } = serve({ method: "POST", contentLength: 5 }, () => new Response("ok"));
  await later();
  expect(exchange.commands).not.toContain("pullBody");
  expect(exchange.body).toBe("ok");
});

test("ServedRequest pulls the body as the handler reads it", async () => {
  const { exchange } = serve(
    { method: "POST", contentLength: 5 },
    async (request) => new Response(await request.text()),
  );
  await later();
  expect(exchange.commands).toEqual(["pullBody"]);
  exchange.events.onBody(latin1("hello"));
  exchange.events.onBodyEnd();
  await later();
  expect(exchange.body).toBe("hello");
  expect(exchange.commands.at(-1)).toBe("end");
});

test("ServedRequest aborts the signal once, fails the body and answers with the status of the error", async () => {
  const aborts: unknown[] = [];
  let read: Promise<unknown> | undefined;
  const error = new ProtocolError("ERR_BODY_TRUNCATED", "It is short", { statusHint: 400 });
  const { exchange } = serve({ method: "POST", contentLength: 5 }, (request) => {
    request.signal.addEventListener("abort", () => aborts.push(request.signal.reason));
    read = request.text().catch((reason: unknown) => reason);
    return new Promise(() => {});
  });
  exchange.events.onAbort(error);
  exchange.events.onAbort(error);
  expect(await read).toBe(error);
  expect(aborts).toEqual([error]);
  expect(exchange.heads).toMatchObject([{ status: 400 }]);
});

test("ServedRequest answers 500 and tells nobody why but the log when the handler throws", async () => {
  const throws: Handler = () => {
    throw new Error("secret");
  };
  const returnsNothing = (() => undefined) as unknown as Handler;
  for (const handler of [throws, returnsNothing, () => Promise.reject(new Error("secret"))]) {
    const { exchange, logger } = serve({}, handler);
    await later();
    expect(exchange.heads).toMatchObject([{ status: 500 }]);
    expect(exchange.body).toBe("500 Internal Server Error\n");
    expect(logger.error).toHaveBeenCalledTimes(1);
  }
});

test.each([204, 205, 304])("ServedRequest sends no body with %i", async (status) => {
  const { exchange } = serve({}, () => new Response(null, { status }));
  await later();
  expect(exchange.heads).toMatchObject([{ status }]);
  expect(exchange.body).toBe("");
});

test("ServedRequest cuts a body at its Content-Length, and does not keep the connection", async () => {
  const { exchange, observer } = serve({}, () => new Response("too long", { headers: { "content-length": "3" } }));
  await later();
  expect(exchange.body).toBe("too");
  expect(exchange.commands.at(-1)).toBe("end-close");
  expect(observer.stats.handlerErrors).toBe(1);
});

test("ServedRequest answers 500 for a body shorter than its Content-Length while nothing has been sent", async () => {
  const { exchange } = serve({}, () => new Response("short", { headers: { "content-length": "10" } }));
  await later();
  expect(exchange.heads).toMatchObject([{ status: 500 }]);
});
