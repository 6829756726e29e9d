// The course of requests on a connection: who may begin, what ends them, what must never be sent or accepted.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as wire from "../../../src/fastcgi/constants.ts";
import { decodeNameValuePairs } from "../../../src/fastcgi/name_value.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { answer, FakeDriver, type Reactions, responseHead } from "../../support/fake_driver.ts";
import { begin, BROKEN_END, fastCgiRequest, pairs, type ReadRecord, record, records } from "../../support/fastcgi.ts";
import { type CgiResponse, header, readResponse, variables } from "../../support/fastcgi_client.ts";
import { everyByte, hex, toHex, utf8 } from "../../support/hex.ts";

const NONE = new Uint8Array(0);

function open(options: AjpOptions = {}, reactions: Reactions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options, reactions);
}

/** A driver whose handler answers at once. */
function answering(options: AjpOptions = {}): FakeDriver {
  return open(options, { onRequest: ({ exchange }) => answer(exchange, utf8("done")) });
}

/** BEGIN and the whole of PARAMS: the request runs. */
function started(requestId: number, more: Record<string, string> = {}, keepConn = true): Uint8Array {
  return concat([begin(requestId, keepConn), params(requestId, more)]);
}

function params(requestId: number, more: Record<string, string> = {}): Uint8Array {
  return concat([record(wire.PARAMS, requestId, pairs(variables(more))), record(wire.PARAMS, requestId)]);
}

const POST = { REQUEST_METHOD: "POST" };

function sentFor(driver: FakeDriver, requestId: number): ReadRecord[] {
  return records(driver.sent).filter((record) => record.requestId === requestId);
}

function responseTo(driver: FakeDriver, requestId: number): CgiResponse {
  return readResponse(sentFor(driver, requestId));
}

function types(driver: FakeDriver, requestId: number): number[] {
  return sentFor(driver, requestId).map(({ type }) => type);
}

function code(error: unknown): string {
  if (!(error instanceof ProtocolError)) throw new Error(`Not a ProtocolError: ${String(error)}`);
  return error.code;
}

function abortError(): ProtocolError {
  return new ProtocolError("ERR_ABORTED", "gone");
}

