import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import {
  isTypelessStringBody,
  mayHaveBody,
  plainBody,
  plainHead,
  readResponseHead,
} from "../../../src/http/response.ts";
import { latin1 } from "../../support/hex.ts";
import { runtime } from "../../support/runtime.ts";

function headers(init: Record<string, string>): [string, string][] {
  return readResponseHead(new Response(null, { headers: init })).headers;
}

/** A thing that looks like a Response, as other implementations' are. */
function like(parts: Record<string, unknown>): Response {
  const defaults = { status: 200, statusText: "", headers: new Headers(), body: null, bodyUsed: false };
  return { ...defaults, ...parts } as unknown as Response;
}

function refusal(response: unknown): unknown {
  try {
    readResponseHead(response as Response);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error;
  }
  throw new Error("Nothing was thrown");
}

const BAD_RESPONSE = expect.objectContaining({ code: "ERR_BAD_RESPONSE", initiator: "handler" });

describe("readResponseHead", () => {
  test("reads status, reason and headers, and changes nothing", () => {
    const response = new Response(null, { status: 404, statusText: "Gone away", headers: { "X-A": "1" } });
    expect(readResponseHead(response)).toEqual({
      status: 404,
      reason: "Gone away",
      headers: [["x-a", "1"]],
      contentLength: -1,
    });
    expect([...response.headers]).toEqual([["x-a", "1"]]);
  });

  test("gives the standard reason where there is none", () => {
    expect(readResponseHead(new Response(null, { status: 503 })).reason).toBe("Service Unavailable");
    expect(readResponseHead(new Response(null, { status: 599 })).reason).toBe("599");
  });

  test.each(["OK\r\nX-Evil: 1", "OK\nX-Evil: 1", "a\x00b", "\x7f", "Ω", "\ud83d\ude00", 42, undefined, null])(
    "gives the standard reason for statusText %j",
    (statusText) => expect(readResponseHead(like({ statusText })).reason).toBe("OK"),
  );

  test("keeps a reason of bytes above 7F", () => {
    expect(readResponseHead(like({ statusText: "Tr\xe8s bien" })).reason).toBe("Tr\xe8s bien");
  });

  test("never lets CR LF of a real statusText through", () => {
    let response: Response;
    try {
      response = new Response(null, { statusText: "OK\r\nX-Evil: 1" });
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError);
      expect(runtime).not.toBe("bun");
      return;
    }
    expect(readResponseHead(response).reason).toBe("OK");
  });

  test("drops the headers that belong to a connection", () => {
    expect(headers({
      connection: "close",
      "keep-alive": "timeout=5",
      "proxy-connection": "close",
      te: "trailers",
      trailer: "x",
      "transfer-encoding": "chunked",
      upgrade: "websocket",
      status: "500",
      "x-kept": "yes",
    })).toEqual([["x-kept", "yes"]]);
  });

  test("gives each Set-Cookie a pair of its own, unfolded", () => {
    const init = new Headers([["set-cookie", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], ["x-a", "1"]]);
    init.append("set-cookie", "b=2");
    const found = readResponseHead(new Response(null, { headers: init })).headers;
    expect(found.filter(([name]) => name === "set-cookie")).toEqual([
      ["set-cookie", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
      ["set-cookie", "b=2"],
    ]);
  });

  test.each([
    ["0", 0],
    ["5", 5],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["", -1],
    ["five", -1],
    ["-5", -1],
    ["5, 5", -1],
    ["+5", -1],
    ["9007199254740993", -1],
  ])("reads content-length %j as %i, and never as a header", (text, length) => {
    const head = readResponseHead(like({ headers: new Map([["content-length", text]]) }));
    expect(head).toMatchObject({ contentLength: length, headers: [] });
  });

  test("makes control characters in a value blanks, and drops what has no byte", () => {
    const init = new Map([
      ["x-a", "a\r\nX-Evil: 1\x00\x7f"],
      ["x-b", "a\tb\x80\x9f"],
      ["x-c", "Κ"],
      ["x-d", "d"],
    ]);
    expect(readResponseHead(like({ headers: init })).headers).toEqual([
      ["x-a", "a  X-Evil: 1  "],
      ["x-b", "a\tb\x80\x9f"],
      ["x-d", "d"],
    ]);
  });

  test("drops a name that is no token", () => {
    const init = new Map([["x a", "1"], ["", "2"], ["x:b", "3"], ["x\r\ny", "4"], ["x-ok", "5"]]);
    expect(readResponseHead(like({ headers: init })).headers).toEqual([["x-ok", "5"]]);
  });

  test.each([undefined, null, "text", 42, {}, { status: "200" }, Promise.resolve(new Response())])(
    "refuses %o, which is no Response",
    (value) => expect(refusal(value)).toEqual(BAD_RESPONSE),
  );

  test.each([0, 100, 101, 103, 199, 600, 999, -1, NaN, Infinity])("refuses status %d", (status) => {
    expect(refusal(like({ status }))).toEqual(BAD_RESPONSE);
  });

  test("refuses Response.error()", () => {
    expect(refusal(Response.error())).toEqual(BAD_RESPONSE);
  });

  test("refuses a body that has been used", async () => {
    const response = new Response("text");
    await response.text();
    expect(refusal(response)).toEqual(BAD_RESPONSE);
  });

  test("reads Response.redirect() and Response.json()", () => {
    expect(readResponseHead(Response.redirect("http://h/x", 307))).toMatchObject({
      status: 307,
      reason: "Temporary Redirect",
      headers: [["location", "http://h/x"]],
    });
    expect(readResponseHead(Response.json({})).headers).toContainEqual([
      "content-type",
      expect.stringMatching(/^application\/json/),
    ]);
  });
});

test("mayHaveBody is false of HEAD and of the statuses without a body", () => {
  expect(mayHaveBody("GET", 200)).toBe(true);
  expect(mayHaveBody("HEAD", 200)).toBe(false);
  for (const status of [204, 205, 304]) expect(mayHaveBody("GET", status)).toBe(false);
  expect(mayHaveBody("head", 200)).toBe(true); // methods know case, and "head" is another
});

test("plainHead and plainBody say the status and nothing more", () => {
  expect(plainHead(404, 14)).toEqual({
    status: 404,
    reason: "Not Found",
    headers: [["content-type", "text/plain;charset=UTF-8"]],
    contentLength: 14,
  });
  expect(plainHead(405, 0, [["allow", "GET"]]).headers).toContainEqual(["allow", "GET"]);
  expect(plainBody(404)).toEqual(latin1("404 Not Found\n"));
});

describe("isTypelessStringBody", () => {
  const owes = runtime === "bun";

  test("is true of text without a type where the runtime left it out", () => {
    expect(isTypelessStringBody(new Response("text"), [latin1("text")])).toBe(owes);
  });

  test("is false where there is a type, no text or more than one chunk", () => {
    expect(isTypelessStringBody(new Response("a", { headers: { "content-type": "a/b" } }), [latin1("a")])).toBe(false);
    expect(isTypelessStringBody(new Response("a"), [latin1("\xff")])).toBe(false);
    expect(isTypelessStringBody(new Response("a"), [latin1("a"), latin1("b")])).toBe(false);
    expect(isTypelessStringBody(new Response(""), [])).toBe(false);
  });
});
