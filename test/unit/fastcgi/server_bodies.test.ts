// Bodies: what their length is, what is held of them, what stops the reading, and what takes too long.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as wire from "../../../src/fastcgi/constants.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { answer, echo, FakeDriver, responseHead, type Seen } from "../../support/fake_driver.ts";
import { begin, fastCgiRequest, pairs, type ReadRecord, record, records } from "../../support/fastcgi.ts";
import { readResponse, variables } from "../../support/fastcgi_client.ts";
import { utf8 } from "../../support/hex.ts";

function open(options: AjpOptions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options);
}

/** BEGIN and PARAMS of a POST; an undefined length is not sent. */
function post(requestId: number, length?: string): Uint8Array {
  const more = { REQUEST_METHOD: "POST", ...(length === undefined ? {} : { CONTENT_LENGTH: length }) };
  return concat([
    begin(requestId),
    record(wire.PARAMS, requestId, pairs(variables(more))),
    record(wire.PARAMS, requestId),
  ]);
}

function stdin(requestId: number, content: Uint8Array | string): Uint8Array {
  return record(wire.STDIN, requestId, typeof content === "string" ? utf8(content) : content);
}

function end(requestId: number): Uint8Array {
  return record(wire.STDIN, requestId);
}

function sentFor(driver: FakeDriver, requestId: number): ReadRecord[] {
  return records(driver.sent).filter((record) => record.requestId === requestId);
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

/** Pulls until there is nothing more. */
function drainBody(seen: Seen): string {
  for (let pieces = -1; pieces !== seen.body.length;) {
    pieces = seen.body.length;
    seen.exchange.pullBody();
  }
  return new TextDecoder().decode(concat(seen.body));
}

describe("the length of a body", () => {
  test.each([
    ["known", "9", 9],
    ["empty", "", -1],
    ["missing", undefined, -1],
    ["negative", "-1", -1],
  ])("%s", (_, length, expected) => {
    const driver = open().receive(post(1, length), stdin(1, "some "), stdin(1, "body"), end(1));
    const [seen] = driver.seen;
    expect(seen!.exchange.head.contentLength).toBe(expected);
    expect(drainBody(seen!)).toBe("some body");
    expect(seen).toMatchObject({ ends: 1, aborts: [] });
  });

  test.each(["5,5", "+5", " 5", "0x5", "5.0", "1e3", "99999999999999999", "-", "five"])("%j: 400", (length) => {
    const driver = open().receive(post(1, length), stdin(1, "12345"), end(1));
    expect(readResponse(sentFor(driver, 1)).status).toBe(400);
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("open");
  });

  test("over maxBodyBytes as announced: 413 without a handler", () => {
    const driver = open({ maxBodyBytes: 10 }).receive(post(1, "11"), stdin(1, "12345678901"), end(1));
    expect(readResponse(sentFor(driver, 1)).status).toBe(413);
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("open");
  });

  test("over maxBodyBytes as it comes: the request is aborted with 413", () => {
    const driver = open({ maxBodyBytes: 10 }).receive(post(1), stdin(1, "1234567890"));
    const [seen] = driver.seen;
    seen!.exchange.pullBody();
    expect(seen!.aborts).toEqual([]);
    driver.receive(stdin(1, "1"), stdin(1, "2"));
    expect(codes(seen!.aborts)).toEqual(["ERR_BODY_TOO_LARGE"]);
    expect(codes(driver.rejected)).toEqual(["ERR_BODY_TOO_LARGE"]);
    expect(seen!.aborts[0]!.statusHint).toBe(413);
  });

  test.each([
    ["nothing was read", false],
    ["all so far was read", true],
  ])("STDIN that ends early is an error, where %s", (_, read) => {
    const driver = open().receive(post(1, "10"), stdin(1, "12345"));
    const [seen] = driver.seen;
    if (read) {
      seen!.exchange.pullBody();
      seen!.exchange.pullBody();
    }
    driver.receive(end(1));
    expect(codes(seen!.aborts)).toEqual(["ERR_BODY_TRUNCATED"]);
    expect(codes(driver.rejected)).toEqual(["ERR_BODY_TRUNCATED"]);
    expect(seen!.aborts[0]!.statusHint).toBe(400);
    expect(seen!.ends).toBe(0);
    expect(driver.machine.closing).toBe("open");
  });

  test("an empty STDIN alone is too early as well", () => {
    const driver = open().receive(post(1, "1"), end(1));
    expect(codes(driver.seen[0]!.aborts)).toEqual(["ERR_BODY_TRUNCATED"]);
  });

  test("STDIN that is too long is cut", () => {
    const driver = open().receive(post(1, "7"), stdin(1, "12345"), stdin(1, "67890"), stdin(1, "more"), end(1));
    const [seen] = driver.seen;
    expect(drainBody(seen!)).toBe("1234567");
    expect(seen).toMatchObject({ ends: 1, aborts: [] });
    answer(seen!.exchange, utf8("x"));
    expect(driver.machine).toMatchObject({ closing: "open", waiting: "request" });
  });

  test("CONTENT_LENGTH ends the body where the web server holds back the end of STDIN", () => {
    const driver = open().receive(post(1, "5"), stdin(1, "12345"));
    const [seen] = driver.seen;
    expect(drainBody(seen!)).toBe("12345");
    expect(seen!.ends).toBe(1);
    expect(driver.machine.waiting).toBe("nothing");
    driver.receive(end(1));
    expect(seen!.ends).toBe(1);
  });

  test("after the end of STDIN more STDIN means nothing", () => {
    const driver = open().receive(post(1), stdin(1, "body"), end(1), end(1), stdin(1, "more"), end(1));
    const [seen] = driver.seen;
    expect(drainBody(seen!)).toBe("body");
    expect(seen!.ends).toBe(1);
    expect(driver.thrown).toEqual([]);
  });

  test("a body of unknown length may be empty", () => {
    const driver = open().receive(post(1));
    driver.seen[0]!.exchange.pullBody();
    driver.receive(end(1));
    expect(driver.seen[0]).toMatchObject({ ends: 1, body: [], aborts: [] });
  });

  test("a length of 0 is no body, even if STDIN says otherwise", () => {
    const driver = open().receive(post(1, "0"));
    driver.seen[0]!.exchange.pullBody();
    expect(driver.machine.waiting).toBe("nothing");
    driver.receive(stdin(1, "x"), end(1));
    expect(driver.seen[0]).toMatchObject({ body: [], aborts: [] });
  });

  test("the end comes after the last piece, with no further pull", () => {
    const order: string[] = [];
    const driver = new FakeDriver("fastcgi", {}, {
      onBody: ({ body }) => order.push(new TextDecoder().decode(body.at(-1))),
      onBodyEnd: () => order.push("end"),
    });
    driver.receive(post(1), stdin(1, "one"));
    driver.seen[0]!.exchange.pullBody();
    driver.receive(end(1));
    expect(order).toEqual(["one", "end"]);
  });
});

describe("the end of a body", () => {
  test("comes once to a driver that pulls as soon as it is given something", () => {
    const driver = new FakeDriver("fastcgi", {}, { onBody: ({ exchange }) => exchange.pullBody() });
    driver.receive(post(1), ...new Array(5).fill(stdin(1, new Uint8Array(50_000))), end(1));
    driver.seen[0]!.exchange.pullBody();
    expect(driver.seen[0]!.body).toHaveLength(5);
    expect(driver.seen[0]!.ends).toBe(1);
  });
});

describe("what is held of a body", () => {
  const PIECE = new Uint8Array(1000);

  test("a pull before the bytes gets them as they come, part of a record or not", () => {
    const driver = open().receive(post(1, "1000"));
    const [seen] = driver.seen;
    seen!.exchange.pullBody();
    const bytes = record(wire.STDIN, 1, PIECE);
    driver.receive(bytes.slice(0, 500));
    expect(seen!.body.map(({ length }) => length)).toEqual([492]);
    driver.receive(bytes.slice(500));
    expect(seen!.body).toHaveLength(1);
    seen!.exchange.pullBody();
    expect(seen!.body.map(({ length }) => length)).toEqual([492, 508]);
    expect(seen!.ends).toBe(1);
  });

  test("small pieces are joined, in their order", () => {
    const driver = open().receive(post(1));
    for (let n = 0; n < 1000; n++) driver.receive(stdin(1, `${n} `));
    driver.receive(end(1));
    const [seen] = driver.seen;
    const text = drainBody(seen!);
    expect(seen!.body).toHaveLength(1);
    expect(text).toBe(Array.from({ length: 1000 }, (_, n) => `${n} `).join(""));
  });

  test("pieces are joined to no more than 64 KiB", () => {
    const driver = open().receive(post(1), ...new Array(100).fill(stdin(1, PIECE)), end(1));
    drainBody(driver.seen[0]!);
    expect(driver.seen[0]!.body.map(({ length }) => length)).toEqual([65_000, 35_000]);
  });

  test("maxBufferedBytes: the reading stops, and goes on when the handler has read", () => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(post(1));
    let records = 0;
    while (driver.machine.wantsInput && records < 100) {
      driver.receive(stdin(1, PIECE));
      records++;
    }
    expect(records).toBe(5);
    driver.seen[0]!.exchange.pullBody();
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(end(1));
    expect(driver.seen[0]!.ends).toBe(1);
  });

  test.each([
    ["the body is discarded", ({ exchange }: Seen) => exchange.discardBody()],
    ["the request ends", ({ exchange }: Seen) => answer(exchange, utf8("early"))],
    ["the request is aborted", (_: Seen, driver: FakeDriver) => driver.receive(record(wire.ABORT_REQUEST, 1))],
    ["the response breaks", ({ exchange }: Seen) => exchange.fail()],
  ])("the reading goes on when %s", (_, act) => {
    const driver = open({ maxBufferedBytes: 500 }).receive(post(3), post(1), ...new Array(8).fill(stdin(1, PIECE)));
    expect(driver.machine.wantsInput).toBe(false);
    act(driver.seen[1]!, driver);
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(...new Array(50).fill(stdin(1, PIECE)), end(1));
    expect(driver.machine).toMatchObject({ wantsInput: true, closing: "open" });
    expect(driver.thrown).toEqual([]);
    // The other one gets what is its own.
    driver.receive(stdin(3, "mine"), end(3));
    expect(drainBody(driver.seen[0]!)).toBe("mine");
  });

  test("each request has a bound of its own", () => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(post(1), post(3));
    driver.receive(...new Array(4).fill(stdin(1, PIECE)), ...new Array(4).fill(stdin(3, PIECE)));
    expect(driver.machine.wantsInput).toBe(true);
  });

  test("a connection that is shared holds more in all, and only then do the others have to wait", () => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(post(1), post(3), post(5));
    let pieces = 0;
    while (driver.machine.wantsInput && pieces < 1000) driver.receive(stdin(++pieces % 2 ? 1 : 3, PIECE));
    expect(pieces).toBe(Math.floor(16 * 5000 / (1000 + 128)) + 1);
    // One of them has to read on, whichever.
    driver.seen[1]!.exchange.pullBody();
    expect(driver.machine.wantsInput).toBe(true);
  });

  test.each([
    ["has begun a request while another ran", [post(1, "0"), post(3)], true],
    ["has asked for multiplexing", [record(wire.GET_VALUES, 0, pairs({ FCGI_MPXS_CONNS: "" })), post(3)], true],
    ["has asked for something else", [record(wire.GET_VALUES, 0, pairs({ FCGI_MAX_CONNS: "" })), post(3)], false],
    ["has sent nothing else", [post(3)], false],
  ])("a web server that %s", (_, before, passes) => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(...before, ...new Array(10).fill(stdin(3, PIECE)));
    expect(driver.machine.wantsInput).toBe(passes);
    if (!passes) return;
    driver.receive(fastCgiRequest(9, variables()));
    answer(driver.seen.at(-1)!.exchange, utf8("quick"));
    expect(readResponse(sentFor(driver, 9)).text).toBe("quick");
  });

  test("a flood of records of one byte is bounded by what they cost", () => {
    const driver = open({ maxBufferedBytes: 100_000 }).receive(post(1));
    let bytes = 0;
    while (driver.machine.wantsInput && bytes < 10_000) {
      driver.receive(stdin(1, "x"));
      bytes++;
    }
    // Each costs its byte and 128 more.
    expect(bytes).toBe(Math.floor(100_000 / 129) + 1);
  });

  test("a small piece does not keep the large chunk that it came in", () => {
    const driver = open({}).receive(post(1));
    const large = concat([stdin(1, "small"), record(wire.STDIN, 9, new Uint8Array(60_000))]);
    let delivered: Uint8Array | undefined;
    driver.seen[0]!.exchange.events.onBody = (chunk) => delivered = chunk;
    driver.receive(large);
    driver.seen[0]!.exchange.pullBody();
    expect(delivered).toEqual(utf8("small"));
    expect(delivered!.buffer.byteLength).toBeLessThan(1000);
  });

  test("a body that is not wanted is skipped, and the connection serves on", () => {
    const driver = open({ maxBufferedBytes: 5000 }).receive(post(1, "100000"));
    driver.seen[0]!.exchange.discardBody();
    for (let n = 0; n < 100; n++) driver.receive(stdin(1, PIECE));
    driver.receive(end(1));
    expect(driver.machine.wantsInput).toBe(true);
    answer(driver.seen[0]!.exchange, utf8("x"));
    driver.receive(fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(2);
  });
});

