// The Authorizer and Filter roles: what a request is in them, and what its response.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import type { Exchange } from "../../../src/connection/machine.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as wire from "../../../src/fastcgi/constants.ts";
import type { FastCgiOptions } from "../../../src/types.ts";
import { answer, echo, FakeDriver, responseHead, type Seen } from "../../support/fake_driver.ts";
import { begin, fastCgiRequest, pairs, type ReadRecord, record, records } from "../../support/fastcgi.ts";
import { type CgiResponse, readResponse, type Variables, variables } from "../../support/fastcgi_client.ts";
import { everyByte, utf8 } from "../../support/hex.ts";

const NONE = new Uint8Array(0);
const AUTHORIZE: FastCgiOptions = { authorize: () => new Response() };

function open(options: FastCgiOptions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options);
}

function started(requestId: number, role: number, vars: Variables, keepConn = true): Uint8Array {
  return concat([
    begin(requestId, keepConn, role),
    record(wire.PARAMS, requestId, pairs(vars)),
    record(wire.PARAMS, requestId),
  ]);
}

function authorizer(requestId: number, more: Variables = {}, keepConn = true): Uint8Array {
  return started(requestId, wire.ROLE_AUTHORIZER, variables(more), keepConn);
}

function filter(requestId: number, more: Variables = {}, keepConn = true): Uint8Array {
  return started(requestId, wire.ROLE_FILTER, variables({ REQUEST_METHOD: "POST", ...more }), keepConn);
}

function stdin(requestId: number, content: Uint8Array | string = NONE): Uint8Array {
  return record(wire.STDIN, requestId, typeof content === "string" ? utf8(content) : content);
}

function data(requestId: number, content: Uint8Array | string = NONE): Uint8Array {
  return record(wire.DATA, requestId, typeof content === "string" ? utf8(content) : content);
}

function sentFor(driver: FakeDriver, requestId: number): ReadRecord[] {
  return records(driver.sent).filter((record) => record.requestId === requestId);
}

