import { describe, expect, test } from "vitest";
import { decodeLatin1, encodeLatin1, encodeLatin1Into, latin1ToUtf8 } from "../../../src/bytes/latin1.ts";
import { toHex, utf8 } from "../../support/hex.ts";

const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const ALL_CHARACTERS = Array.from(ALL_BYTES, (byte) => String.fromCharCode(byte)).join("");

describe("decodeLatin1", () => {
  test("makes each of the 256 bytes the character of that number", () => {
    expect(decodeLatin1(ALL_BYTES)).toBe(ALL_CHARACTERS);
    for (const byte of ALL_BYTES) expect(decodeLatin1(Uint8Array.of(byte))).toBe(String.fromCharCode(byte));
  });

  test.each([0, 1, 31, 32, 33, 4095, 4096, 4097, 70_000])("decodes %i bytes, ASCII or not", (length) => {
    expect(decodeLatin1(new Uint8Array(length).fill(0x61))).toBe("a".repeat(length));
    expect(decodeLatin1(new Uint8Array(length).fill(0x80))).toBe("\x80".repeat(length));
  });

  test("keeps a byte order mark", () => {
    expect(decodeLatin1(utf8(`\ufeff${"a".repeat(50)}`))).toBe(`\xef\xbb\xbf${"a".repeat(50)}`);
  });

  test("decodes from start to end and nothing around it", () => {
    expect(decodeLatin1(ALL_BYTES, 65, 68)).toBe("ABC");
    expect(decodeLatin1(ALL_BYTES, 0, 127)).toBe(ALL_CHARACTERS.slice(0, 127));
    expect(decodeLatin1(ALL_BYTES, 100, 200)).toBe(ALL_CHARACTERS.slice(100, 200));
    expect(decodeLatin1(ALL_BYTES.subarray(64), 1, 4)).toBe("ABC");
    expect(decodeLatin1(ALL_BYTES, 256)).toBe("");
  });
});

describe("encodeLatin1", () => {
  test("makes each character up to U+00FF the byte of that number", () => {
    expect(encodeLatin1(ALL_CHARACTERS)).toEqual(ALL_BYTES);
  });

  test("makes any other a question mark", () => {
    expect(toHex(encodeLatin1("aĀ€\ud83d\ude00"))).toBe("613f3f3f3f");
  });

  test("encodeLatin1Into writes at the offset and nowhere else", () => {
    const target = new Uint8Array(4);
    encodeLatin1Into("\xe9A", target, 1);
    expect(toHex(target)).toBe("00e94100");
  });
});

test.each([
  ["plain ASCII", "abc", "abc"],
  ["nothing", "", ""],
  ["UTF-8", "J\xc3\xb6rg", "Jörg"],
  ["UTF-8 of four bytes", "\xf0\x9f\x98\x80", "\u{1f600}"],
  ["a byte order mark, which stays", "\xef\xbb\xbfa", "\ufeffa"],
  ["ISO-8859-1", "J\xf6rg", "J\xf6rg"],
  ["UTF-8 that is cut off", "J\xc3", "J\xc3"],
  ["overlong UTF-8", "\xc0\xaf", "\xc0\xaf"],
  ["a surrogate in UTF-8", "\xed\xa0\x80", "\xed\xa0\x80"],
])("latin1ToUtf8 reads %s", (_what, text, expected) => {
  expect(latin1ToUtf8(text)).toBe(expected);
});
