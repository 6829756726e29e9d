// How many requests a connection takes, at once and in all, and what it says of that.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as wire from "../../../src/fastcgi/constants.ts";
import { decodeNameValuePairs } from "../../../src/fastcgi/name_value.ts";
import type { FastCgiOptions } from "../../../src/types.ts";
import { answer, FakeDriver } from "../../support/fake_driver.ts";
import { begin, fastCgiRequest, pairs, record, records } from "../../support/fastcgi.ts";
import { type CgiResponse, header, readResponse, type Variables, variables } from "../../support/fastcgi_client.ts";
import { utf8 } from "../../support/hex.ts";

const NONE = new Uint8Array(0);

function open(options: FastCgiOptions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options);
}

function answering(options: FastCgiOptions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options, { onRequest: ({ exchange }) => answer(exchange, utf8("done")) });
}

function started(requestId: number, keepConn = true): Uint8Array {
  return concat([
    begin(requestId, keepConn),
    record(wire.PARAMS, requestId, pairs(variables())),
    record(wire.PARAMS, requestId),
  ]);
}

function responseTo(driver: FakeDriver, requestId: number): CgiResponse {
  return readResponse(records(driver.sent).filter((record) => record.requestId === requestId));
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

function values(options: FastCgiOptions): Variables {
  const asked = pairs({ FCGI_MAX_CONNS: "", FCGI_MAX_REQS: "", FCGI_MPXS_CONNS: "" });
  const [answer] = records(open(options).receive(record(wire.GET_VALUES, 0, asked)).sent);
  return Object.fromEntries(decodeNameValuePairs(answer!.content));
}

describe("multiplex: false", () => {
  test("a request while another runs: CANT_MPX_CONN for it alone", () => {
    const driver = open({ multiplex: false }).receive(started(1), fastCgiRequest(3, variables(), utf8("body")));
    expect(responseTo(driver, 3)).toMatchObject({ status: 0, appStatus: 0, protocolStatus: wire.CANT_MPX_CONN });
    expect(driver.seen).toHaveLength(1);
    expect(driver.seen[0]!.aborts).toEqual([]);
    answer(driver.seen[0]!.exchange, utf8("fine"));
    expect(responseTo(driver, 1)).toMatchObject({ text: "fine", protocolStatus: wire.REQUEST_COMPLETE });
    expect(driver.machine.closing).toBe("open");
    driver.receive(fastCgiRequest(3, variables()));
    expect(driver.seen).toHaveLength(2);
  });

  test("one whose variables are not whole counts as well", () => {
    const driver = open({ multiplex: false }).receive(begin(1), begin(2));
    expect(responseTo(driver, 2).protocolStatus).toBe(wire.CANT_MPX_CONN);
  });

  test("an unknown role is refused as such", () => {
    const driver = open({ multiplex: false }).receive(started(1), begin(2, true, 9));
    expect(responseTo(driver, 2).protocolStatus).toBe(wire.UNKNOWN_ROLE);
  });

  test("an id that runs is an error as ever", () => {
    const driver = open({ multiplex: false }).receive(started(1), begin(1));
    expect(codes(driver.thrown)).toEqual(["ERR_FASTCGI_RECORD"]);
  });

  test("one after the other they all pass", () => {
    const driver = answering({ multiplex: false });
    for (let n = 0; n < 10; n++) driver.receive(fastCgiRequest(1, variables()));
    expect(driver.seen.map(({ finishes }) => finishes)).toEqual(new Array(10).fill(1));
  });

  test("what it refuses lifts no bound of what is held", () => {
    const driver = open({ multiplex: false, maxBufferedBytes: 500 });
    const post = { ...variables(), REQUEST_METHOD: "POST" };
    driver.receive(begin(1), record(wire.PARAMS, 1, pairs(post)), record(wire.PARAMS, 1), begin(2));
    driver.receive(record(wire.GET_VALUES, 0, pairs({ FCGI_MPXS_CONNS: "" })));
    driver.receive(record(wire.STDIN, 1, new Uint8Array(1000)));
    expect(driver.machine.wantsInput).toBe(false);
  });
});

describe("GET_VALUES", () => {
  test("multiplex: false", () => {
    expect(values({ multiplex: false, maxConcurrentRequests: 50, maxConnections: 9 })).toEqual({
      FCGI_MAX_CONNS: "9",
      FCGI_MAX_REQS: "1",
      FCGI_MPXS_CONNS: "0",
    });
  });

  test.each([
    [{}, "32"],
    [{ maxConcurrentRequests: 50 }, "50"],
    [{ maxActiveRequests: 20 }, "20"],
    [{ maxRequestsPerConnection: 5 }, "5"],
    [{ maxConcurrentRequests: 1_000_000, maxActiveRequests: 1_000_000 }, "65535"],
    [{ maxConcurrentRequests: Infinity, maxActiveRequests: Infinity }, "65535"],
  ] as [FastCgiOptions, string][])("FCGI_MAX_REQS with %j is %s", (options, expected) => {
    expect(values(options)).toMatchObject({ FCGI_MAX_REQS: expected, FCGI_MPXS_CONNS: "1" });
  });

  test("no limit is a number all the same", () => {
    expect(values({ maxConnections: Infinity })["FCGI_MAX_CONNS"]).toBe("2147483647");
  });
});

describe("maxRequestsPerConnection", () => {
  test("bounds requests that overlap: a 503 for any further one, and the connection ends with the last", () => {
    const driver = open({ maxRequestsPerConnection: 2 }).receive(started(1), started(2), started(3), started(4));
    expect(driver.seen).toHaveLength(2);
    for (const id of [3, 4]) {
      expect(responseTo(driver, id)).toMatchObject({ status: 503, protocolStatus: wire.REQUEST_COMPLETE });
      expect(header(responseTo(driver, id), "retry-after")).toBe("1");
    }
    expect(codes(driver.rejected)).toEqual(["ERR_OVERLOADED", "ERR_OVERLOADED"]);
    answer(driver.seen[0]!.exchange, utf8("one"));
    driver.receive(started(1));
    expect(driver.seen).toHaveLength(2);
    expect(driver.machine.closing).toBe("open");
    answer(driver.seen[1]!.exchange, utf8("two"));
    expect(responseTo(driver, 2).text).toBe("two");
    expect(driver.machine.closing).toBe("linger");
  });

  test("of 1: the connection ends with its request", () => {
    const driver = answering({ maxRequestsPerConnection: 1 });
    driver.receive(concat([fastCgiRequest(1, variables()), fastCgiRequest(1, variables())]));
    expect(driver.seen).toHaveLength(1);
    expect(driver.machine.closing).toBe("linger");
  });

  test("refused roles count: each is a request", () => {
    const driver = answering({ maxRequestsPerConnection: 3 }).receive(begin(1, true, 9), begin(1, true, 9));
    expect(driver.machine.closing).toBe("open");
    driver.receive(begin(1, true, 9));
    expect(driver.machine.closing).toBe("linger");
  });
});

describe("request ids", () => {
  test("never used again, 1 to 32767 and odd, as HAProxy has it", () => {
    const driver = answering();
    for (let id = 1; id <= 32767; id += 2) driver.receive(fastCgiRequest(id, { REQUEST_METHOD: "GET" }, NONE));
    expect(driver.seen).toHaveLength(16384);
    expect(driver.machine).toMatchObject({ active: 0, closing: "open", waiting: "request" });
    driver.machine.drain();
    expect(driver.machine.closing).toBe("end");
  });

  test("many at once, from both ends of the range", () => {
    const ids = Array.from({ length: 32 }, (_, n) => n % 2 ? 65535 - n : n + 1);
    const driver = open().receive(...ids.map((id) => started(id)));
    for (const [n, { exchange }] of driver.seen.entries()) answer(exchange, utf8(`${ids[n]}`));
    for (const id of ids) expect(responseTo(driver, id).text).toBe(String(id));
  });
});
