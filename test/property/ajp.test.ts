import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as codec from "../../src/ajp/codec.ts";
import { concat } from "../../src/bytes/std.ts";
import { containerPackets, forwardPacket } from "../support/ajp.ts";
import { CommandedDriver } from "../support/commanded_driver.ts";
import { echo } from "../support/fake_driver.ts";
import { everyByte, hex, written } from "../support/hex.ts";
import { commands, cuts, cutUp, headerValue, latin1Text, mutate, mutations, steps, token } from "./arbitraries.ts";

const text = latin1Text({ maxLength: 30 });
const maybe = fc.option(text);
const nameValue = fc.tuple(
  fc.oneof(text, fc.constantFrom("host", "cookie", "content-length", "Content-Length", "user-agent", "__proto__")),
  text,
);

const forwardRequests: fc.Arbitrary<codec.ForwardRequest> = fc.record({
  method: fc.oneof(token, fc.constantFrom("GET", "POST", "MKACTIVITY", "PATCH")),
  protocol: maybe,
  uri: maybe,
  remoteAddr: maybe,
  remoteHost: maybe,
  serverName: maybe,
  serverPort: fc.nat(65535),
  isSsl: fc.boolean(),
  headers: fc.array(nameValue, { maxLength: 6 }),
  attributes: fc.record({
    context: text,
    servletPath: text,
    remoteUser: text,
    authType: text,
    queryString: text,
    route: text,
    sslCert: text,
    sslCipher: text,
    sslSession: text,
  }, { requiredKeys: [] }),
  requestAttributes: fc.array(nameValue, { maxLength: 4 }),
  secrets: fc.array(text, { maxLength: 2 }),
}).chain((request) =>
  fc.option(fc.nat(65535)).map((size) => size === null ? request : { ...request, sslKeySize: size })
);

test("decodeServerPacket gives back what encodeForwardRequest was given", () => {
  fc.assert(fc.property(forwardRequests, (request) => {
    const bytes = written((writer) => codec.encodeForwardRequest(writer, request, 65536));
    expect(codec.decodeServerPacket(bytes.subarray(4))).toEqual({ type: "ForwardRequest", request });
    expect((bytes[2]! << 8) | bytes[3]!).toBe(bytes.length - 4);
  }));
});

test("decodeContainerPacket gives back what the container's encoders were given", () => {
  const responseName = fc.oneof(text, fc.constantFrom("content-type", "set-cookie", "location", "status"));
  fc.assert(
    fc.property(
      fc.nat(65535),
      text,
      fc.array(fc.tuple(responseName, text), { maxLength: 6 }),
      fc.uint8Array({ maxLength: 5000 }),
      fc.boolean(),
      fc.nat(65535),
      (status, reason, headers, data, reuse, length) => {
        const bytes = written((writer) => {
          codec.encodeSendHeaders(writer, status, reason, headers);
          codec.encodeSendBodyChunk(writer, data);
          codec.encodeGetBodyChunk(writer, length);
          codec.encodeEndResponse(writer, reuse);
          codec.encodeCPong(writer);
        });
        expect(containerPackets(bytes)).toEqual([
          { type: "SendHeaders", status, reason, headers },
          { type: "SendBodyChunk", data },
          { type: "GetBodyChunk", length },
          { type: "EndResponse", reuse },
          { type: "CPong" },
        ]);
      },
    ),
  );
});

test("decodeData gives back what encodeData was given", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 5000 }), (data) => {
    expect(codec.decodeData(written((writer) => codec.encodeData(writer, data)).subarray(4))).toEqual(data);
  }));
});