function responseTo(driver: FakeDriver, requestId: number): CgiResponse {
  return readResponse(sentFor(driver, requestId));
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

function textOf(chunks: Uint8Array[]): string {
  return new TextDecoder().decode(concat(chunks));
}

/** Pulls until there is nothing more. */
function drainData({ exchange, data }: Seen): string {
  for (let pieces = -1; pieces !== data.length;) {
    pieces = data.length;
    exchange.data!.pullBody();
  }
  return textOf(data);
}

describe("an authorizer", () => {
  test("without a handler for it: UNKNOWN_ROLE", () => {
    const driver = open().receive(authorizer(1), fastCgiRequest(3, variables()));
    // lighttpd takes a refusal without a response for a 200.
    expect(responseTo(driver, 1)).toMatchObject({ status: 403, protocolStatus: wire.UNKNOWN_ROLE });
    expect(driver.seen).toHaveLength(1);
  });

  test("starts at the end of PARAMS, as mod_authnz_fcgi sends no STDIN", () => {
    const driver = open(AUTHORIZE).receive(...everyByte(authorizer(1)));
    expect(driver.seen[0]!.exchange.head).toMatchObject({ role: "authorizer", method: "GET", contentLength: 0 });
    expect(driver.machine.waiting).toBe("nothing");
  });

  test("takes the URL from REQUEST_URI, and is a GET where no method is said", () => {
    const vars = { REQUEST_URI: "/private/x%20y?z", HTTP_HOST: "h.example" };
    const driver = open(AUTHORIZE).receive(started(1, wire.ROLE_AUTHORIZER, vars));
    expect(driver.seen[0]!.exchange.head).toMatchObject({ method: "GET", target: "/private/x%20y?z" });
    driver.receive(started(3, wire.ROLE_AUTHORIZER, { ...vars, REQUEST_METHOD: "" }));
    expect(driver.seen[1]!.exchange.head.method).toBe("GET");
  });

  test.each(["GET", "HEAD", "POST", "PUT"])("%s has no body, whatever the variables say", (REQUEST_METHOD) => {
    const driver = open({ ...AUTHORIZE, maxBodyBytes: 10 });
    driver.receive(authorizer(1, { REQUEST_METHOD, CONTENT_LENGTH: "100", CONTENT_TYPE: "text/plain" }));
    const { head } = driver.seen[0]!.exchange;
    expect(head).toMatchObject({ method: REQUEST_METHOD, contentLength: 0 });
    expect(head.headers.map(([name]) => name)).not.toContain("content-length");
    expect(head.meta.params.has("CONTENT_LENGTH")).toBe(false);
  });

  test("a 200 sets variables, in upper case, and has nothing else", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1));
    const { exchange } = driver.seen[0]!;
    exchange.sendHead({
      status: 200,
      reason: "OK",
      headers: [["content-type", "text/html"], ["variable-role", "editor"], ["x-other", "1"], [
        "variable-a_b1",
        "\xc3",
      ]],
      contentLength: 4,
    });
    exchange.sendBody(utf8("body"));
    exchange.end();
    expect(responseTo(driver, 1)).toMatchObject({
      status: 200,
      headers: [["Variable-ROLE", "editor"], ["Variable-A_B1", "\xc3"]],
      text: "",
      appStatus: 0,
      protocolStatus: wire.REQUEST_COMPLETE,
    });
  });

  test.each([401, 403, 302, 204, 201, 500])("a %i is sent whole, without variables", (status) => {
    const driver = open(AUTHORIZE).receive(authorizer(1));
    const { exchange } = driver.seen[0]!;
    const headers: [string, string][] = [["www-authenticate", "Basic"], ["variable-role", "none"]];
    exchange.sendHead({ status, reason: "No", headers, contentLength: 4 });
    exchange.sendBody(utf8("page"));
    exchange.end();
    expect(responseTo(driver, 1)).toMatchObject({
      status,
      headers: [["www-authenticate", "Basic"], ["Content-Length", "4"]],
      text: "page",
    });
  });

  test("a refusal and its page are one record, which is all that Apache shows", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1), authorizer(3));
    const [small, large] = driver.seen;
    small!.exchange.sendHead(responseHead(403));
    small!.exchange.flush();
    for (const part of ["Go ", "away", "!"]) small!.exchange.sendBody(utf8(part));
    expect(sentFor(driver, 1)).toEqual([]);
    small!.exchange.end();
    expect(sentFor(driver, 1).map(({ type, contentLength }) => [type, contentLength > 0])).toEqual([
      [wire.STDOUT, true],
      [wire.STDOUT, false],
      [wire.END_REQUEST, true],
    ]);
    expect(responseTo(driver, 1)).toMatchObject({ status: 403, text: "Go away!" });
    large!.exchange.sendHead(responseHead(403));
    for (let n = 0; n < 3; n++) large!.exchange.sendBody(new Uint8Array(8192));
    expect(sentFor(driver, 3)).toHaveLength(3);
    large!.exchange.end();
    expect(responseTo(driver, 3).body).toHaveLength(3 * 8192);
  });

  test.each([
    ["responder", fastCgiRequest(1, variables())],
    ["filter", filter(1)],
  ])("variables of a %s go nowhere", (_, bytes) => {
    const driver = open(AUTHORIZE).receive(bytes);
    const { exchange } = driver.seen[0]!;
    exchange.sendHead({ status: 200, reason: "OK", headers: [["variable-role", "x"], ["a", "b"]], contentLength: -1 });
    exchange.end();
    expect(responseTo(driver, 1).headers).toEqual([["a", "b"]]);
  });

  test("OPTIONS * is asked like any other, as the library's own 200 would let it in", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1, { REQUEST_METHOD: "OPTIONS", REQUEST_URI: "*" }));
    expect(driver.seen[0]!.exchange.head).toMatchObject({ method: "OPTIONS", target: "/" });
  });

  test("STDIN and DATA of one are ignored, whole or not", () => {
    const driver = open(AUTHORIZE).receive(
      authorizer(1),
      stdin(1, "x"),
      data(1, "y"),
      stdin(1),
      data(1),
      stdin(1, "z"),
    );
    expect(driver.thrown).toEqual([]);
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.seen[0]).toMatchObject({ aborts: [], body: [] });
    expect(driver.machine).toMatchObject({ closing: "open", wantsInput: true, waiting: "request" });
  });

  test("without KEEP_CONN the connection ends, gently, as STDIN may still come", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1, {}, false));
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.machine.closing).toBe("linger");
  });

  test("a malformed one is refused with 400", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1, { REQUEST_URI: "no path" }));
    expect(responseTo(driver, 1).status).toBe(400);
    expect(driver.seen).toEqual([]);
  });

  test("ABORT_REQUEST ends one", () => {
    const driver = open(AUTHORIZE).receive(authorizer(1), record(wire.ABORT_REQUEST, 1));
    expect(codes(driver.seen[0]!.aborts)).toEqual(["ERR_ABORTED"]);
    expect(sentFor(driver, 1).map(({ type }) => type)).toEqual([wire.END_REQUEST]);
  });
});

