import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat } from "../../src/bytes/std.ts";
import { ProtocolError } from "../../src/errors.ts";
import { decodeHeaders, decodeNetstringLength, encodeHeaders } from "../../src/scgi/codec.ts";
import { CommandedDriver } from "../support/commanded_driver.ts";
import { echo } from "../support/fake_driver.ts";
import { everyByte, latin1, written } from "../support/hex.ts";
import { readCgiResponse, scgiRequest } from "../support/scgi_client.ts";
import { commands, cuts, cutUp, headerValue, latin1Text, mutate, mutations, steps } from "./arbitraries.ts";

const withoutNul = latin1Text({ maxLength: 20 }).map((text) => text.replaceAll("\0", "_"));

test("decodeHeaders gives back what encodeHeaders was given", () => {
  const pair = fc.tuple(withoutNul.map((name) => name || "A"), withoutNul);
  fc.assert(fc.property(fc.array(pair, { minLength: 1, maxLength: 10 }), (given) => {
    const bytes = written((writer) => encodeHeaders(writer, given));
    const colon = bytes.indexOf(0x3a);
    const length = decodeNetstringLength(bytes.subarray(0, colon));
    expect(bytes.length).toBe(colon + 1 + length + 1);
    expect(bytes.at(-1)).toBe(0x2c);
    expect(decodeHeaders(bytes.subarray(colon + 1, -1))).toEqual(given);
  }));
});

test("decodeHeaders reads any bytes whole or throws a 400", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 0, 65, 66, 255), { maxLength: 30 }), (list) => {
      const bytes = Uint8Array.from(list);
      try {
        const headers = decodeHeaders(bytes);
        expect(concat(headers.map(([name, value]) => latin1(`${name}\0${value}\0`)))).toEqual(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_SCGI_HEADERS", statusHint: 400 });
      }
    }),
    { numRuns: 500 },
  );
});

test("decodeNetstringLength reads what a number prints, and nothing else", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 9_999_999 }), (length) => {
    expect(decodeNetstringLength(latin1(String(length)))).toBe(length);
  }));
  fc.assert(fc.property(latin1Text({ maxLength: 10 }), (text) => {
    let length: number;
    try {
      length = decodeNetstringLength(latin1(text));
    } catch (error) {
      expect(error).toBeInstanceOf(ProtocolError);
      return;
    }
    expect(String(length)).toBe(text);
  }));
});

/** A request, and bytes after it that are no part of it. */
const requests: fc.Arbitrary<Uint8Array> = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "FOO"),
  uri: latin1Text({ maxLength: 20 }).map((uri) => `/${uri.replace(/[^\P{Cc}\x80-\x9f]/gu, "_")}`),
  headers: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,8}$/), headerValue, { maxKeys: 3 }),
  body: fc.uint8Array({ maxLength: 150 }),
  trailing: fc.oneof({ weight: 3, arbitrary: fc.constant(new Uint8Array(0)) }, fc.uint8Array({ maxLength: 30 })),
}).map(({ method, uri, headers, body, trailing }) => {
  const variables: Record<string, string> = { REQUEST_METHOD: method, REQUEST_URI: uri };
  for (const [name, value] of Object.entries(headers)) variables[`HTTP_X_${name}`] = value;
  return concat([scgiRequest(variables, body), trailing]);
});

function compareFeedings(protocol: "scgi" | "any", bytes: Uint8Array, fractions: number[]): void {
  const options = { maxHeaderCount: 20, maxBodyBytes: 500, maxParamsBytes: 700, maxParamsCount: 30 };
  const story = echo(protocol, options).receive(bytes).story;
  expect(JSON.stringify(story)).not.toContain("NOT A ProtocolError");
  expect(echo(protocol, options).receive(...cutUp(bytes, fractions)).story).toEqual(story);
  expect(echo(protocol, options).receive(...everyByte(bytes)).story).toEqual(story);
}

describe("ScgiServer", () => {
  test("tells and sends the same however a request is cut", () => {
    fc.assert(fc.property(requests, cuts, (bytes, fractions) => {
      const whole = echo("scgi").receive(bytes);
      expect(whole.thrown).toEqual([]);
      expect(whole.seen).toHaveLength(1);
      expect(whole.machine.active).toBe(0);
      const story = whole.story;
      expect(echo("scgi").receive(...cutUp(bytes, fractions)).story).toEqual(story);
      expect(echo("scgi").receive(...everyByte(bytes)).story).toEqual(story);
      expect(echo("any").receive(...cutUp(bytes, fractions)).story).toEqual(story);
    }));
  });

  test("throws nothing but ProtocolError for any bytes, and the same one however they are cut", () => {
    const netstring = fc.tuple(
      fc.constantFrom("CONTENT_LENGTH\x000\x00SCGI\x001\x00", "CONTENT_LENGTH\x00", "SCGI\x001\x00", ""),
      fc.array(fc.constantFrom("", "\0", "A", "REQUEST_METHOD", "GET", "SCGI", "1", "CONTENT_LENGTH", "HTTP_X", "\n"), {
        maxLength: 8,
      }),
      fc.integer({ min: -1, max: 1 }),
      fc.constantFrom(",", ",body", "", "x"),
    ).map(([start, strings, error, end]) => {
      const block = start + strings.map((text) => `${text}\0`).join("");
      return latin1(`${block.length + (error === 1 ? 1 : 0)}:${block}${end}`);
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), netstring), cuts, (bytes, fractions) => {
        compareFeedings("scgi", bytes, fractions);
        compareFeedings("any", bytes, fractions);
      }),
      { numRuns: 400 },
    );
  });

  test("throws nothing but ProtocolError for a request that was tampered with, however it is cut", () => {
    fc.assert(
      fc.property(requests, mutations, cuts, (bytes, changes, fractions) => {
        compareFeedings("scgi", mutate(bytes, changes), fractions);
      }),
      { numRuns: 300 },
    );
  });

  test("keeps to the protocol whatever the driver commands and the web server sends", () => {
    fc.assert(
      fc.property(
        requests,
        fc.option(mutations, { freq: 2 }),
        commands,
        steps,
        (valid, changes, reactions, steps) => {
          const driver = new CommandedDriver("scgi", reactions);
          driver.run(changes === null ? valid : mutate(valid, changes), steps);
          // Whatever was sent, it begins as a CGI response.
          readCgiResponse(driver.driver.sent);
        },
      ),
      { numRuns: 300 },
    );
  });
});
