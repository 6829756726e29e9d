import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concat } from "../../src/bytes/std.ts";
import * as codec from "../../src/fastcgi/codec.ts";
import { decodeNameValuePairs, encodeNameValuePair, nameValuePairSize } from "../../src/fastcgi/name_value.ts";
import { CommandedDriver } from "../support/commanded_driver.ts";
import { begin, BROKEN_END, pairs, record, records } from "../support/fastcgi.ts";
import { echo } from "../support/fake_driver.ts";
import { everyByte, written } from "../support/hex.ts";
import { commands, cuts, cutUp, headerValue, latin1Text, mutate, mutations, steps } from "./arbitraries.ts";

const longText = fc.oneof(latin1Text({ maxLength: 20 }), latin1Text({ minLength: 120, maxLength: 140 }));

test("decodeNameValuePairs gives back what encodeNameValuePair was given", () => {
  fc.assert(fc.property(fc.array(fc.tuple(longText, longText), { maxLength: 10 }), (given) => {
    const bytes = written((writer) => {
      for (const [name, value] of given) encodeNameValuePair(writer, name, value);
    });
    expect(decodeNameValuePairs(bytes)).toEqual(given);
    expect(bytes.length).toBe(given.reduce((sum, [name, value]) => sum + nameValuePairSize(name, value), 0));
  }));
});

test("decodeNameValuePairs reads any bytes whole or throws a 400, and never a pair that is not there", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      let found: [string, string][];
      try {
        found = decodeNameValuePairs(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_FASTCGI_PARAMS", statusHint: 400 });
        return;
      }
      const size = found.reduce((sum, [name, value]) => sum + 2 + name.length + value.length, 0);
      expect(size).toBeLessThanOrEqual(bytes.length);
    }),
    { numRuns: 500 },
  );
});

test("the decoders of records give back what the encoders were given", () => {
  const id = fc.nat(65535);
  fc.assert(fc.property(
    id,
    fc.nat(255),
    fc.nat(65535),
    fc.boolean(),
    fc.nat(0xffffffff),
    fc.nat(255),
    fc.uint8Array({ maxLength: 300 }),
    (requestId, type, role, keepConn, appStatus, protocolStatus, content) => {
      const found = records(written((writer) => {
        codec.encodeBeginRequest(writer, requestId, { role, keepConn });
        codec.encodeEndRequest(writer, requestId, { appStatus, protocolStatus });
        codec.encodeUnknownType(writer, type);
        codec.encodeRecord(writer, type, requestId, content);
      }));
      expect(codec.decodeBeginRequest(found[0]!.content)).toEqual({ role, keepConn });
      expect(codec.decodeEndRequest(found[1]!.content)).toEqual({ appStatus, protocolStatus });
      expect(codec.decodeUnknownType(found[2]!.content)).toBe(type);
      expect(found[3]).toMatchObject({ type, requestId, content });
    },
  ));
});

test("encodeStream gives records that join to what they were, whatever the most in one", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), fc.integer({ min: 1, max: 600 }), (content, most) => {
    const found = records(written((writer) => codec.encodeStream(writer, 6, 1, content, most)));
    expect(concat(found.map((record) => record.content))).toEqual(content);
    expect(found.every(({ contentLength }) => contentLength > 0 && contentLength <= most)).toBe(true);
  }));
});

/** The records of one request, its streams cut anywhere, in the middle of a length too. */
function requestRecords(requestId: number): fc.Arbitrary<Uint8Array[]> {
  return fc.record({
    method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "FOO"),
    uri: latin1Text({ maxLength: 20 }).map((uri) => `/${uri.replace(/[^\P{Cc}\x80-\x9f]/gu, "_")}`),
    headers: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,8}$/), headerValue, { maxKeys: 3 }),
    big: fc.boolean(),
    body: fc.uint8Array({ maxLength: 150 }),
    lengthKnown: fc.boolean(),
    paramCuts: cuts,
    bodyCuts: cuts,
    padding: fc.constantFrom(0, 0, 1, 7, 255),
    keepConn: fc.constant(true),
    file: fc.option(fc.record({ bytes: fc.uint8Array({ maxLength: 150 }), dataCuts: cuts, early: fc.boolean() })),
  }).map(({ method, uri, headers, big, body, lengthKnown, paramCuts, bodyCuts, padding, keepConn, file }) => {
    const variables: Record<string, string> = { REQUEST_METHOD: method, REQUEST_URI: uri, SERVER_NAME: "h" };
    if (lengthKnown) variables["CONTENT_LENGTH"] = String(body.length);
    if (big) variables["HTTP_X_BIG"] = "b".repeat(300);
    for (const [name, value] of Object.entries(headers)) variables[`HTTP_X_${name}`] = value;
    if (file !== null && lengthKnown) variables["FCGI_DATA_LENGTH"] = String(file.bytes.length);
    const head = [
      begin(requestId, keepConn, file === null ? 1 : 3),
      ...cutUp(pairs(variables), paramCuts).map((piece) => record(4, requestId, piece, padding)),
      record(4, requestId),
    ];
    const stdin = [
      ...cutUp(body, bodyCuts).map((piece) => record(5, requestId, piece, padding)),
      record(5, requestId, undefined, padding),
    ];
    if (file === null) return [...head, ...stdin];
    const data = [
      ...cutUp(file.bytes, file.dataCuts).map((piece) => record(8, requestId, piece, padding)),
      record(8, requestId, undefined, padding),
    ];
    // A web server sends it after STDIN; to us the order is the same.
    return file.early ? [...head, ...data, ...stdin] : [...head, ...stdin, ...data];
  });
}