describe("a filter", () => {
  test("has STDIN as its body, and DATA as its file", () => {
    const vars = { CONTENT_LENGTH: "4", FCGI_DATA_LENGTH: "8", FCGI_DATA_LAST_MOD: "1700000000" };
    const driver = open().receive(filter(1, vars));
    const [seen] = driver.seen;
    expect(seen!.exchange.head).toMatchObject({ role: "filter", method: "POST", contentLength: 4 });
    expect(seen!.exchange.data).toMatchObject({ length: 8, lastModified: 1700000000 });
    seen!.exchange.pullBody();
    driver.receive(stdin(1, "body"), stdin(1));
    expect([textOf(seen!.body), seen!.ends]).toEqual(["body", 1]);
    seen!.exchange.data!.pullBody();
    driver.receive(data(1, "the "), data(1, "file"), data(1));
    expect(drainData(seen!)).toBe("the file");
    expect(seen).toMatchObject({ dataEnds: 1, aborts: [] });
    answer(seen!.exchange, utf8("filtered"));
    expect(responseTo(driver, 1)).toMatchObject({ status: 200, text: "filtered", appStatus: 0 });
  });

  test.each([
    [{}, -1, -1],
    [{ FCGI_DATA_LENGTH: "", FCGI_DATA_LAST_MOD: "" }, -1, -1],
    [{ FCGI_DATA_LENGTH: "0", FCGI_DATA_LAST_MOD: "0" }, 0, 0],
    [{ FCGI_DATA_LENGTH: "12", FCGI_DATA_LAST_MOD: "yesterday" }, 12, -1],
    // Later than any Date can be.
    [{ FCGI_DATA_LAST_MOD: "8640000000001" }, -1, -1],
    [{ FCGI_DATA_LAST_MOD: "8640000000000" }, -1, 8640000000000],
  ] as [Variables, number, number][])("of %j", (vars, length, lastModified) => {
    const driver = open().receive(filter(1, vars));
    expect(driver.seen[0]!.exchange.data).toMatchObject({ length, lastModified });
  });

  test.each(["-1", "+1", "1.5", "x", "99999999999999999"])("FCGI_DATA_LENGTH %j: 400", (length) => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: length }), stdin(1), data(1, "x"), data(1));
    expect(responseTo(driver, 1).status).toBe(400);
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("open");
  });

  test("a file of no bytes is at its end when it is asked for", () => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: "0" }));
    driver.seen[0]!.exchange.data!.pullBody();
    driver.seen[0]!.exchange.data!.pullBody();
    expect(driver.seen[0]).toMatchObject({ data: [], dataEnds: 1 });
    expect(driver.machine.waiting).toBe("nothing");
  });

  test("a file of unknown length ends with DATA", () => {
    const driver = open().receive(filter(1), stdin(1), data(1, "some"));
    expect(drainData(driver.seen[0]!)).toBe("some");
    expect(driver.seen[0]!.dataEnds).toBe(0);
    driver.receive(data(1), data(1), data(1, "more"));
    expect(driver.seen[0]).toMatchObject({ dataEnds: 1, aborts: [] });
  });

  test("FCGI_DATA_LENGTH ends the file where the web server holds back the end of DATA", () => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: "4" }), stdin(1), data(1, "file"));
    expect(drainData(driver.seen[0]!)).toBe("file");
    expect(driver.seen[0]!.dataEnds).toBe(1);
  });

  test("DATA that is too long is cut", () => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: "4" }), data(1, "fi"), data(1, "le+"), data(1, "more"));
    driver.receive(data(1));
    expect(drainData(driver.seen[0]!)).toBe("file");
    expect(driver.seen[0]).toMatchObject({ dataEnds: 1, aborts: [] });
  });

  test.each([["unread", false], ["read so far", true]])("DATA that ends early, %s: an error", (_, read) => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: "10" }), stdin(1), data(1, "half"));
    const [seen] = driver.seen;
    if (read) {
      seen!.exchange.data!.pullBody();
      seen!.exchange.data!.pullBody();
    }
    driver.receive(data(1));
    expect(codes(seen!.aborts)).toEqual(["ERR_BODY_TRUNCATED"]);
    expect(codes(driver.rejected)).toEqual(["ERR_BODY_TRUNCATED"]);
    expect(seen!.aborts[0]).toMatchObject({ statusHint: 400, message: expect.stringContaining("FCGI_DATA_LENGTH") });
    expect(seen!.dataEnds).toBe(0);
    expect(driver.machine.closing).toBe("open");
  });

  test("DATA that ends early and is not wanted is no error", () => {
    const driver = open().receive(filter(1, { FCGI_DATA_LENGTH: "10" }));
    driver.seen[0]!.exchange.data!.discardBody();
    driver.receive(stdin(1), data(1, "half"), data(1));
    expect(driver.seen[0]).toMatchObject({ aborts: [], data: [], dataEnds: 0 });
  });

  test("maxBodyBytes is for the body, not for the web server's own file", () => {
    const driver = open({ maxBodyBytes: 5 }).receive(filter(1, { FCGI_DATA_LENGTH: "10" }), data(1, "0123456789"));
    expect(drainData(driver.seen[0]!)).toBe("0123456789");
    driver.receive(stdin(1, "0123456789"));
    expect(codes(driver.seen[0]!.aborts)).toEqual(["ERR_BODY_TOO_LARGE"]);
  });

  test("STDIN and DATA may alternate, and so may requests", () => {
    const driver = echo("fastcgi");
    driver.receive(filter(1), filter(3), data(3, "D3"), stdin(1, "s1"), data(1, "d"), stdin(3, "S3"), stdin(3));
    driver.receive(data(1, "1"), data(1), data(3), stdin(1));
    expect([1, 3].map((id) => responseTo(driver, id).text)).toEqual(["s1d1", "S3D3"]);
  });

  test("DATA before the end of PARAMS destroys the connection; its end alone means nothing", () => {
    const driver = open().receive(begin(1, true, wire.ROLE_FILTER), data(1));
    expect(driver.thrown).toEqual([]);
    driver.receive(data(1, "x"));
    expect(codes(driver.thrown)).toEqual(["ERR_FASTCGI_UNEXPECTED_RECORD"]);
    expect(driver.machine.closing).toBe("destroy");
  });

  test("a response before the end of DATA: the rest is skipped, and the connection serves on", () => {
    const driver = open({ maxBufferedBytes: 100 }).receive(filter(1, { FCGI_DATA_LENGTH: "5000" }), stdin(1));
    driver.receive(data(1, new Uint8Array(1000)));
    expect(driver.machine.wantsInput).toBe(false);
    answer(driver.seen[0]!.exchange, utf8("not modified"));
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(data(1, new Uint8Array(4000)), data(1), fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(2);
    expect(driver.thrown).toEqual([]);
  });

  test.each([
    ["both streams have ended", [stdin(1), data(1)], "end"],
    ["DATA is still to come", [stdin(1)], "linger"],
    ["STDIN is still to come", [data(1)], "linger"],
  ])("without KEEP_CONN, where %s", (_, before, closing) => {
    const driver = open().receive(filter(1, {}, false), ...before);
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.machine.closing).toBe(closing);
  });

  test("late ends of both streams are counted", () => {
    const driver = open().receive(filter(1));
    answer(driver.seen[0]!.exchange, NONE);
    driver.receive(stdin(1), data(1));
    driver.machine.drain();
    expect(driver.machine.closing).toBe("end");
  });

  test.each([
    ["ABORT_REQUEST", (driver: FakeDriver) => driver.receive(record(wire.ABORT_REQUEST, 1))],
    [
      "the end of the connection",
      ({ machine }: FakeDriver) => machine.receiveEnd(new ProtocolError("ERR_ABORTED", "")),
    ],
  ])("%s aborts it, with its file", (_, act) => {
    const driver = open().receive(filter(1), stdin(1), data(1, "half"));
    act(driver);
    const [seen] = driver.seen;
    expect(codes(seen!.aborts)).toEqual(["ERR_ABORTED"]);
    seen!.exchange.data!.pullBody();
    driver.receive(data(1, "late"), data(1));
    expect(seen).toMatchObject({ data: [], dataEnds: 0 });
  });
});

