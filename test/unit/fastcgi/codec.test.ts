import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import * as codec from "../../../src/fastcgi/codec.ts";
import { begin, fastCgiRequest, record, records } from "../../support/fastcgi.ts";
import { echo } from "../../support/fake_driver.ts";
import { everyByte, hex, latin1, splitAt, toHex, written } from "../../support/hex.ts";
import * as vectors from "../../vectors/fastcgi.ts";

function caught(action: () => unknown): ProtocolError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("Nothing was thrown");
}

describe("decodeRecordHeader", () => {
  test.each(vectors.headers)("reads $name", ({ hex: digits, header }) => {
    expect(codec.decodeRecordHeader(hex(digits))).toEqual(header);
  });

  test.each([0, 2, 0x12, 255])("refuses version %i without an answer", (version) => {
    const bytes = hex("01 01 0001 0008 00 00");
    bytes[0] = version;
    expect(caught(() => codec.decodeRecordHeader(bytes))).toMatchObject({
      code: "ERR_FASTCGI_VERSION",
      statusHint: 0,
      initiator: "peer",
    });
  });
});

describe("encodeRecordHeader", () => {
  test.each(vectors.headers.filter(({ readOnly }) => !readOnly))("writes $name", ({ hex: digits, header }) => {
    const bytes = written((writer) =>
      codec.encodeRecordHeader(writer, header.type, header.requestId, header.contentLength)
    );
    expect(toHex(bytes)).toBe(toHex(hex(digits)));
  });

  test("throws a RangeError for a length that 16 bits cannot hold, and writes nothing", () => {
    const bytes = written((writer) => {
      expect(() => codec.encodeRecordHeader(writer, 6, 1, 65536)).toThrow(RangeError);
      expect(() => codec.encodeRecord(writer, 6, 1, new Uint8Array(65536))).toThrow(RangeError);
    });
    expect(bytes.length).toBe(0);
  });
});

describe("BEGIN_REQUEST", () => {
  test.each(vectors.begins)("encodeBeginRequest writes $name", ({ hex: digits, id, role, keepConn }) => {
    expect(toHex(written((writer) => codec.encodeBeginRequest(writer, id, { role, keepConn })))).toBe(
      toHex(hex(digits)),
    );
  });

  test.each(vectors.begins)("decodeBeginRequest reads $name", ({ hex: digits, role, keepConn }) => {
    expect(codec.decodeBeginRequest(hex(digits).subarray(8))).toEqual({ role, keepConn });
  });

  test("decodeBeginRequest looks at one flag and at no reserved byte", () => {
    expect(codec.decodeBeginRequest(hex("0001 fe ffffffffff")).keepConn).toBe(false);
    expect(codec.decodeBeginRequest(hex("0001 ff ffffffffff")).keepConn).toBe(true);
  });
});

describe("END_REQUEST", () => {
  test.each(vectors.ends)("encodeEndRequest writes $name", ({ hex: digits, id, appStatus, protocolStatus }) => {
    expect(toHex(written((writer) => codec.encodeEndRequest(writer, id, { appStatus, protocolStatus })))).toBe(
      toHex(hex(digits)),
    );
  });

  test.each(vectors.ends)("decodeEndRequest reads $name", ({ hex: digits, appStatus, protocolStatus }) => {
    expect(codec.decodeEndRequest(hex(digits).subarray(8))).toEqual({ appStatus, protocolStatus });
  });
});

test("encodeUnknownType writes a management record that decodeUnknownType reads", () => {
  const bytes = written((writer) => codec.encodeUnknownType(writer, 200));
  expect(toHex(bytes)).toBe(toHex(hex("01 0b 0000 0008 00 00 c8 00000000000000")));
  expect(codec.decodeUnknownType(bytes.subarray(8))).toBe(200);
});

test("encodeAbortRequest writes an empty record", () => {
  expect(toHex(written((writer) => codec.encodeAbortRequest(writer, 7)))).toBe("0102000700000000");
});

test.each([
  ["decodeBeginRequest", codec.decodeBeginRequest],
  ["decodeEndRequest", codec.decodeEndRequest],
  ["decodeUnknownType", codec.decodeUnknownType],
])("%s refuses every length but 8", (_name, decode: (content: Uint8Array) => unknown) => {
  for (let length = 0; length < 20; length++) {
    if (length === 8) continue;
    expect(caught(() => decode(new Uint8Array(length)))).toMatchObject({ code: "ERR_FASTCGI_RECORD", statusHint: 0 });
  }
});

describe("encodeStream", () => {
  test("writes nothing for nothing, which would be the end of the stream", () => {
    expect(written((writer) => codec.encodeStream(writer, 6, 1, new Uint8Array(0))).length).toBe(0);
  });

  test.each([1, 65527, 65528])("puts %i bytes in one record", (length) => {
    const found = records(written((writer) => codec.encodeStream(writer, 6, 1, new Uint8Array(length))));
    expect(found.map(({ contentLength }) => contentLength)).toEqual([length]);
  });

  test("cuts what is longer than 65528, or than what it is told, into records of the same bytes", () => {
    const content = Uint8Array.from({ length: 131057 }, (_, i) => i * 7);
    const long = records(written((writer) => codec.encodeStream(writer, 6, 1, content)));
    expect(long.map(({ contentLength }) => contentLength)).toEqual([65528, 65528, 1]);
    expect(toHex(concat(long.map((record) => record.content)))).toBe(toHex(content));
    const short = records(written((writer) => codec.encodeStream(writer, 7, 1, content.subarray(0, 20), 8)));
    expect(short.map(({ type, contentLength }) => [type, contentLength])).toEqual([[7, 8], [7, 8], [7, 4]]);
  });

  test("encodeStreamEnd writes an empty record", () => {
    expect(toHex(written((writer) => codec.encodeStreamEnd(writer, 6, 1)))).toBe("0106000100000000");
  });
});