/** Several requests whose records take turns, with questions of the web server's between them. */
const conversations: fc.Arbitrary<Uint8Array> = fc.tuple(
  fc.array(fc.constantFrom(1, 2, 300), { minLength: 1, maxLength: 3 }).chain((ids) =>
    fc.tuple(...[...new Set(ids)].map(requestRecords))
  ),
  fc.array(fc.nat(2), { maxLength: 60 }),
  fc.boolean(),
).map(([requests, turns, asks]) => {
  const queues = requests.map((list) => [...list]);
  const out: Uint8Array[] = asks ? [record(9, 0, pairs({ FCGI_MAX_REQS: "", FCGI_MPXS_CONNS: "" }))] : [];
  for (const turn of [...turns, ...queues.flatMap((queue, index) => queue.map(() => index))]) {
    const next = queues[turn % queues.length]!.shift();
    if (next !== undefined) out.push(next);
  }
  for (const queue of queues) out.push(...queue);
  return concat(out);
});

function compareFeedings(bytes: Uint8Array, fractions: number[]): void {
  const options = { maxHeaderCount: 20, maxBodyBytes: 500, maxParamsBytes: 700, maxConcurrentRequests: 2 };
  const story = echo("fastcgi", options).receive(bytes).story;
  expect(JSON.stringify(story)).not.toContain("NOT A ProtocolError");
  expect(echo("fastcgi", options).receive(...cutUp(bytes, fractions)).story).toEqual(story);
  expect(echo("fastcgi", options).receive(...everyByte(bytes)).story).toEqual(story);
}

/** What was sent is a conversation that a web server understands. */
function checkOutput(bytes: Uint8Array): void {
  for (const { type, requestId, contentLength, content } of records(bytes)) {
    expect([BROKEN_END, 3, 6, 7, 10, 11]).toContain(type);
    expect(requestId === 0).toBe(type >= 10);
    if (type === 3) expect(codec.decodeEndRequest(content).appStatus).toBeLessThanOrEqual(1);
    if (type === 7) expect(contentLength).toBeLessThanOrEqual(8000);
  }
}

describe("FastCgiServer", () => {
  test("tells and sends the same however a conversation is cut", () => {
    fc.assert(fc.property(conversations, cuts, (bytes, fractions) => {
      const whole = echo("fastcgi").receive(bytes);
      expect(whole.thrown).toEqual([]);
      expect(whole.seen.length).toBeGreaterThan(0);
      expect(whole.rejected).toEqual([]);
      expect(whole.machine.active).toBe(0);
      const story = whole.story;
      expect(echo("fastcgi").receive(...cutUp(bytes, fractions)).story).toEqual(story);
      expect(echo("fastcgi").receive(...everyByte(bytes)).story).toEqual(story);
    }));
  });

  test("throws nothing but ProtocolError for any bytes, and the same one however they are cut", () => {
    const anyRecord = fc.tuple(
      fc.nat(12),
      fc.constantFrom(0, 1, 2),
      fc.oneof(
        fc.uint8Array({ maxLength: 20 }),
        fc.constantFrom(1, 3).map((role) => Uint8Array.of(0, role, 1, 0, 0, 0, 0, 0)),
      ),
      fc.constantFrom(0, 0, 3),
    ).map(([type, id, content, padding]) => record(type, id, content, padding));
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.array(anyRecord, { maxLength: 10 }).map((list) => concat(list))),
        cuts,
        compareFeedings,
      ),
      { numRuns: 400 },
    );
  });

  test("throws nothing but ProtocolError for a conversation that was tampered with, however it is cut", () => {
    fc.assert(
      fc.property(conversations, mutations, cuts, (bytes, changes, fractions) => {
        compareFeedings(mutate(bytes, changes), fractions);
      }),
      { numRuns: 200 },
    );
  });

  test("keeps to the protocol whatever the driver commands and the web server sends", () => {
    fc.assert(
      fc.property(
        conversations,
        fc.option(mutations, { freq: 2 }),
        commands,
        steps,
        (valid, changes, reactions, steps) => {
          const driver = new CommandedDriver("fastcgi", reactions, { maxBufferedBytes: 400 });
          driver.run(changes === null ? valid : mutate(valid, changes), steps);
          checkOutput(driver.driver.sent);
        },
      ),
      { numRuns: 300 },
    );
  });
});