describe("what is held of a file", () => {
  const PIECE = new Uint8Array(1000);

  test("a bound of its own: the reading stops, and goes on when the handler has read", () => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(filter(1), stdin(1, PIECE), stdin(1));
    let count = 0;
    while (driver.machine.wantsInput && count < 100) {
      driver.receive(data(1, PIECE));
      count++;
    }
    expect(count).toBe(5);
    driver.seen[0]!.exchange.data!.pullBody();
    expect(driver.machine.wantsInput).toBe(true);
    expect(driver.seen[0]!.data.map(({ length }) => length)).toEqual([5000]);
  });

  test.each([
    ["is discarded", (exchange: Exchange) => exchange.data!.discardBody()],
    ["is not wanted as the request ends", (exchange: Exchange) => answer(exchange, NONE)],
    ["is lost with the response", (exchange: Exchange) => exchange.fail()],
  ])("the reading goes on when it %s", (_, act) => {
    const driver = open({ maxBufferedBytes: 500 }).receive(filter(3), filter(1), ...new Array(8).fill(data(1, PIECE)));
    expect(driver.machine.wantsInput).toBe(false);
    act(driver.seen[1]!.exchange);
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(...new Array(8).fill(data(1, PIECE)), data(1), data(3, "mine"), data(3));
    expect(driver.machine.wantsInput).toBe(true);
    expect(drainData(driver.seen[0]!)).toBe("mine");
  });

  test("a discarded body leaves the file, and the other way round", () => {
    const driver = open().receive(filter(1), filter(3));
    driver.seen[0]!.exchange.discardBody();
    driver.seen[1]!.exchange.data!.discardBody();
    for (const id of [1, 3]) driver.receive(stdin(id, "body"), stdin(id), data(id, "file"), data(id));
    for (const { exchange } of driver.seen) {
      exchange.pullBody();
      exchange.data!.pullBody();
    }
    expect(driver.seen.map(({ body, data }) => [textOf(body), textOf(data)])).toEqual([["", "file"], ["body", ""]]);
  });
});

