import { describe, expect, test } from "vitest";
import {
  hasControlCharacter,
  isHopByHopRequestHeader,
  isHopByHopResponseHeader,
  parseContentLength,
  trimBlanks,
} from "../../../src/http/header_rules.ts";

const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

test.each([...HOP_BY_HOP, "expect"])("isHopByHopRequestHeader knows %s", (name) => {
  expect(isHopByHopRequestHeader(name)).toBe(true);
});

test.each([...HOP_BY_HOP, "status"])("isHopByHopResponseHeader knows %s", (name) => {
  expect(isHopByHopResponseHeader(name)).toBe(true);
});

test.each(["content-length", "host", "cookie", "x-upgrade", "", "status"])(
  "isHopByHopRequestHeader lets %j through",
  (name) => expect(isHopByHopRequestHeader(name)).toBe(false),
);

test.each(["content-type", "set-cookie", "expect", "x-status", "constructor"])(
  "isHopByHopResponseHeader lets %s through",
  (name) => expect(isHopByHopResponseHeader(name)).toBe(false),
);

test("hasControlCharacter finds every control character but TAB, and nothing else", () => {
  for (let code = 0; code < 0x200; code++) {
    const control = (code < 0x20 && code !== 9) || code === 0x7f;
    expect([code, hasControlCharacter(`a${String.fromCharCode(code)}b`)]).toEqual([code, control]);
  }
  expect(hasControlCharacter("")).toBe(false);
});

describe("parseContentLength", () => {
  test.each([["0", 0], ["1", 1], ["007", 7], ["9007199254740991", Number.MAX_SAFE_INTEGER]])(
    "reads %s",
    (text, length) => expect(parseContentLength(text)).toBe(length),
  );

  test.each([
    "",
    " ",
    " 5",
    "5 ",
    "+5",
    "-5",
    "5,5",
    "5.0",
    "0x5",
    "5e3",
    "five",
    "٥",
    "5\n",
    "9007199254740992",
    "9999999999999999",
    "10000000000000000",
    "00000000000000005",
    "Infinity",
    "NaN",
  ])("refuses %j", (text) => expect(parseContentLength(text)).toBe(-1));
});

test.each([["", ""], [" ", ""], ["a", "a"], [" \ta b\t ", "a b"], ["\n a\u00a0", "\n a\u00a0"], ["\t", ""]])(
  "trimBlanks(%j) is %j",
  (value, expected) => expect(trimBlanks(value)).toBe(expected),
);
