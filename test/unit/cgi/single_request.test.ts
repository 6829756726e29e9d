// One request a connection, from its body on, with SCGI's head before it; and what plain CGI does otherwise.
import { describe, expect, test } from "vitest";
import { CgiServer } from "../../../src/cgi/server.ts";
import { concat } from "../../../src/bytes/std.ts";
import type { Exchange } from "../../../src/connection/machine.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { resolveSettings } from "../../../src/server/settings.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { answer, FakeDriver, responseHead, type Seen } from "../../support/fake_driver.ts";
import { everyByte, latin1, utf8 } from "../../support/hex.ts";
import { readCgiResponse, scgiHead, scgiRequest } from "../../support/scgi_client.ts";

const POST = { REQUEST_METHOD: "POST" };
const GONE = new ProtocolError("ERR_ABORTED", "It is gone");

function open(length: number | string, ...body: (string | Uint8Array)[]): { driver: FakeDriver; seen: Seen } {
  const driver = new FakeDriver("scgi").receive(scgiHead(length, POST), ...body.map(bytesOf));
  return { driver, seen: driver.seen[0]! };
}

function bytesOf(piece: string | Uint8Array): Uint8Array {
  return typeof piece === "string" ? utf8(piece) : piece;
}

/** Pulls until there is nothing more. */
function drainBody(seen: Seen): string {
  for (let pieces = -1; pieces !== seen.body.length;) {
    pieces = seen.body.length;
    seen.exchange.pullBody();
  }
  return bodyOf(seen);
}