describe("several requests at once", () => {
  test("their bodies and responses may alternate", () => {
    const driver = echo("fastcgi");
    driver.receive(post(1), post(3), stdin(1, "a"), post(5), stdin(3, "b"), stdin(5, "c"), stdin(1, "A"), end(5));
    driver.receive(end(3), stdin(1, "1"), end(1));
    expect([1, 3, 5].map((id) => readResponse(sentFor(driver, id)).text)).toEqual(["aA1", "b", "c"]);
    const ends = records(driver.sent).filter(({ type }) => type === wire.END_REQUEST);
    expect(ends.map(({ requestId }) => requestId)).toEqual([5, 3, 1]);
  });

  test("they take turns with short records; one alone sends long ones", () => {
    const body = new Uint8Array(100_000);
    const driver = open().receive(post(1), post(3));
    const [first, second] = driver.seen;
    for (const { exchange } of [first!, second!]) {
      exchange.sendHead(responseHead(200, body.length));
      exchange.sendBody(body);
      exchange.end();
    }
    const lengths = (id: number) =>
      sentFor(driver, id).filter(({ type }) => type === wire.STDOUT).map(({ contentLength }) => contentLength);
    expect(Math.max(...lengths(1))).toBe(wire.SHARED_CONTENT);
    expect(Math.max(...lengths(3))).toBe(wire.MAX_SENT_CONTENT);
    expect(readResponse(sentFor(driver, 1)).body).toHaveLength(100_000);
    expect(readResponse(sentFor(driver, 3)).body).toHaveLength(100_000);
  });
});

