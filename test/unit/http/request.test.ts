import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import { buildRequest, requestMayHaveBody, type SignalSource } from "../../../src/http/request.ts";
import type { RequestHead } from "../../../src/http/request_head.ts";
import { runtime } from "../../support/runtime.ts";

class Source implements SignalSource {
  touched = 0;
  readonly controller = new AbortController();
  get signal(): AbortSignal {
    this.touched++;
    return this.controller.signal;
  }
}

function head(more: Partial<RequestHead> = {}): RequestHead {
  return {
    role: "responder",
    method: "GET",
    scheme: "http",
    authority: "www.example.com",
    target: "/a?b",
    headers: [["host", "www.example.com"], ["x-a", "1"]],
    contentLength: 0,
    meta: {
      remoteAddr: { transport: "tcp", hostname: "", port: 0 },
      params: new Map(),
    } as unknown as RequestHead["meta"],
    ...more,
  };
}

function build(more: Partial<RequestHead> = {}, body: string | null = null, source = new Source()): Request {
  const stream = body === null ? null : new Response(body).body as ReadableStream<Uint8Array<ArrayBuffer>>;
  const made = head(more);
  return buildRequest(made, made.target, stream, source);
}

function refusal(more: Partial<RequestHead>): unknown {
  try {
    build(more);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error;
  }
  throw new Error("Nothing was thrown");
}

describe("buildRequest", () => {
  test("makes a Request of URL, method and headers", () => {
    const request = build({ scheme: "https" });
    expect(request).toBeInstanceOf(Request);
    expect(request.url).toBe("https://www.example.com/a?b");
    expect(request.method).toBe("GET");
    expect([...request.headers]).toEqual([["host", "www.example.com"], ["x-a", "1"]]);
    expect(request.body).toBeNull();
  });

  test("keeps a path that begins with two slashes out of the host", () => {
    expect(build({ target: "//evil.example/x" }).url).toBe("http://www.example.com//evil.example/x");
  });

  test("uses the target that it is told, not the head's", () => {
    expect(buildRequest(head(), "/other", null, new Source()).url).toBe("http://www.example.com/other");
  });

  test("takes headers that fetch forbids, and values of bytes above 7F", () => {
    const request = build({ headers: [["cookie", "a=1; b=2"], ["origin", "http://o"], ["x-a", "\x80\xe9\xff"]] });
    expect(request.headers.get("cookie")).toBe("a=1; b=2");
    expect(request.headers.get("origin")).toBe("http://o");
    expect(request.headers.get("x-a")).toBe("\x80\xe9\xff");
  });

  test("joins a repeated header with a comma, and knows no __proto__", () => {
    const request = build({ headers: [["x-a", "1"], ["x-a", "2"], ["__proto__", "p"]] });
    expect(request.headers.get("x-a")).toBe("1, 2");
    expect(request.headers.get("__proto__")).toBe("p");
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("gives %s its body", async (method) => {
    const request = build({ method, contentLength: -1 }, "body");
    expect(request.method).toBe(method);
    expect(await request.text()).toBe("body");
  });

  test.each([
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "REPORT",
    "VERSION-CONTROL",
    "CHECKIN",
    "SEARCH",
    "BASELINE-CONTROL",
    "MKACTIVITY",
    "FOO",
    "M-SEARCH",
    "PATCH",
    "foo",
  ])("keeps the method %s, in a clone too", async (method) => {
    const request = build({ method, contentLength: -1 }, "body");
    expect(request.method).toBe(method);
    const copy = request.clone();
    expect(copy.method).toBe(method);
    expect(copy.clone().method).toBe(method);
    expect(await copy.text()).toBe("body");
    expect(await request.text()).toBe("body");
  });

  test("does not look at the signal before the handler does, and gives the same one each time", () => {
    const source = new Source();
    const request = build({}, null, source);
    expect(request.url).toBeTruthy();
    expect(source.touched).toBe(0);
    expect(request.signal).toBe(source.controller.signal);
    expect(request.signal).toBe(request.signal);
  });

  test("aborts the signal of a clone with the request's own", () => {
    const source = new Source();
    const copy = build({}, null, source).clone();
    expect(copy.signal.aborted).toBe(false);
    source.controller.abort(new Error("gone"));
    expect(copy.signal.aborted).toBe(true);
    expect((copy.signal.reason as Error).message).toBe("gone");
  });

  test("aborts the signal of a clone of a clone", () => {
    const source = new Source();
    const copy = build({ method: "FOO", contentLength: -1 }, "body", source).clone().clone();
    source.controller.abort();
    expect(copy.signal.aborted).toBe(true);
  });

  test("makes what new Request() takes", async () => {
    const copy = new Request(build({ method: "POST", contentLength: -1 }, "body"), { headers: { "x-b": "2" } });
    expect(copy.method).toBe("POST");
    expect(copy.url).toBe("http://www.example.com/a?b");
    expect(copy.headers.get("x-b")).toBe("2");
    expect(await copy.text()).toBe("body");
    const same = new Request(build());
    expect(same.headers.get("x-a")).toBe("1");
  });

  test("makes what fetch() takes: an aborted one is not sent", async () => {
    const source = new Source();
    const request = build({ authority: "127.0.0.1:1" }, null, source);
    source.controller.abort();
    await expect(fetch(request, { signal: request.signal })).rejects.toThrow();
  });

  test.each([
    ["an authority that a URL parser refuses", { authority: "1.2.3.4.5" }],
    ["an IPv6 address that is none", { authority: "[:::]" }],
    ["a header name that is no token", { headers: [["a b", "1"]] as [string, string][] }],
    ["a header value with CR LF", { headers: [["a", "1\r\nb: 2"]] as [string, string][] }],
    ["a header value with NUL", { headers: [["a", "\x00"]] as [string, string][] }],
  ])("refuses %s with 400", (_what, more) => {
    expect(refusal(more)).toMatchObject({ code: "ERR_BAD_REQUEST", statusHint: 400, cause: expect.any(Error) });
  });

  test.each(["TRACE", "CONNECT", "TRACK"])("never makes a Request of %s that says another method", (method) => {
    let request: Request;
    try {
      request = build({ method });
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_BAD_REQUEST", statusHint: 400 });
      return;
    }
    expect(runtime).toBe("bun");
    expect(request.method).toBe(method);
  });
});

test("requestMayHaveBody is false of GET and HEAD in any case", () => {
  for (const method of ["GET", "HEAD", "get", "Head"]) expect(requestMayHaveBody(method)).toBe(false);
  for (const method of ["POST", "OPTIONS", "DELETE", "FOO", "GETS", ""]) expect(requestMayHaveBody(method)).toBe(true);
});