describe("FastCgiServer as a reader of records", () => {
  const variables = { REQUEST_METHOD: "POST", REQUEST_URI: "/a?b", CONTENT_LENGTH: "5", HTTP_HOST: "h" };
  const requests = concat([
    fastCgiRequest(1, variables, latin1("hello")),
    fastCgiRequest(2, { ...variables, REQUEST_URI: "/long", HTTP_X: "x".repeat(300) }, latin1("world")),
  ]);

  test("reads requests whole, byte by byte and with more behind them alike", () => {
    const whole = echo("fastcgi").receive(requests);
    expect(whole.thrown).toEqual([]);
    expect(whole.seen.map(({ exchange }) => exchange.head.target)).toEqual(["/a?b", "/long"]);
    expect(echo("fastcgi").receive(...everyByte(requests)).story).toEqual(whole.story);
    const begun = echo("fastcgi").receive(requests).receive(begin(3)).story;
    expect(echo("fastcgi").receive(concat([requests, begin(3)])).story).toEqual(begun);
    expect(echo("fastcgi").receive(...everyByte(concat([requests, begin(3)]))).story).toEqual(begun);
  });

  test("reads the same with padding of any length", () => {
    const unpadded = echo("fastcgi").receive(requests).story;
    for (const padding of [1, 7, 255]) {
      const padded = concat(
        records(requests).map(({ type, requestId, content }) => record(type, requestId, content, padding)),
      );
      expect(echo("fastcgi").receive(padded).story).toEqual(unpadded);
      expect(echo("fastcgi").receive(...everyByte(padded)).story).toEqual(unpadded);
    }
  });

  test("reads a header that comes as two and six bytes, and padding that comes alone", () => {
    const padded = record(1, 1, hex("0001 01 0000000000"), 8);
    const rest = fastCgiRequest(1, variables, latin1("hello")).subarray(16);
    const driver = echo("fastcgi").receive(...splitAt(padded, [2, 8, 16]), rest);
    expect(driver.thrown).toEqual([]);
    expect(driver.seen).toHaveLength(1);
  });

  test("takes the largest record there is: 65535 bytes of content and 255 of padding", () => {
    const body = new Uint8Array(65535).fill(97);
    const bytes = concat([
      begin(1),
      fastCgiRequest(1, { ...variables, CONTENT_LENGTH: "65535" }).subarray(16, -8),
      record(5, 1, body, 255),
      record(5, 1, undefined, 255),
      record(9, 0, undefined, 255),
    ]);
    const driver = echo("fastcgi").receive(...splitAt(bytes, [100, 1000, 65000, 66000]));
    expect(driver.thrown).toEqual([]);
    expect(concat(driver.seen[0]!.body).length).toBe(65535);
    expect(records(driver.sent).at(-1)).toMatchObject({ type: 10, requestId: 0 });
  });

  test("answers HAProxy's GET_VALUES in any way of feeding", () => {
    const question = record(9, 0, hex(vectors.pairs.at(-2)!.hex));
    const answer = record(10, 0, hex(vectors.pairs.at(-1)!.hex));
    for (const chunks of [[question], everyByte(question)]) {
      const driver = echo("fastcgi", { maxConcurrentRequests: 50 }).receive(...chunks);
      expect(toHex(driver.sent)).toBe(toHex(answer));
    }
  });

  test.each(vectors.cutPairs)("answers PARAMS that end with %s with 400", (_what, digits) => {
    const bytes = concat([begin(1), record(4, 1, hex(digits)), record(4, 1)]);
    const driver = echo("fastcgi").receive(bytes);
    expect(driver.thrown).toEqual([]);
    expect(driver.rejected).toMatchObject([{ code: "ERR_FASTCGI_PARAMS", statusHint: 400 }]);
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("open");
    expect(echo("fastcgi").receive(...everyByte(bytes)).story).toEqual(driver.story);
  });

  test.each([
    ["version 0", "00 01 0001 0008 00 00", "ERR_FASTCGI_VERSION"],
    ["BEGIN_REQUEST of 7 bytes", "01 01 0001 0007 00 00 0001 00 00000000", "ERR_FASTCGI_RECORD"],
    ["BEGIN_REQUEST of 9 bytes", "01 01 0001 0009 00 00 0001 00 000000000000", "ERR_FASTCGI_RECORD"],
    ["BEGIN_REQUEST of 0 bytes", "01 01 0001 0000 00 00", "ERR_FASTCGI_RECORD"],
    ["BEGIN_REQUEST with id 0", "01 01 0000 0008 00 00 0001 00 0000000000", "ERR_FASTCGI_RECORD"],
    ["PARAMS with id 0", "01 04 0000 0000 00 00", "ERR_FASTCGI_RECORD"],
    ["STDOUT with id 0", "01 06 0000 0000 00 00", "ERR_FASTCGI_RECORD"],
  ])("drops the connection for %s", (_what, digits, code) => {
    const driver = echo("fastcgi").receive(hex(digits));
    expect(driver.thrown).toMatchObject([{ code, statusHint: 0 }]);
    expect(driver.machine.closing).toBe("destroy");
    expect(driver.sent.length).toBe(0);
    expect(echo("fastcgi").receive(...everyByte(hex(digits))).story).toEqual(driver.story);
  });
});