describe("what is waited for", () => {
  test("a new connection: the head of a request", () => {
    expect(open().machine.waiting).toBe("head");
  });

  test("GET_VALUES does not start the time anew before the first request", () => {
    const { machine } = open();
    const before = machine.progress;
    machine.receive(record(wire.GET_VALUES, 0));
    expect(machine).toMatchObject({ waiting: "head", progress: before });
  });

  test("head, then the handler, then the body, then nothing", () => {
    const driver = open();
    const { machine } = driver;
    const seenProgress = new Set([machine.progress]);
    const fresh = () => seenProgress.size < seenProgress.add(machine.progress).size;
    driver.receive(begin(1));
    expect(machine.waiting).toBe("head");
    expect(fresh()).toBe(true);
    driver.receive(record(wire.PARAMS, 1, pairs(variables({ REQUEST_METHOD: "POST" }))));
    expect(fresh()).toBe(false);
    driver.receive(record(wire.PARAMS, 1));
    expect(machine.waiting).toBe("nothing");
    fresh();
    driver.seen[0]!.exchange.pullBody();
    expect(machine.waiting).toBe("body");
    expect(fresh()).toBe(true);
    driver.receive(stdin(1, "piece"));
    expect(machine.waiting).toBe("nothing");
    fresh();
    driver.seen[0]!.exchange.pullBody();
    expect(machine.waiting).toBe("body");
    expect(fresh()).toBe(true);
    driver.receive(end(1));
    expect(machine.waiting).toBe("nothing");
    answer(driver.seen[0]!.exchange, utf8("x"));
    expect(machine.waiting).toBe("request");
    driver.receive(Uint8Array.of(1));
    expect(machine.waiting).toBe("head");
  });

  test("a late body makes progress, record by record", () => {
    const driver = open().receive(fastCgiRequest(1, variables()));
    answer(driver.seen[0]!.exchange, utf8("x"));
    const bytes = concat([stdin(1, "late"), stdin(1, "late").slice(0, 9)]);
    driver.receive(stdin(1, "x").slice(0, 8));
    const { progress } = driver.machine;
    driver.receive(concat([utf8("x"), bytes]));
    expect(driver.machine.waiting).toBe("head");
    expect(driver.machine.progress).not.toBe(progress);
  });

  test("nothing, while the reading has stopped: nobody can be late then", () => {
    const driver = open({ maxBufferedBytes: 100 }).receive(post(1), post(3));
    driver.seen[1]!.exchange.pullBody();
    expect(driver.machine.waiting).toBe("body");
    driver.receive(stdin(1, new Uint8Array(1600)));
    expect(driver.machine).toMatchObject({ wantsInput: false, waiting: "nothing" });
    driver.seen[0]!.exchange.pullBody();
    expect(driver.machine).toMatchObject({ wantsInput: true, waiting: "body" });
  });

  test("timeout before the first byte: destroyed", () => {
    const { machine } = open();
    expect(machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", statusHint: 408 });
    expect(machine.closing).toBe("destroy");
  });

  test("timeout in the header of a record: destroyed", () => {
    const driver = open().receive(fastCgiRequest(1, variables()));
    answer(driver.seen[0]!.exchange, utf8("x"));
    driver.receive(Uint8Array.of(1, 1, 0));
    driver.machine.timeout();
    expect(driver.machine.closing).toBe("destroy");
  });

  test("timeout between requests: closed gently", () => {
    const driver = open().receive(fastCgiRequest(1, variables()));
    answer(driver.seen[0]!.exchange, utf8("x"));
    expect(driver.machine.waiting).toBe("request");
    driver.machine.timeout();
    expect(driver.machine.closing).toBe("end");
  });

  test("timeout in PARAMS: 408 without a handler, then the connection ends", () => {
    const driver = open().receive(begin(1), record(wire.PARAMS, 1, Uint8Array.of(9)));
    driver.machine.timeout();
    expect(readResponse(sentFor(driver, 1))).toMatchObject({ status: 408, appStatus: 0 });
    expect(driver.machine).toMatchObject({ closing: "linger", active: 0 });
    expect(driver.seen).toEqual([]);
  });

  test("timeout in a body: the request is aborted with 408, then the connection ends", () => {
    const driver = echo("fastcgi").receive(post(1, "10"), stdin(1, "half"));
    expect(driver.machine.waiting).toBe("body");
    driver.machine.timeout();
    expect(codes(driver.seen[0]!.aborts)).toEqual(["ERR_TIMEOUT"]);
    expect(readResponse(sentFor(driver, 1)).status).toBe(408);
    expect(driver.machine.closing).toBe("linger");
  });

  test("timeout on a shared connection: those that have waited longest first, by what they wait for", () => {
    const driver = echo("fastcgi").receive(post(1, "5"), begin(3), post(5, "5"));
    driver.receive(stdin(1, "1")); // 1 has waited least now
    expect(driver.machine.waiting).toBe("head");
    driver.machine.timeout();
    expect(readResponse(sentFor(driver, 3)).status).toBe(408);
    expect(driver.machine).toMatchObject({ waiting: "body", closing: "open", active: 2 });
    driver.receive(stdin(1, "2"));
    driver.machine.timeout();
    expect(readResponse(sentFor(driver, 5)).status).toBe(408);
    expect(driver.seen.map(({ aborts }) => aborts.length)).toEqual([0, 1]);
    driver.receive(stdin(1, "345"), end(1));
    expect(readResponse(sentFor(driver, 1)).text).toBe("12345");
    expect(driver.machine.closing).toBe("linger");
  });

  test("timeout: many that came together are late together, and not one after the other", () => {
    const driver = open();
    for (let id = 1; id <= 100; id++) driver.receive(begin(id));
    let periods = 0;
    while (driver.machine.closing === "open" && periods < 100) {
      driver.machine.timeout();
      periods++;
    }
    // Those that joined while the first waited have not waited as long as it had.
    expect(periods).toBe(2);
    expect(records(driver.sent).filter(({ type }) => type === wire.END_REQUEST)).toHaveLength(100);
    // What timeout() returned is the driver's to report.
    expect(driver.rejected).toHaveLength(98);
  });

  test("timeout: bodies likewise", () => {
    const driver = echo("fastcgi");
    for (let id = 1; id <= 10; id++) driver.receive(post(id, "5"));
    driver.machine.timeout();
    expect(driver.seen.map(({ aborts }) => aborts.length)).toEqual([1, ...new Array(9).fill(0)]);
    driver.receive(stdin(10, "12345"));
    driver.machine.timeout();
    expect(driver.seen.map(({ aborts }) => aborts.length)).toEqual([...new Array(9).fill(1), 0]);
    expect(readResponse(sentFor(driver, 10)).text).toBe("12345");
    expect(driver.machine).toMatchObject({ active: 0, closing: "linger" });
  });
});