describe("the start of a request", () => {
  test("the handler starts at the end of PARAMS, without any STDIN", () => {
    const driver = open();
    driver.receive(begin(1), record(wire.PARAMS, 1, pairs(variables())));
    expect(driver.seen).toHaveLength(0);
    expect(driver.machine.active).toBe(1);
    driver.receive(record(wire.PARAMS, 1));
    expect(driver.seen).toHaveLength(1);
    expect(driver.seen[0]!.exchange.head).toMatchObject({ method: "GET", target: "/", contentLength: -1 });
  });

  test("request id 65535", () => {
    const driver = answering().receive(fastCgiRequest(65535, variables()));
    expect(responseTo(driver, 65535)).toMatchObject({ status: 200, text: "done", appStatus: 0, protocolStatus: 0 });
  });

  test.each([
    ["version 0", hex("00 01 0001 0008 00 00"), "ERR_FASTCGI_VERSION"],
    ["version 2", hex("02 01 0001 0008 00 00"), "ERR_FASTCGI_VERSION"],
    ["an HTTP request", utf8("GET / HTTP/1.1\r\n\r\n"), "ERR_FASTCGI_VERSION"],
    ["BEGIN of request 0", begin(0), "ERR_FASTCGI_RECORD"],
    ["BEGIN of 7 bytes", record(wire.BEGIN_REQUEST, 2, new Uint8Array(7)), "ERR_FASTCGI_RECORD"],
    ["BEGIN of 9 bytes", record(wire.BEGIN_REQUEST, 2, new Uint8Array(9)), "ERR_FASTCGI_RECORD"],
    ["BEGIN of no bytes", record(wire.BEGIN_REQUEST, 2), "ERR_FASTCGI_RECORD"],
    ["BEGIN of an active id", begin(1), "ERR_FASTCGI_RECORD"],
    ["ABORT of request 0", record(wire.ABORT_REQUEST, 0), "ERR_FASTCGI_RECORD"],
    ["END of request 0", record(wire.END_REQUEST, 0, new Uint8Array(8)), "ERR_FASTCGI_RECORD"],
    ["PARAMS of request 0", record(wire.PARAMS, 0), "ERR_FASTCGI_RECORD"],
    ["STDIN of request 0", record(wire.STDIN, 0, Uint8Array.of(1)), "ERR_FASTCGI_RECORD"],
    ["STDOUT of request 0", record(wire.STDOUT, 0), "ERR_FASTCGI_RECORD"],
    ["STDERR of request 0", record(wire.STDERR, 0), "ERR_FASTCGI_RECORD"],
    ["DATA of request 0", record(wire.DATA, 0), "ERR_FASTCGI_RECORD"],
    ["END_REQUEST", record(wire.END_REQUEST, 1, new Uint8Array(8)), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["STDOUT", record(wire.STDOUT, 1), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["STDERR", record(wire.STDERR, 1), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["GET_VALUES_RESULT", record(wire.GET_VALUES_RESULT, 1), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["UNKNOWN_TYPE", record(wire.UNKNOWN_TYPE, 1, new Uint8Array(8)), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["PARAMS after its end", record(wire.PARAMS, 1, Uint8Array.of(0, 0)), "ERR_FASTCGI_UNEXPECTED_RECORD"],
    ["a second end of PARAMS", record(wire.PARAMS, 1), "ERR_FASTCGI_UNEXPECTED_RECORD"],
  ])("%s destroys the connection and aborts what runs", (_, bytes, expected) => {
    const driver = open().receive(started(1, POST), bytes);
    expect(driver.thrown.map(code)).toEqual([expected]);
    expect(driver.machine).toMatchObject({ closing: "destroy", active: 0, waiting: "nothing" });
    expect(driver.seen[0]!.aborts.map(code)).toEqual([expected]);
    // No answer is possible any more, whatever the error would otherwise be answered with.
    expect(driver.seen[0]!.aborts[0]!.statusHint).toBe(0);
    driver.receive(fastCgiRequest(5, variables()));
    expect(driver.seen).toHaveLength(1);
    expect(driver.sent).toHaveLength(0);
  });

  test.each([
    ["STDIN", wire.STDIN],
    ["DATA", wire.DATA],
  ])("%s before the end of PARAMS destroys the connection", (_, type) => {
    const driver = open().receive(begin(1), record(type, 1, Uint8Array.of(1)));
    expect(driver.thrown.map(code)).toEqual(["ERR_FASTCGI_UNEXPECTED_RECORD"]);
    expect(driver.machine.closing).toBe("destroy");
  });

  test("an empty STDIN before the end of PARAMS means nothing", () => {
    const driver = open().receive(begin(1), record(wire.STDIN, 1), params(1, { ...POST, CONTENT_LENGTH: "1" }));
    driver.seen[0]!.exchange.pullBody();
    driver.receive(record(wire.STDIN, 1, utf8("x")));
    expect(driver.seen[0]).toMatchObject({ ends: 1, body: [utf8("x")] });
  });

  test("DATA after the end of PARAMS is ignored", () => {
    const driver = open().receive(started(1), record(wire.DATA, 1, utf8("x")), record(wire.DATA, 1));
    expect(driver.thrown).toEqual([]);
    answer(driver.seen[0]!.exchange, NONE);
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test("records for a request that never was are ignored", () => {
    const driver = answering();
    for (let type = wire.ABORT_REQUEST; type <= 20; type++) {
      driver.receive(record(type, 7, type === wire.ABORT_REQUEST ? NONE : utf8("ignored"), 3));
    }
    expect(driver.thrown).toEqual([]);
    expect(driver.sent).toHaveLength(0);
    driver.receive(fastCgiRequest(7, variables()));
    expect(responseTo(driver, 7).status).toBe(200);
  });

  test("an ABORT with content is skipped like one without", () => {
    const driver = answering().receive(started(1, POST).slice(0, 16), record(wire.ABORT_REQUEST, 1, utf8("body"), 4));
    driver.receive(fastCgiRequest(3, variables()));
    expect(types(driver, 1)).toEqual([wire.END_REQUEST]);
    expect(responseTo(driver, 3).status).toBe(200);
  });
});

describe("roles", () => {
  test.each([
    [4, false, "linger"],
    [0, true, "open"],
    [65535, false, "linger"],
  ])("role %i, KEEP_CONN %s: UNKNOWN_ROLE, then %s", (role, keepConn, closing) => {
    const driver = answering().receive(begin(1, keepConn, role));
    expect(types(driver, 1)).toEqual([wire.END_REQUEST]);
    expect(responseTo(driver, 1)).toMatchObject({ appStatus: 0, protocolStatus: wire.UNKNOWN_ROLE });
    expect(driver.machine).toMatchObject({ closing, active: 0 });
  });

  test("what follows an unknown role is skipped, and its id is free", () => {
    const driver = answering().receive(begin(1, true, 4), params(1), record(wire.STDIN, 1, utf8("x")));
    driver.receive(record(wire.DATA, 1, utf8("x")), fastCgiRequest(1, variables()));
    expect(types(driver, 1).filter((type) => type === wire.END_REQUEST)).toHaveLength(2);
    expect(driver.thrown).toEqual([]);
  });

  test("what of a refused request is still to come keeps the connection from being reset", () => {
    const driver = open({ maxConcurrentRequests: 1 }).receive(started(1, {}, false), record(wire.STDIN, 1), begin(3));
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.machine.closing).toBe("linger");
  });

  test("an unknown role without KEEP_CONN lets the others end", () => {
    const driver = open().receive(started(1), begin(2, false, 9));
    expect(driver.machine.closing).toBe("open");
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.machine.closing).toBe("linger");
  });
});

describe("management records", () => {
  const getValues = (...names: string[]) =>
    record(wire.GET_VALUES, 0, pairs(Object.fromEntries(names.map((name) => [name, ""]))));
  const ALL = ["FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"];
  const values = (driver: FakeDriver) =>
    sentFor(driver, 0).map(({ type, content }) => [type, Object.fromEntries(decodeNameValuePairs(content))]);

  test("GET_VALUES tells the truth", () => {
    const driver = open({ maxConnections: 20, maxConcurrentRequests: 300 }).receive(getValues(...ALL));
    expect(values(driver)).toEqual([
      [wire.GET_VALUES_RESULT, { FCGI_MAX_CONNS: "20", FCGI_MAX_REQS: "300", FCGI_MPXS_CONNS: "1" }],
    ]);
    expect(driver.machine.closing).toBe("open");
  });

  test("GET_VALUES is answered with what was asked for and is known", () => {
    const driver = open().receive(getValues("FCGI_MPXS_CONNS", "FCGI_OTHER", "fcgi_max_reqs", ""));
    expect(values(driver)).toEqual([[wire.GET_VALUES_RESULT, { FCGI_MPXS_CONNS: "1" }]]);
  });

  test("GET_VALUES for nothing has an empty answer", () => {
    expect(toHex(open().receive(record(wire.GET_VALUES, 0)).sent)).toBe("010a000000000000");
  });

  test("GET_VALUES whose last pair runs over: the others are answered", () => {
    const cut = concat([pairs({ FCGI_MPXS_CONNS: "" }), hex("0d00"), utf8("FCGI_MAX")]);
    expect(values(open().receive(record(wire.GET_VALUES, 0, cut)))).toEqual([
      [wire.GET_VALUES_RESULT, { FCGI_MPXS_CONNS: "1" }],
    ]);
  });

  test("GET_VALUES between the records of PARAMS, in the middle of a pair", () => {
    const driver = answering();
    const bytes = pairs(variables());
    driver.receive(begin(1), record(wire.PARAMS, 1, bytes.slice(0, 20)), getValues(...ALL));
    expect(values(driver)).toHaveLength(1);
    driver.receive(record(wire.PARAMS, 1, bytes.slice(20)), record(wire.PARAMS, 1));
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test("GET_VALUES of a request is ignored", () => {
    const driver = open().receive(started(1), record(wire.GET_VALUES, 1, pairs({ FCGI_MAX_REQS: "" })));
    expect(driver.thrown).toEqual([]);
    expect(driver.sent).toHaveLength(0);
  });

  test("results, which are for clients, are ignored", () => {
    const driver = answering().receive(record(wire.GET_VALUES_RESULT, 0, utf8("x")));
    driver.receive(record(wire.UNKNOWN_TYPE, 0, new Uint8Array(8)), fastCgiRequest(1, variables()));
    expect(sentFor(driver, 0)).toEqual([]);
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test.each([0, 12, 77, 255])("type %i is answered once with UNKNOWN_TYPE, even byte by byte", (type) => {
    const driver = answering().receive(...everyByte(record(type, 0, utf8("content"), 9)));
    driver.receive(fastCgiRequest(1, variables()));
    const [unknown, ...more] = sentFor(driver, 0);
    expect(unknown).toMatchObject({ type: wire.UNKNOWN_TYPE, content: Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0) });
    expect(more).toEqual([]);
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test("an unknown type of a request is ignored in any state", () => {
    const driver = open().receive(begin(1), record(99, 1, utf8("x")), params(1, POST), record(99, 1, utf8("x"), 255));
    answer(driver.seen[0]!.exchange, NONE);
    driver.receive(record(99, 1, utf8("x")));
    expect(driver.thrown).toEqual([]);
    expect(records(driver.sent).map(({ requestId }) => requestId)).not.toContain(0);
  });
});

describe("the end of a request", () => {
  test("STDOUT, its end, END_REQUEST, and nothing else", () => {
    const driver = answering().receive(fastCgiRequest(1, variables()));
    expect(types(driver, 1)).toEqual([wire.STDOUT, wire.STDOUT, wire.STDOUT, wire.END_REQUEST]);
    const [, , empty, end] = records(driver.sent);
    expect(empty).toMatchObject({ contentLength: 0, paddingLength: 0 });
    expect(end).toMatchObject({ contentLength: 8, paddingLength: 0, content: new Uint8Array(8) });
    expect(driver.seen[0]!.finishes).toBe(1);
  });

  test("STDERR is ended too where it was used", () => {
    const driver = open({}, {
      onRequest: ({ exchange }) => {
        exchange.log("note");
        answer(exchange, NONE);
      },
    }).receive(fastCgiRequest(1, variables()));
    // At once: HAProxy 2.6 crashes where a STDERR record is the last thing that it has read.
    expect(types(driver, 1)).toEqual([wire.STDERR, wire.STDERR, wire.STDOUT, wire.STDOUT, wire.END_REQUEST]);
  });

  test("commands after the end do nothing", () => {
    const driver = answering().receive(fastCgiRequest(1, variables()));
    const before = driver.sent.length;
    const { exchange } = driver.seen[0]!;
    exchange.sendHead(responseHead());
    exchange.sendBody(utf8("late"));
    exchange.log("late");
    exchange.flush();
    exchange.pullBody();
    exchange.discardBody();
    exchange.end();
    exchange.fail();
    expect(driver.sent).toHaveLength(before);
    expect(driver.machine.closing).toBe("open");
    expect(driver.seen[0]!.finishes).toBe(1);
  });

  test("KEEP_CONN: a hundred requests with the same id", () => {
    const driver = answering();
    for (let n = 0; n < 100; n++) driver.receive(fastCgiRequest(1, variables(), n % 2 ? utf8("late body") : NONE));
    expect(driver.seen.map(({ finishes }) => finishes)).toEqual(new Array(100).fill(1));
    expect(driver.machine).toMatchObject({ closing: "open", waiting: "request", active: 0 });
  });

  test("without KEEP_CONN the connection ends, and what follows is not taken", () => {
    const driver = answering().receive(concat([fastCgiRequest(1, variables(), NONE, false), started(2)]));
    expect(driver.machine.closing).toBe("linger");
    expect(driver.seen).toHaveLength(1);
    expect(sentFor(driver, 2)).toEqual([]);
  });

  test("without KEEP_CONN, once STDIN has ended, nothing more can come", () => {
    const driver = open().receive(fastCgiRequest(1, variables(), NONE, false));
    answer(driver.seen[0]!.exchange, NONE);
    expect(driver.machine.closing).toBe("end");
  });

  test("one of several lacks KEEP_CONN: the connection ends with the last of them", () => {
    const driver = open().receive(started(1), started(2, {}, false), started(3));
    const [first, second, third] = driver.seen;
    answer(second!.exchange, NONE);
    answer(first!.exchange, NONE);
    expect(driver.machine.closing).toBe("open");
    answer(third!.exchange, NONE);
    expect(driver.machine.closing).toBe("linger");
    expect(records(driver.sent).filter(({ type }) => type === wire.END_REQUEST)).toHaveLength(3);
  });

  test("end(false) ends the connection", () => {
    const driver = open().receive(started(1));
    driver.seen[0]!.exchange.sendHead(responseHead());
    driver.seen[0]!.exchange.end(false);
    expect(driver.machine.closing).toBe("linger");
  });

  test("maxRequestsPerConnection", () => {
    const driver = answering({ maxRequestsPerConnection: 2 }).receive(fastCgiRequest(1, variables()));
    expect(driver.machine.closing).toBe("open");
    driver.receive(fastCgiRequest(1, variables()));
    expect(driver.machine.closing).toBe("linger");
  });

  test("maxConcurrentRequests: a real 503, and the others go on", () => {
    const driver = open({ maxConcurrentRequests: 2 }).receive(started(1), started(3));
    driver.receive(fastCgiRequest(5, variables(), utf8("body")));
    const refused = responseTo(driver, 5);
    expect(refused).toMatchObject({ status: 503, appStatus: 0, protocolStatus: wire.REQUEST_COMPLETE });
    expect(header(refused, "retry-after")).toBe("1");
    expect(driver.rejected.map(code)).toEqual(["ERR_OVERLOADED"]);
    for (const { exchange } of driver.seen) answer(exchange, utf8("fine"));
    expect(responseTo(driver, 1).text).toBe("fine");
    expect(responseTo(driver, 3).text).toBe("fine");
    driver.receive(started(5));
    expect(driver.seen).toHaveLength(3);
  });
});

describe("an abort", () => {
  test("in PARAMS: END at once, and no handler", () => {
    const driver = open().receive(begin(1), record(wire.PARAMS, 1, Uint8Array.of(5)), record(wire.ABORT_REQUEST, 1));
    expect(types(driver, 1)).toEqual([wire.END_REQUEST]);
    expect(responseTo(driver, 1)).toMatchObject({ appStatus: 0, protocolStatus: 0 });
    driver.receive(record(wire.PARAMS, 1), record(wire.STDIN, 1));
    expect(driver.seen).toEqual([]);
    expect(driver.machine).toMatchObject({ active: 0, waiting: "request", closing: "open" });
  });

  test.each([
    ["before the body", NONE, NONE],
    ["in the body", record(wire.STDIN, 1, utf8("half")), NONE],
    ["after the body", concat([record(wire.STDIN, 1, utf8("all")), record(wire.STDIN, 1)]), NONE],
    ["after the head of the response", NONE, utf8("sent")],
  ])("%s: END at once, late records and late output are dropped", (_, body, sent) => {
    const driver = open().receive(started(1, POST), body);
    const seen = driver.seen[0]!;
    seen.exchange.pullBody();
    if (sent.length > 0) {
      seen.exchange.sendHead(responseHead());
      seen.exchange.sendBody(sent);
    }
    driver.receive(record(wire.ABORT_REQUEST, 1));
    expect(types(driver, 1).at(-1)).toBe(wire.END_REQUEST);
    expect(responseTo(driver, 1)).toMatchObject({ appStatus: 0, protocolStatus: 0 });
    expect(seen.aborts.map(code)).toEqual(["ERR_ABORTED"]);
    expect(driver.machine.active).toBe(0);
    const before = driver.sent.length;
    driver.receive(record(wire.STDIN, 1, utf8("late")), record(wire.STDIN, 1), record(wire.ABORT_REQUEST, 1));
    answer(seen.exchange, utf8("late"));
    expect(driver.sent).toHaveLength(before);
    expect(seen.aborts).toHaveLength(1);
    expect(driver.machine.closing).toBe("open");
  });

  test("the id is reused at once while the old handler still produces", () => {
    const driver = open().receive(started(1, POST), record(wire.ABORT_REQUEST, 1), started(1, POST));
    const [old, young] = driver.seen;
    answer(old!.exchange, utf8("old"));
    old!.exchange.discardBody();
    old!.exchange.log("old");
    young!.exchange.pullBody();
    driver.receive(record(wire.STDIN, 1, utf8("for the young")));
    answer(young!.exchange, utf8("young"));
    const [aborted, ...rest] = sentFor(driver, 1);
    expect(aborted!.type).toBe(wire.END_REQUEST);
    expect(readResponse(rest)).toMatchObject({ text: "young", stderr: "" });
    expect(old!.body).toEqual([]);
    expect(young!.body).toEqual([utf8("for the young")]);
  });

  test("without KEEP_CONN the connection ends", () => {
    const driver = open().receive(started(1, {}, false), record(wire.ABORT_REQUEST, 1));
    expect(driver.machine.closing).toBe("linger");
    expect(types(driver, 1)).toEqual([wire.END_REQUEST]);
  });

  test("the others of the connection know nothing of it", () => {
    const driver = open().receive(started(1, POST), started(3, POST), record(wire.ABORT_REQUEST, 1));
    expect(driver.seen[1]!.aborts).toEqual([]);
    answer(driver.seen[1]!.exchange, utf8("fine"));
    expect(responseTo(driver, 3).text).toBe("fine");
  });

  test("the end of the connection aborts all, and nothing is sent", () => {
    const driver = open().receive(started(1), started(3, POST), begin(5));
    driver.machine.receiveEnd(abortError());
    expect(driver.seen.map(({ aborts }) => aborts.map(code))).toEqual([["ERR_ABORTED"], ["ERR_ABORTED"]]);
    expect(driver.machine).toMatchObject({ closing: "destroy", active: 0 });
    for (const { exchange } of driver.seen) answer(exchange, utf8("late"));
    expect(driver.sent).toHaveLength(0);
    driver.machine.receiveEnd(abortError());
    expect(driver.seen[0]!.aborts).toHaveLength(1);
  });

  test("the end of the connection cannot be answered, whatever its reason says", () => {
    const driver = open().receive(started(1));
    driver.machine.receiveEnd(new ProtocolError("ERR_TIMEOUT", "late", { statusHint: 408 }));
    expect(driver.seen[0]!.aborts).toMatchObject([{ code: "ERR_TIMEOUT", statusHint: 0 }]);
    expect(driver.sent).toHaveLength(0);
  });
});

describe("a response that broke", () => {
  test("alone on the connection: closed, without END", () => {
    const driver = open().receive(started(1));
    const { exchange } = driver.seen[0]!;
    exchange.sendHead(responseHead());
    exchange.sendBody(utf8("half"));
    exchange.log("why");
    exchange.fail();
    expect(driver.machine).toMatchObject({ closing: "end", active: 0 });
    // What was said before still leaves.
    expect(responseTo(driver, 1)).toMatchObject({ text: "half", stderr: "why" });
    // nginx would take the end of the connection alone for the end of the response.
    expect(types(driver, 1).at(-1)).toBe(BROKEN_END);
    expect(types(driver, 1)).not.toContain(wire.END_REQUEST);
  });

  test("with others: END with appStatus 1 for it alone", () => {
    const driver = open().receive(started(1), started(3));
    const [broken, fine] = driver.seen;
    broken!.exchange.sendHead(responseHead());
    broken!.exchange.fail();
    expect(driver.machine).toMatchObject({ closing: "open", active: 1 });
    expect(responseTo(driver, 1)).toMatchObject({ status: 200, appStatus: 1, protocolStatus: 0 });
    answer(fine!.exchange, utf8("fine"));
    expect(responseTo(driver, 3)).toMatchObject({ text: "fine", appStatus: 0 });
    driver.receive(fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(3);
  });
});

describe("drain", () => {
  test("closes an idle connection", () => {
    const driver = open();
    driver.machine.drain();
    expect(driver.machine.closing).toBe("end");
  });

  test("lets what runs end, and refuses what comes meanwhile", () => {
    const driver = open().receive(started(1));
    driver.machine.drain();
    expect(driver.machine.closing).toBe("open");
    driver.receive(fastCgiRequest(3, variables()));
    expect(responseTo(driver, 3)).toMatchObject({ status: 503, appStatus: 0 });
    expect(driver.seen).toHaveLength(1);
    answer(driver.seen[0]!.exchange, utf8("fine"));
    expect(responseTo(driver, 1).text).toBe("fine");
    expect(driver.machine.closing).toBe("linger");
  });

  test("takes a request that is coming in", () => {
    const driver = answering();
    const [first, ...rest] = everyByte(fastCgiRequest(1, variables()));
    driver.receive(first!);
    driver.machine.drain();
    expect(driver.machine.closing).toBe("open");
    driver.receive(...rest);
    expect(responseTo(driver, 1).text).toBe("done");
    expect(driver.machine.closing).toBe("linger");
  });

  test.each([
    ["a late body", record(wire.STDIN, 1, utf8("late"), 7)],
    ["GET_VALUES", record(wire.GET_VALUES, 0)],
    ["an unknown type", record(99, 0, utf8("x"))],
  ])("closes after %s that was coming in", (_, bytes) => {
    const driver = answering().receive(fastCgiRequest(1, variables()), bytes.slice(0, -1));
    if (bytes.length === 8) expect(driver.machine.waiting).toBe("head");
    driver.machine.drain();
    driver.receive(bytes.slice(-1));
    expect(driver.machine.closing).toBe("end");
  });
});