describe("what a filter waits for", () => {
  test("a wanted piece of the file has the time of a body", () => {
    const driver = open().receive(filter(1), stdin(1));
    const [seen] = driver.seen;
    expect(driver.machine.waiting).toBe("nothing");
    const { progress } = driver.machine;
    seen!.exchange.data!.pullBody();
    expect(driver.machine.waiting).toBe("body");
    expect(driver.machine.progress).not.toBe(progress);
    driver.receive(data(1, "piece"));
    expect(driver.machine.waiting).toBe("nothing");
    seen!.exchange.data!.pullBody();
    expect(driver.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", statusHint: 408 });
    expect(codes(seen!.aborts)).toEqual(["ERR_TIMEOUT"]);
  });

  test("two late streams of one request abort it once", () => {
    const driver = open().receive(filter(1));
    driver.seen[0]!.exchange.pullBody();
    driver.seen[0]!.exchange.data!.pullBody();
    driver.machine.timeout();
    driver.machine.timeout();
    expect(driver.seen[0]!.aborts).toHaveLength(1);
  });

  test("the file, while the body that comes before it stops the reading: it has the time of a body as well", () => {
    const driver = open({ maxBufferedBytes: 500 }).receive(filter(1), stdin(1, new Uint8Array(1000)));
    const [seen] = driver.seen;
    expect(driver.machine).toMatchObject({ wantsInput: false, waiting: "nothing" });
    seen!.exchange.data!.pullBody();
    expect(driver.machine).toMatchObject({ wantsInput: false, waiting: "body" });
    expect(driver.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", initiator: "handler", statusHint: 500 });
    expect(codes(seen!.aborts)).toEqual(["ERR_TIMEOUT"]);
    answer(seen!.exchange, NONE, 500);
    expect(responseTo(driver, 1).status).toBe(500);
    expect(driver.machine.wantsInput).toBe(true);
  });

  test("such a request is told from others that only wait", () => {
    const driver = open({ maxBufferedBytes: 500 }).receive(filter(3), filter(1));
    const [other, stuck] = driver.seen;
    other!.exchange.pullBody();
    driver.receive(stdin(1, new Uint8Array(9000)));
    stuck!.exchange.data!.pullBody();
    driver.machine.timeout();
    expect(driver.seen.map(({ aborts }) => aborts.length)).toEqual([0, 1]);
  });

  test("it is not stuck once it reads the body, or does not want it", () => {
    for (const act of ["pullBody", "discardBody"] as const) {
      const driver = open({ maxBufferedBytes: 500 }).receive(filter(1), stdin(1, new Uint8Array(1000)));
      const { exchange } = driver.seen[0]!;
      exchange.data!.pullBody();
      exchange[act]();
      expect(driver.machine.wantsInput).toBe(true);
      driver.receive(stdin(1), data(1, "file"));
      expect(textOf(driver.seen[0]!.data)).toBe("file");
    }
  });
});

test("an authorizer's response may be given up like any other", () => {
  const driver = open(AUTHORIZE).receive(authorizer(1), authorizer(3));
  driver.seen[0]!.exchange.sendHead(responseHead(403));
  driver.seen[0]!.exchange.fail();
  expect(responseTo(driver, 1)).toMatchObject({ status: 403, appStatus: 1 });
  answer(driver.seen[1]!.exchange, NONE);
  expect(responseTo(driver, 3)).toMatchObject({ status: 200, appStatus: 0 });
});