/** One request with its data packets, and CPings before it. */
const conversationPart: fc.Arbitrary<Uint8Array> = fc.record({
  pings: fc.nat(2),
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
  path: text.map((path) => `/${path.replaceAll("\0", "0")}`),
  headers: fc.array(fc.tuple(token.map((name) => `x-${name}`), headerValue), { maxLength: 3 }),
  pieces: fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 }), { maxLength: 4 }),
  chunked: fc.boolean(),
  padding: fc.nat(4),
}).map(({ pings, method, path, headers, pieces, chunked, padding }) => {
  const body = concat(pieces);
  const hasBody = method !== "GET" && method !== "HEAD";
  const length: [string, string][] = chunked
    ? [["transfer-encoding", "chunked"]]
    : hasBody
    ? [["content-length", String(body.length)]]
    : [];
  const packets = [
    ...Array.from({ length: pings }, () => hex("123400010a")),
    forwardPacket({ method, uri: path, headers: [["host", "h"], ...length, ...headers] }),
  ];
  if (hasBody) {
    for (const piece of pieces) {
      // Some clients pad their data packets.
      const payload = written((writer) => codec.encodeData(writer, piece));
      const padded = concat([payload, new Uint8Array(padding)]);
      padded[3] = (padded[3]! + padding) & 255;
      packets.push(padded);
    }
    if (chunked) packets.push(padding > 2 ? hex("12340000") : hex("123400020000"));
  }
  return concat(packets);
});
const conversations = fc.array(conversationPart, { minLength: 1, maxLength: 4 }).map((parts) => concat(parts));

describe("AjpServer", () => {
  test("tells and sends the same however a conversation is cut", () => {
    fc.assert(fc.property(conversations, cuts, (bytes, fractions) => {
      const whole = echo("ajp").receive(bytes);
      expect(whole.thrown).toEqual([]);
      expect(whole.seen.length).toBeGreaterThan(0);
      expect(whole.machine.active).toBe(0);
      const story = whole.story;
      expect(echo("ajp").receive(...cutUp(bytes, fractions)).story).toEqual(story);
      expect(echo("ajp").receive(...everyByte(bytes)).story).toEqual(story);
    }));
  });

  test("throws nothing but ProtocolError for any bytes, and the same one however they are cut", () => {
    const magic = fc.uint8Array({ maxLength: 80 }).map((rest) => concat([hex("1234"), rest]));
    const typed = fc.tuple(fc.nat(12), fc.uint8Array({ maxLength: 80 })).map(([type, rest]) =>
      concat([Uint8Array.of(0x12, 0x34, 0, rest.length + 1, type), rest])
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), magic, typed), cuts, (bytes, fractions) => {
        compareFeedings(bytes, fractions);
      }),
      { numRuns: 400 },
    );
  });

  test("throws nothing but ProtocolError for a conversation that was tampered with, however it is cut", () => {
    fc.assert(
      fc.property(conversations, mutations, cuts, (bytes, changes, fractions) => {
        compareFeedings(mutate(bytes, changes), fractions);
      }),
      { numRuns: 400 },
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
          const bytes = changes === null ? valid : mutate(valid, changes);
          const driver = new CommandedDriver("ajp", reactions);
          driver.run(bytes, steps);
          checkAjpOutput(driver);
        },
      ),
      { numRuns: 400 },
    );
  });
});

function compareFeedings(bytes: Uint8Array, fractions: number[]): void {
  const options = { maxHeaderCount: 20, maxBodyBytes: 500 };
  const story = echo("ajp", options).receive(bytes).story;
  expect(JSON.stringify(story)).not.toContain("NOT A ProtocolError");
  expect(echo("ajp", options).receive(...cutUp(bytes, fractions)).story).toEqual(story);
  expect(echo("ajp", options).receive(...everyByte(bytes)).story).toEqual(story);
}

/** What was sent is a conversation that a web server understands. */
function checkAjpOutput({ driver }: CommandedDriver): void {
  const packets = containerPackets(driver.sent);
  let headSent = false;
  packets.forEach((packet, index) => {
    switch (packet.type) {
      case "SendHeaders":
        expect(headSent).toBe(false);
        headSent = true;
        break;
      case "SendBodyChunk":
        expect(packet.data.length === 0 || headSent).toBe(true);
        expect(packet.data.length).toBeLessThanOrEqual(8184);
        break;
      case "EndResponse":
        expect(headSent).toBe(true);
        headSent = false;
        if (!packet.reuse) {
          expect(index).toBe(packets.length - 1);
          expect(driver.machine.closing).not.toBe("open");
        }
        break;
      case "GetBodyChunk":
        expect(packet.length).toBeGreaterThan(0);
        expect(packet.length).toBeLessThanOrEqual(8186);
    }
  });
}
