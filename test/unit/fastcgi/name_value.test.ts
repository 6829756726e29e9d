import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import { decodeNameValuePairs, encodeNameValuePair, nameValuePairSize } from "../../../src/fastcgi/name_value.ts";
import { hex, toHex, written } from "../../support/hex.ts";
import * as vectors from "../../vectors/fastcgi.ts";

function refusal(bytes: Uint8Array, maxCount?: number): ProtocolError {
  try {
    decodeNameValuePairs(bytes, maxCount);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("Nothing was thrown");
}

describe("decodeNameValuePairs", () => {
  test.each(vectors.pairs)("reads $name", ({ hex: digits, pairs }) => {
    expect(decodeNameValuePairs(hex(digits))).toEqual(pairs);
  });

  test.each(vectors.cutPairs)("refuses %s with 400", (_what, digits) => {
    expect(refusal(hex(digits))).toMatchObject({ code: "ERR_FASTCGI_PARAMS", statusHint: 400, initiator: "peer" });
  });

  test.each(vectors.pairs.filter(({ pairs }) => pairs.length > 0))(
    "refuses $name cut off at any byte",
    ({ hex: h }) => {
      const whole = hex(h);
      const borders = new Set<number>();
      for (let at = 0; at < whole.length; at++) {
        try {
          decodeNameValuePairs(whole.subarray(0, at));
          borders.add(at);
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_FASTCGI_PARAMS", statusHint: 400 });
        }
      }
      // Only between pairs is a cut no cut.
      expect(borders.size).toBe(decodeNameValuePairs(whole).length);
    },
  );

  test("never reads beyond its bytes in the same buffer", () => {
    const whole = hex("03 02 414243 6465 00 00 00 00 00 00 00");
    for (let length = 1; length < 7; length++) expect(refusal(whole.subarray(0, length)).statusHint).toBe(400);
  });

  test("takes maxCount pairs and refuses one more with 431", () => {
    const three = hex("0101 4131 0101 4232 0101 4333");
    expect(decodeNameValuePairs(three, 3)).toHaveLength(3);
    expect(refusal(three, 2)).toMatchObject({ code: "ERR_HEADERS_TOO_LARGE", statusHint: 431 });
  });
});

describe("encodeNameValuePair", () => {
  test.each(vectors.pairs.filter(({ readOnly }) => !readOnly))("writes $name", ({ hex: digits, pairs }) => {
    const bytes = written((writer) => {
      for (const [name, value] of pairs) encodeNameValuePair(writer, name, value);
    });
    expect(toHex(bytes)).toBe(toHex(hex(digits)));
    expect(bytes.length).toBe(pairs.reduce((sum, [name, value]) => sum + nameValuePairSize(name, value), 0));
  });

  test.each(vectors.lengths)("writes a length of $length as $hex", ({ length, hex: digits }) => {
    const bytes = written((writer) => encodeNameValuePair(writer, "", "a".repeat(length)));
    expect(toHex(bytes.subarray(0, bytes.length - length))).toBe(toHex(hex("00", digits)));
  });
});

test.each(vectors.lengths)("decodeNameValuePairs reads $hex as a length of $length", ({ length, hex: digits }) => {
  const prefix = hex(digits, "00");
  const bytes = new Uint8Array(prefix.length + length);
  bytes.set(prefix);
  expect(decodeNameValuePairs(bytes)[0]![0].length).toBe(length);
  if (length > 0) expect(refusal(bytes.subarray(0, -1)).code).toBe("ERR_FASTCGI_PARAMS");
});
