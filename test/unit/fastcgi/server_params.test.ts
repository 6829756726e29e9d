// The variables of a request: however they are cut, padded or too many.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as wire from "../../../src/fastcgi/constants.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { answer, FakeDriver, responseHead } from "../../support/fake_driver.ts";
import { begin, fastCgiRequest, pairs, record, records } from "../../support/fastcgi.ts";
import { header, readResponse, variables } from "../../support/fastcgi_client.ts";
import { everyByte, hex, splitAt, utf8 } from "../../support/hex.ts";

function answering(options: AjpOptions = {}): FakeDriver {
  return new FakeDriver("fastcgi", options, { onRequest: ({ exchange }) => answer(exchange, utf8("done")) });
}

function withParams(requestId: number, content: Uint8Array, ...splits: number[]): Uint8Array {
  const parts = splitAt(content, splits).filter((part) => part.length > 0);
  return concat([
    begin(requestId),
    ...parts.map((part) => record(wire.PARAMS, requestId, part)),
    record(wire.PARAMS, requestId),
  ]);
}

function responseTo(driver: FakeDriver, requestId: number) {
  return readResponse(records(driver.sent).filter((record) => record.requestId === requestId));
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

const LONG = {
  HTTP_COOKIE: "c".repeat(20_000),
  HTTP_X_130: "v".repeat(130),
  [`HTTP_X_${"N".repeat(150)}`]: "long name",
};

describe("PARAMS", () => {
  test("a long pair over many records, cut at every place around its borders", () => {
    const bytes = pairs(variables(LONG));
    const at = bytes.length - 20_000;
    for (let cut = 1; cut < 400; cut++) {
      const driver = answering().receive(withParams(1, bytes, cut, cut + 1, at + cut));
      expect(driver.seen[0]?.exchange.head.meta.params.get("HTTP_COOKIE")).toBe(LONG.HTTP_COOKIE);
      expect(driver.seen[0]!.exchange.head.meta.params.size).toBe(Object.keys(variables(LONG)).length);
    }
  });

  test("a record for each byte", () => {
    const bytes = pairs(variables());
    const driver = answering().receive(withParams(1, bytes, ...bytes.keys()));
    expect(Object.fromEntries(driver.seen[0]!.exchange.head.meta.params)).toEqual(variables());
  });

  test("byte by byte on the wire, with padding", () => {
    const bytes = concat([
      begin(1),
      record(wire.PARAMS, 1, pairs(variables({ CONTENT_LENGTH: "4", REQUEST_METHOD: "PUT" })), 255),
      record(wire.PARAMS, 1, undefined, 255),
      record(wire.STDIN, 1, utf8("body"), 3),
      record(wire.STDIN, 1, undefined, 1),
    ]);
    const driver = new FakeDriver("fastcgi").receive(...everyByte(bytes));
    const [seen] = driver.seen;
    seen!.exchange.pullBody();
    expect(concat(seen!.body)).toEqual(utf8("body"));
    expect(seen!.ends).toBe(1);
    answer(seen!.exchange, utf8("done"));
    expect(responseTo(driver, 1).text).toBe("done");
    expect(driver.machine.waiting).toBe("request");
  });

  test.each([1, 7, 8, 254, 255])("padding of %i bytes on every record, arriving alone", (padding) => {
    const driver = answering();
    const request = concat([begin(1), record(wire.PARAMS, 1, pairs(variables()))]);
    const half = record(wire.PARAMS, 1, undefined, padding);
    driver.receive(request, half.slice(0, 8));
    // The handler need not wait for padding.
    expect(driver.seen).toHaveLength(1);
    expect(driver.machine.waiting).toBe("head");
    driver.receive(half.slice(8));
    expect(driver.machine.waiting).toBe("request");
    const stdin = record(wire.STDIN, 1, undefined, padding);
    driver.receive(stdin.slice(0, 2), stdin.slice(2, 8), stdin.slice(8));
    driver.receive(fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(2);
    expect(driver.thrown).toEqual([]);
  });

  test("padding that looks like records", () => {
    const padded = record(wire.PARAMS, 1, pairs(variables()), 16);
    padded.set(begin(1), padded.length - 16);
    const driver = answering().receive(begin(1), padded, record(wire.PARAMS, 1));
    expect(driver.thrown).toEqual([]);
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test("the longest record: 65535 bytes and 255 of padding", () => {
    const rest = pairs(variables());
    // A pair with a four-byte length: 1 + 4 + name + value.
    const value = "v".repeat(65535 - rest.length - 5 - 1);
    const bytes = concat([rest, pairs({ X: value })]);
    expect(bytes).toHaveLength(65535);
    const driver = answering().receive(begin(1), record(wire.PARAMS, 1, bytes, 255), record(wire.PARAMS, 1));
    expect(driver.seen[0]!.exchange.head.meta.params.get("X")).toBe(value);
    driver.receive(record(wire.STDIN, 1, new Uint8Array(65535), 255), fastCgiRequest(2, variables()));
    expect(responseTo(driver, 2).status).toBe(200);
  });

  test("no variables at all: 400, and the connection goes on", () => {
    const driver = answering().receive(withParams(1, new Uint8Array(0)));
    expect(responseTo(driver, 1)).toMatchObject({ status: 400, appStatus: 0, protocolStatus: 0 });
    driver.receive(fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(1);
  });

  test.each([
    ["in a name", hex("05 01 41 42")],
    ["in a value", hex("01 05 41 42")],
    ["before the second length", hex("01")],
    ["in a long length", hex("80 00 00")],
    ["in the second long length", hex("01 80 00 00")],
    ["with a length of 2 GiB", hex("7f ff ff ff ff 41")],
    ["with two lengths of 2 GiB", hex("ff ff ff ff ff ff ff ff 41")],
  ])("a pair cut off %s: 400 without a handler, and the connection goes on", (_, cut) => {
    const driver = answering().receive(withParams(1, concat([pairs(variables()), cut])));
    expect(responseTo(driver, 1)).toMatchObject({ status: 400, appStatus: 0, protocolStatus: 0 });
    expect(driver.seen).toEqual([]);
    expect(codes(driver.rejected)).toEqual(["ERR_FASTCGI_PARAMS"]);
    driver.receive(record(wire.STDIN, 1, utf8("late")), record(wire.STDIN, 1), fastCgiRequest(1, variables()));
    expect(driver.seen).toHaveLength(1);
    expect(driver.thrown).toEqual([]);
  });

  test("CONTENT_LENGTH twice, different: 400", () => {
    const twice = concat([pairs({ CONTENT_LENGTH: "5" }), pairs(variables({ CONTENT_LENGTH: "6" }))]);
    expect(responseTo(answering().receive(withParams(1, twice)), 1).status).toBe(400);
  });
});

describe("limits of the variables", () => {
  test.each([
    ["maxParamsBytes", { maxParamsBytes: 300 }, { HTTP_X: "x".repeat(300) }],
    ["maxParamsCount", { maxParamsCount: 12 }, { A: "1", B: "2" }],
    ["maxHeaderCount", { maxHeaderCount: 2 }, { HTTP_A: "1", HTTP_B: "2" }],
    ["maxHeaderBytes", { maxHeaderBytes: 1000 }, { HTTP_A: "a".repeat(1000) }],
  ])("%s: 431, and the connection goes on", (_, options, more) => {
    const driver = answering(options).receive(withParams(1, pairs(variables(more))));
    const response = responseTo(driver, 1);
    expect(response).toMatchObject({ status: 431, appStatus: 0, protocolStatus: 0 });
    expect(header(response, "content-length")).toBe(String(response.body.length));
    expect(codes(driver.rejected)).toEqual(["ERR_HEADERS_TOO_LARGE"]);
    expect(driver.seen).toEqual([]);
    driver.receive(record(wire.STDIN, 1), fastCgiRequest(1, { REQUEST_METHOD: "GET" }));
    expect(driver.seen).toHaveLength(1);
    expect(driver.machine).toMatchObject({ closing: "open", active: 0 });
  });

  test("maxParamsBytes is checked as the bytes come, and the rest is skipped", () => {
    const driver = answering({ maxParamsBytes: 1000 });
    const long = record(wire.PARAMS, 1, new Uint8Array(5000), 100);
    driver.receive(begin(1), long.slice(0, 8 + 1001));
    expect(responseTo(driver, 1).status).toBe(431);
    const before = driver.sent.length;
    driver.receive(long.slice(8 + 1001), record(wire.PARAMS, 1, new Uint8Array(5000)), record(wire.PARAMS, 1));
    expect(driver.sent).toHaveLength(before);
    expect(driver.machine).toMatchObject({ closing: "open", active: 0, waiting: "request" });
  });

  test("exactly at the limits a request passes", () => {
    const bytes = pairs(variables());
    const count = Object.keys(variables()).length;
    const driver = answering({ maxParamsBytes: bytes.length, maxParamsCount: count, maxHeaderCount: 1 });
    driver.receive(withParams(1, bytes, 7));
    expect(responseTo(driver, 1).status).toBe(200);
  });

  test("a request over a limit does not disturb another that runs", () => {
    const driver = new FakeDriver("fastcgi", { maxParamsBytes: 1000 });
    driver.receive(withParams(1, pairs(variables())), withParams(3, new Uint8Array(1001)));
    answer(driver.seen[0]!.exchange, utf8("fine"));
    expect(responseTo(driver, 3).status).toBe(431);
    expect(responseTo(driver, 1).text).toBe("fine");
  });
});

describe("the head of a response", () => {
  test("longer than one record", () => {
    const driver = new FakeDriver("fastcgi").receive(fastCgiRequest(1, variables()));
    const { exchange } = driver.seen[0]!;
    const long = "x".repeat(70_000);
    exchange.sendHead({
      ...responseHead(200, 4),
      headers: [["x-long", long], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
    });
    exchange.sendBody(utf8("body"));
    exchange.end();
    const response = responseTo(driver, 1);
    expect(header(response, "x-long")).toBe(long);
    expect(header(response, "set-cookie")).toBe("a=1 | b=2");
    expect(response.text).toBe("body");
    expect(Math.max(...records(driver.sent).map(({ contentLength }) => contentLength))).toBe(wire.MAX_SENT_CONTENT);
  });

  test("bytes above 7F go out as they are", () => {
    const driver = new FakeDriver("fastcgi").receive(fastCgiRequest(1, variables()));
    const { exchange } = driver.seen[0]!;
    exchange.sendHead({ ...responseHead(200, 0), headers: [["x-latin", "caf\xe9"]] });
    exchange.end();
    expect(header(responseTo(driver, 1), "x-latin")).toBe("caf\xe9");
  });
});

describe("STDERR", () => {
  function logged(text: string): { contents: string[]; bytes: number[] } {
    const driver = new FakeDriver("fastcgi").receive(fastCgiRequest(1, variables()));
    driver.seen[0]!.exchange.log(text);
    const stderr = records(driver.sent).filter(({ type }) => type === wire.STDERR);
    // The end of the stream is not part of the text.
    expect(stderr.pop()!.content).toHaveLength(0);
    return {
      contents: stderr.map(({ content }) => new TextDecoder().decode(content)),
      bytes: stderr.map(({ content }) => content.length),
    };
  }

  test("control characters other than tab and newline do not pass", () => {
    expect(logged("a\rb\0c\x1b[31md\x7fe\x85f\tg\u2028h").contents).toEqual(["a?b?c?[31md?e?f\tg\u2028h"]);
  });

  test("a record for each line, so that none can be forged", () => {
    expect(logged("Error: no user x\n[error] forged\n\n    at here\n").contents).toEqual([
      "Error: no user x\n",
      "[error] forged\n",
      "    at here\n",
    ]);
  });

  test("long lines are cut to what web servers log", () => {
    expect(logged("x".repeat(20_000)).bytes).toEqual([8000, 8000, 4000]);
  });

  test("nothing to say is not said", () => {
    const driver = new FakeDriver("fastcgi").receive(fastCgiRequest(1, variables()));
    driver.seen[0]!.exchange.log("");
    driver.seen[0]!.exchange.log("\n");
    answer(driver.seen[0]!.exchange, utf8("x"));
    expect(records(driver.sent).map(({ type }) => type)).not.toContain(wire.STDERR);
  });
});