function bodyOf(seen: Seen): string {
  return new TextDecoder().decode(concat(seen.body));
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

describe("the body", () => {
  test("waits until it is pulled, and ends with its last byte", () => {
    const { driver, seen } = open(9, "some ");
    expect(seen.body).toEqual([]);
    seen.exchange.pullBody();
    expect(bodyOf(seen)).toBe("some ");
    expect(driver.machine.waiting).toBe("nothing");
    seen.exchange.pullBody();
    expect(driver.machine.waiting).toBe("body");
    driver.receive(utf8("bo"));
    expect(driver.machine.waiting).toBe("nothing");
    expect(seen.ends).toBe(0);
    driver.receive(utf8("dy"));
    expect(drainBody(seen)).toBe("some body");
    expect(seen).toMatchObject({ ends: 1, aborts: [] });
  });

  test("comes with the head, one byte at a time", () => {
    const driver = new FakeDriver("scgi", {}, {
      onRequest: ({ exchange }) => exchange.pullBody(),
      onBody: ({ exchange }) => exchange.pullBody(),
    }).receive(...everyByte(scgiRequest(POST, "some body")));
    expect(bodyOf(driver.seen[0]!)).toBe("some body");
    expect(driver.seen[0]!.ends).toBe(1);
  });

  test("its end is told once where the driver pulls from within onBody", () => {
    const driver = new FakeDriver("scgi", {}, {
      onRequest: ({ exchange }) => exchange.pullBody(),
      onBody: ({ exchange }) => exchange.pullBody(),
    });
    const head = scgiHead(4, POST);
    // Two chunks that wait, so that the second is delivered within the first.
    driver.receive(head.subarray(0, -1));
    driver.receive(concat([head.subarray(-1), utf8("bo")]), utf8("dy"));
    expect(driver.seen[0]).toMatchObject({ ends: 1, aborts: [] });
    const late = open(4, "b", "o", "d", "y").seen;
    late.exchange.events = { ...late.exchange.events, onBody: () => late.exchange.pullBody() };
    late.exchange.pullBody();
    expect(late.ends).toBe(1);
  });

  test("is cut at CONTENT_LENGTH, and what follows is dropped", () => {
    for (const pieces of [["1234567890"], ["12345", "67890"], ["1234567", "890"]]) {
      const { driver, seen } = open(7, ...pieces);
      expect(drainBody(seen)).toBe("1234567");
      driver.receive(utf8("and more"));
      expect(seen).toMatchObject({ ends: 1, aborts: [] });
      expect(driver.machine).toMatchObject({ closing: "open", active: 1, wantsInput: true });
      answer(seen.exchange, utf8("x"));
      expect(driver.machine).toMatchObject({ closing: "linger", active: 0 });
    }
  });

  test("of a slow handler is held up to a bound, then the socket is not read", () => {
    const { driver, seen } = open(1_000_000);
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(new Uint8Array(65536));
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(new Uint8Array(1));
    expect(driver.machine.wantsInput).toBe(false);
    seen.exchange.pullBody();
    expect(seen.body[0]).toHaveLength(65536);
    expect(driver.machine.wantsInput).toBe(true);
  });

  test("that is discarded is read and dropped to its end", () => {
    const { driver, seen } = open(200_000, new Uint8Array(100_000));
    expect(driver.machine.wantsInput).toBe(false);
    seen.exchange.discardBody();
    expect(driver.machine.wantsInput).toBe(true);
    driver.receive(new Uint8Array(100_000));
    seen.exchange.pullBody();
    expect(seen).toMatchObject({ body: [], ends: 0, aborts: [] });
    expect(driver.machine).toMatchObject({ waiting: "nothing", active: 1 });
  });

  test("of 0 bytes is none", () => {
    const { driver, seen } = open(0);
    seen.exchange.pullBody();
    expect(driver.machine.waiting).toBe("nothing");
    expect(seen).toMatchObject({ body: [], ends: 0, aborts: [] });
  });

  test("what is delivered is not written over, and may be given up within onBody", () => {
    const driver = new FakeDriver("scgi", {}, {
      onRequest: ({ exchange }) => exchange.pullBody(),
      onBody: ({ exchange }) => answer(exchange, utf8("enough")),
    }).receive(scgiHead(100, POST), utf8("first"), utf8("second"));
    expect(driver.seen[0]).toMatchObject({ ends: 0, finishes: 1 });
    expect(bodyOf(driver.seen[0]!)).toBe("first");
    expect(readCgiResponse(driver.sent).text).toBe("enough");
    expect(driver.machine.closing).toBe("linger");
  });
});

describe("FIN", () => {
  test("before the head is whole ends the connection", () => {
    for (const start of ["", "7", "70:", "70:CONTENT_LENGTH"]) {
      const { machine } = new FakeDriver("scgi").receive(latin1(start));
      expect(machine.receiveFin()).toBe(false);
    }
  });

  test("after the body is no abort, whether it was read or not", () => {
    for (const reads of [true, false]) {
      const { driver, seen } = open(4, "body");
      if (reads) expect(drainBody(seen)).toBe("body");
      expect(driver.machine.receiveFin()).toBe(true);
      expect(seen.aborts).toEqual([]);
      expect(driver.machine).toMatchObject({ closing: "open", active: 1 });
      expect(drainBody(seen)).toBe("body");
      expect(seen.ends).toBe(1);
      answer(seen.exchange, utf8("fine"));
      expect(readCgiResponse(driver.sent).text).toBe("fine");
      expect(driver.machine.closing).toBe("linger");
    }
  });

  test("after the response is no reason to lose what is unsent of it", () => {
    const { driver, seen } = open(0);
    answer(seen.exchange, utf8("fine"));
    expect(driver.machine.receiveFin()).toBe(true);
    driver.machine.output.take();
    expect(driver.machine.receiveFin()).toBe(true);
  });

  test.each([["was asked for", true], ["was not", false]])(
    "before the body is whole aborts with 400, where more %s",
    (_, wanted) => {
      const { driver, seen } = open(10, "12345");
      if (wanted) drainBody(seen);
      expect(driver.machine.receiveFin()).toBe(true);
      expect(codes(seen.aborts)).toEqual(["ERR_BODY_TRUNCATED"]);
      expect(codes(driver.rejected)).toEqual(["ERR_BODY_TRUNCATED"]);
      expect(seen.aborts[0]!.statusHint).toBe(400);
      expect(seen.ends).toBe(0);
      expect(driver.machine).toMatchObject({ closing: "open", waiting: "nothing" });
      answer(seen.exchange, utf8("no"), 400);
      expect(readCgiResponse(driver.sent)).toMatchObject({ status: 400, text: "no" });
    },
  );

  test("before a body that was discarded is whole aborts as well: the web server has left", () => {
    const { driver, seen } = open(10, "12345");
    seen.exchange.discardBody();
    driver.machine.receiveFin();
    expect(codes(seen.aborts)).toEqual(["ERR_BODY_TRUNCATED"]);
    driver.machine.receiveFin();
    driver.machine.receiveEnd(GONE);
    expect(seen.aborts).toHaveLength(1);
    expect(driver.rejected).toHaveLength(1);
  });
});

describe("receiveEnd", () => {
  test("aborts what runs, once, and what the handler does then goes nowhere", () => {
    for (const body of ["", "12345", "1234567890"]) {
      const { driver, seen } = open(10, body);
      driver.machine.receiveEnd(GONE);
      driver.machine.receiveEnd(GONE);
      expect(seen.aborts).toEqual([GONE]);
      expect(driver.machine).toMatchObject({ closing: "destroy", active: 0, waiting: "nothing" });
      seen.exchange.pullBody();
      answer(seen.exchange, utf8("late"));
      seen.exchange.fail();
      expect(seen).toMatchObject({ body: [], ends: 0, finishes: 0 });
      expect(driver.sent).toHaveLength(0);
      expect(driver.machine.closing).toBe("destroy");
    }
  });

  test("after the response tells nobody", () => {
    const { driver, seen } = open(0);
    answer(seen.exchange, utf8("fine"));
    driver.machine.receiveEnd(GONE);
    expect(seen).toMatchObject({ aborts: [], finishes: 1 });
  });

  test("before the head is whole tells nobody", () => {
    const driver = new FakeDriver("scgi").receive(latin1("70:CONT"));
    driver.machine.receiveEnd(GONE);
    expect(driver.machine.closing).toBe("destroy");
  });
});

describe("time limits", () => {
  test("of the head begins with the connection, is not put off by bytes, and closes", () => {
    const driver = new FakeDriver("scgi");
    const { progress } = driver.machine;
    for (const byte of everyByte(scgiRequest().subarray(0, -1))) {
      expect(driver.machine).toMatchObject({ waiting: "head", progress });
      driver.receive(byte);
    }
    expect(driver.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT" });
    expect(driver.machine.closing).toBe("destroy");
    expect(driver.sent).toHaveLength(0);
  });

  test("of the body begins anew with each piece and aborts with 408", () => {
    const { driver, seen } = open(10);
    seen.exchange.pullBody();
    const { progress } = driver.machine;
    driver.receive(utf8("12345"));
    seen.exchange.pullBody();
    expect(driver.machine.waiting).toBe("body");
    expect(driver.machine.progress).not.toBe(progress);
    expect(driver.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", statusHint: 408 });
    expect(codes(seen.aborts)).toEqual(["ERR_TIMEOUT"]);
    expect(driver.machine).toMatchObject({ closing: "open", waiting: "nothing" });
    answer(seen.exchange, utf8("late"), 408);
    expect(readCgiResponse(driver.sent).status).toBe(408);
    expect(driver.machine.closing).toBe("linger");
  });
});

describe("the response", () => {
  test("leaves as it is written, and ends the connection", () => {
    const { driver, seen } = open(0);
    seen.exchange.sendHead(responseHead(404, 4));
    expect(new TextDecoder().decode(driver.sent)).toBe(
      "Status: 404 Reason\r\nx-answer: yes\r\nContent-Length: 4\r\n\r\n",
    );
    seen.exchange.flush();
    seen.exchange.log("nobody hears this");
    seen.exchange.sendBody(utf8("body"));
    expect(driver.machine.closing).toBe("open");
    seen.exchange.end();
    expect(seen.finishes).toBe(1);
    expect(driver.machine).toMatchObject({ closing: "linger", active: 0, waiting: "nothing" });
    const { length } = driver.sent;
    seen.exchange.sendHead(responseHead());
    seen.exchange.sendBody(utf8("more"));
    seen.exchange.end();
    seen.exchange.fail();
    driver.receive(utf8("late"));
    expect(driver.sent).toHaveLength(length);
    expect(seen.finishes).toBe(1);
    expect(driver.machine.closing).toBe("linger");
  });

  test("that breaks is ended by a reset", () => {
    const { driver, seen } = open(10, "12345");
    seen.exchange.sendHead(responseHead());
    seen.exchange.fail();
    expect(driver.machine).toMatchObject({ closing: "reset", active: 0, waiting: "nothing" });
    expect(seen).toMatchObject({ finishes: 0, aborts: [] });
  });
});

describe("drain", () => {
  test("closes a connection on which nothing has begun, and no other", () => {
    const idle = new FakeDriver("scgi").machine;
    idle.drain();
    expect(idle.closing).toBe("end");
    for (const start of ["7", "70:", "70:CONTENT_LENGTH"]) {
      const { machine } = new FakeDriver("scgi").receive(latin1(start));
      machine.drain();
      expect(machine.closing).toBe("open");
    }
    const { driver, seen } = open(0);
    driver.machine.drain();
    expect(driver.machine.closing).toBe("open");
    answer(seen.exchange, utf8("fine"));
    driver.machine.drain();
    expect(driver.machine.closing).toBe("linger");
  });
});

describe("plain CGI", () => {
  function start(variables: [string, string][], options: AjpOptions = {}) {
    const exchanges: Exchange[] = [];
    const settings = { ...resolveSettings(options, () => {}), variables };
    const machine = new CgiServer(settings, (exchange) => {
      exchange.events = { onBody() {}, onBodyEnd() {}, onAbort() {}, onFinished() {} };
      exchanges.push(exchange);
    }, () => {});
    return { machine, exchanges };
  }

  test("begins without any input, and does not read beyond the body", () => {
    const { machine, exchanges } = start([["REQUEST_METHOD", "POST"], ["CONTENT_LENGTH", "4"]]);
    machine.receive(new Uint8Array(0));
    expect(exchanges).toHaveLength(1);
    expect(machine.wantsInput).toBe(true);
    exchanges[0]!.pullBody();
    machine.receive(utf8("body"));
    expect(machine.wantsInput).toBe(false);
    answer(exchanges[0]!, utf8("fine"));
    expect(machine.closing).toBe("end");
  });

  test("without a length there is no body", () => {
    for (const more of [[], [["CONTENT_LENGTH", ""]]] as [string, string][][]) {
      const { machine, exchanges } = start([["REQUEST_METHOD", "POST"], ...more]);
      machine.receive(new Uint8Array(0));
      expect(exchanges[0]!.head.contentLength).toBe(0);
      expect(machine.wantsInput).toBe(false);
    }
  });

  test("a request that cannot be taken is answered all the same", () => {
    const { machine, exchanges } = start([["REQUEST_METHOD", "GET"], ["CONTENT_LENGTH", "-1"]]);
    expect(() => machine.receive(new Uint8Array(0))).toThrow(ProtocolError);
    expect(exchanges).toEqual([]);
    expect(readCgiResponse(concat(machine.output.take())).status).toBe(400);
    expect(machine.closing).toBe("end");
  });
});
