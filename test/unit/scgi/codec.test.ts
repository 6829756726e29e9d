import { describe, expect, test } from "vitest";
import { ByteWriter } from "../../../src/bytes/byte_writer.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { decodeHeaders, decodeNetstringLength, encodeHeaders } from "../../../src/scgi/codec.ts";
import { hex, latin1, toHex, written } from "../../support/hex.ts";
import { requests } from "../../vectors/scgi.ts";

function failure(run: () => unknown): ProtocolError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("It did not fail");
}

describe("decodeNetstringLength", () => {
  test.each([["1", 1], ["9", 9], ["10", 10], ["70", 70], ["262144", 262144], ["9999999", 9999999]])(
    "%s",
    (text, length) => {
      expect(decodeNetstringLength(latin1(text))).toBe(length);
    },
  );

  test.each([
    ["", "missing"],
    ["0", "begins with 0"],
    ["00", "begins with 0"],
    ["070", "begins with 0"],
    ["+70", "not a number"],
    ["-70", "not a number"],
    [" 70", "not a number"],
    ["70 ", "not a number"],
    ["7\n0", "not a number"],
    ["0x46", "begins with 0"],
    ["7e1", "not a number"],
    ["7.0", "not a number"],
    ["\xb2", "not a number"],
    ["10000000", "too many digits"],
    ["123456789012345678901234567890", "too many digits"],
  ])("refuses %j", (text, reason) => {
    const error = failure(() => decodeNetstringLength(latin1(text)));
    expect(error).toMatchObject({ code: "ERR_SCGI_NETSTRING", statusHint: 0 });
    expect(error.message).toContain(reason);
  });
});

describe("decodeHeaders and encodeHeaders", () => {
  test.each(requests)("$name", ({ hex: digits, headers }) => {
    const bytes = hex(digits);
    expect(toHex(written((writer) => encodeHeaders(writer, headers)))).toBe(toHex(bytes));
    const colon = bytes.indexOf(0x3a);
    const length = decodeNetstringLength(bytes.subarray(0, colon));
    expect(colon + 1 + length + 1).toBe(bytes.length);
    expect(decodeHeaders(bytes.subarray(colon + 1, -1))).toEqual(headers);
  });

  test("the length is that of the bytes, not of their UTF-8", () => {
    expect(toHex(written((writer) => encodeHeaders(writer, [["A", "\xff"]])))).toBe(toHex(hex("343a 41 00 ff 00 2c")));
  });
});

describe("decodeHeaders", () => {
  test.each([
    ["nothing", "", "NUL"],
    ["no NUL at the end", "41 00 31", "NUL"],
    ["no NUL at all", "41", "NUL"],
    ["a name without a value", "41 00", "no value"],
    ["a last name without a value", "41 00 31 00 42 00", "no value"],
    ["an empty name", "00 31 00", "empty"],
    ["an empty name and an empty value", "00 00", "empty"],
    ["an empty name between others", "41 00 31 00 00 32 00", "empty"],
    ["a lone NUL", "00", "empty"],
  ])("refuses %s", (_, digits, reason) => {
    const error = failure(() => decodeHeaders(hex(digits)));
    expect(error).toMatchObject({ code: "ERR_SCGI_HEADERS", statusHint: 400 });
    expect(error.message).toContain(reason);
  });

  test("refuses more than maxCount with 431", () => {
    const block = latin1("A\x001\x00B\x002\x00C\x003\x00");
    expect(decodeHeaders(block, 3)).toHaveLength(3);
    expect(failure(() => decodeHeaders(block, 2))).toMatchObject({ code: "ERR_HEADERS_TOO_LARGE", statusHint: 431 });
  });
});

describe("encodeHeaders", () => {
  test.each<[string, [string, string]]>([
    ["a NUL in a name", ["A\0B", "1"]],
    ["a NUL in a value", ["A", "1\0REMOTE_USER\0root"]],
    ["an empty name", ["", "1"]],
  ])("refuses %s and writes nothing", (_, pair) => {
    const writer = new ByteWriter();
    expect(failure(() => encodeHeaders(writer, [["CONTENT_LENGTH", "0"], pair]))).toMatchObject({
      code: "ERR_SCGI_HEADERS",
      initiator: "local",
    });
    expect(writer.length).toBe(0);
  });

  test("refuses what takes more digits than are read", () => {
    const writer = new ByteWriter();
    expect(failure(() => encodeHeaders(writer, [["A", "x".repeat(10_000_000)]]))).toMatchObject({
      code: "ERR_HEADERS_TOO_LARGE",
      initiator: "local",
    });
    expect(writer.length).toBe(0);
  });
});
