import { describe, expect, test } from "vitest";
import * as codec from "../../../src/ajp/codec.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { concat } from "../../../src/bytes/std.ts";
import { ajpPacket, forwardRequest } from "../../support/ajp.ts";
import { echo } from "../../support/fake_driver.ts";
import { everyByte, hex, toHex, written } from "../../support/hex.ts";
import * as vectors from "../../vectors/ajp.ts";

/** The payload of a packet in hex. */
function payloadOf(packet: string): Uint8Array {
  const bytes = hex(packet);
  expect((bytes[2]! << 8) | bytes[3]!).toBe(bytes.length - 4);
  return bytes.subarray(4);
}

function caught(action: () => unknown): ProtocolError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("Nothing was thrown");
}

const canonical = <Vector extends { readOnly?: true }>(all: Vector[]) => all.filter(({ readOnly }) => !readOnly);

describe("decodeServerPacket", () => {
  test.each(vectors.requests)("reads $name", ({ hex, request }) => {
    expect(codec.decodeServerPacket(payloadOf(hex))).toEqual({ type: "ForwardRequest", request });
  });

  test.each(vectors.signals)("reads $name", ({ hex, type }) => {
    expect(codec.decodeServerPacket(payloadOf(hex))).toEqual({ type });
  });

  test("ignores bytes after a CPing", () => {
    expect(codec.decodeServerPacket(hex("0a 00 ff"))).toEqual({ type: "CPing" });
  });

  test.each(vectors.malformed)("refuses %s with 400", (_what, payload) => {
    expect(caught(() => codec.decodeServerPacket(hex(payload)))).toMatchObject({
      code: "ERR_AJP_MALFORMED",
      statusHint: 400,
      initiator: "peer",
    });
  });

  test.each(vectors.requests)("refuses $name cut off at any byte with 400", ({ request }) => {
    const whole = payloadOf(toHex(written((writer) => codec.encodeForwardRequest(writer, request))));
    for (let length = 1; length < whole.length; length++) {
      const error = caught(() => codec.decodeServerPacket(whole.subarray(0, length)));
      expect([length, error.code, error.statusHint]).toEqual([length, "ERR_AJP_MALFORMED", 400]);
    }
  });

  test("never reads beyond its payload in the same buffer", () => {
    for (const { hex: digits } of vectors.requests.slice(0, 2)) {
      const whole = payloadOf(digits);
      const padded = concat([whole, new Uint8Array(100)]);
      for (let length = 1; length < whole.length; length++) {
        expect(caught(() => codec.decodeServerPacket(padded.subarray(0, length))).code).toBe("ERR_AJP_MALFORMED");
      }
    }
  });

  test.each(vectors.unexpectedTypes)("refuses type %s without an answer", (type) => {
    expect(caught(() => codec.decodeServerPacket(hex(type, "00 00 00")))).toMatchObject({
      code: "ERR_AJP_UNEXPECTED_PACKET",
      statusHint: 0,
    });
  });

  test("refuses an empty payload without an answer", () => {
    expect(caught(() => codec.decodeServerPacket(new Uint8Array(0)))).toMatchObject({
      code: "ERR_AJP_UNEXPECTED_PACKET",
      statusHint: 0,
    });
  });

  test("takes maxHeaderCount headers and refuses one more with 431", () => {
    const two = hex(vectors.payload("02", [`a001 ${vectors.str("a")}`, `a002 ${vectors.str("b")}`]));
    expect(codec.decodeServerPacket(two, 2).type).toBe("ForwardRequest");
    expect(caught(() => codec.decodeServerPacket(two, 1))).toMatchObject({
      code: "ERR_HEADERS_TOO_LARGE",
      statusHint: 431,
    });
  });

  test("refuses 65535 headers that are not there before reading them", () => {
    const payload = hex(vectors.payload().replace(/0000ff$/, "ffffff"));
    expect(caught(() => codec.decodeServerPacket(payload, 100)).statusHint).toBe(431);
    expect(caught(() => codec.decodeServerPacket(payload)).statusHint).toBe(400);
  });
});

describe("decodeData", () => {
  test.each(vectors.data)("reads $name", ({ hex, data }) => {
    expect(toHex(codec.decodeData(payloadOf(hex)))).toBe(data);
  });

  test.each(["00", "ff", "00 01", "00 03 61 62", "ff ff 61"])("refuses %s with 400", (payload) => {
    expect(caught(() => codec.decodeData(hex(payload)))).toMatchObject({ code: "ERR_AJP_MALFORMED", statusHint: 400 });
  });
});

describe("decodeContainerPacket", () => {
  test.each(vectors.container)("reads $name", ({ hex, packet }) => {
    expect(codec.decodeContainerPacket(payloadOf(hex))).toEqual(packet);
  });

  test.each(canonical(vectors.container))("refuses $name cut off at any byte", ({ hex, packet }) => {
    const whole = payloadOf(hex);
    // What comes after the data of a chunk is not looked at.
    const end = packet.type === "SendBodyChunk" ? whole.length - 1 : whole.length;
    for (let length = 0; length < end; length = length < 64 ? length + 1 : length + 97) {
      expect(caught(() => codec.decodeContainerPacket(whole.subarray(0, length))).code).toBe("ERR_AJP_MALFORMED");
    }
  });

  test.each([
    ["header code A000", "04 00c8 0000 00 0001 a000 0001 76 00"],
    ["header code A00C", "04 00c8 0000 00 0001 a00c 0001 76 00"],
    ["a header name that is null", "04 00c8 0000 00 0001 ffff 0001 76 00"],
    ["a chunk longer than its packet", "03 0006 68656c6c6f"],
  ])("refuses %s", (_what, payload) => {
    expect(caught(() => codec.decodeContainerPacket(hex(payload))).code).toBe("ERR_AJP_MALFORMED");
  });

  test.each(["00", "02", "07", "0a", "ff"])("refuses type %s", (type) => {
    expect(caught(() => codec.decodeContainerPacket(hex(type))).code).toBe("ERR_AJP_UNEXPECTED_PACKET");
  });
});

describe("encodeForwardRequest", () => {
  test.each(canonical(vectors.requests))("writes $name", ({ hex: digits, request }) => {
    expect(toHex(written((writer) => codec.encodeForwardRequest(writer, request)))).toBe(toHex(hex(digits)));
  });

  test("fills a packet to its last byte and refuses one byte more", () => {
    const overhead = written((writer) => codec.encodeForwardRequest(writer, forwardRequest({ uri: "" }))).length;
    const fits = forwardRequest({ uri: "/".repeat(8192 - overhead) });
    expect(written((writer) => codec.encodeForwardRequest(writer, fits)).length).toBe(8192);
    const over = forwardRequest({ uri: "/".repeat(8193 - overhead) });
    const bytes = written((writer) => {
      expect(caught(() => codec.encodeForwardRequest(writer, over))).toMatchObject({
        code: "ERR_HEADERS_TOO_LARGE",
        initiator: "local",
      });
    });
    expect(bytes.length).toBe(0);
    expect(written((writer) => codec.encodeForwardRequest(writer, over, 65536)).length).toBe(8193);
  });
});

describe("encodeData", () => {
  test.each(canonical(vectors.data))("writes $name", ({ hex: digits, data }) => {
    expect(toHex(written((writer) => codec.encodeData(writer, hex(data))))).toBe(toHex(hex(digits)));
  });
});

test.each([
  ["encodeCPing", codec.encodeCPing, "123400010a"],
  ["encodeShutdown", codec.encodeShutdown, "1234000107"],
  ["encodePing", codec.encodePing, "1234000108"],
  ["encodeCPong", codec.encodeCPong, "4142000109"],
])("%s writes its five bytes", (_name, encode, digits) => {
  expect(toHex(written(encode))).toBe(digits);
});

test.each(canonical(vectors.container))("the container's encoders write $name", ({ hex: digits, packet }) => {
  const bytes = written((writer) => {
    switch (packet.type) {
      case "SendHeaders":
        return codec.encodeSendHeaders(writer, packet.status, packet.reason, packet.headers);
      case "SendBodyChunk":
        return codec.encodeSendBodyChunk(writer, packet.data);
      case "EndResponse":
        return codec.encodeEndResponse(writer, packet.reuse);
      case "GetBodyChunk":
        return codec.encodeGetBodyChunk(writer, packet.length);
      case "CPong":
        return codec.encodeCPong(writer);
    }
  });
  expect(toHex(bytes)).toBe(toHex(hex(digits)));
});

test("encodeSendHeaders refuses headers over a packet and writes nothing", () => {
  const bytes = written((writer) => {
    const error = caught(() => codec.encodeSendHeaders(writer, 200, "OK", [["x-a", "a".repeat(8192)]]));
    expect(error).toMatchObject({ code: "ERR_AJP_HEADERS_TOO_LONG", initiator: "handler", statusHint: 500 });
    expect(error.message).toMatch(/packetSize.*ProxyIOBufferSize.*max_packet_size/);
    codec.encodeSendHeaders(writer, 200, "OK", [["x-a", "a".repeat(8192)]], 16384);
  });
  expect(bytes.length).toBe(8192 + 4 + 3 + 5 + 2 + 6 + 3);
});

describe("AjpServer as a reader of packets", () => {
  const conversation = concat([
    ...vectors.requests.map((vector) => hex(vector.hex)),
    hex(vectors.data[0]!.hex),
    ...vectors.signals.slice(0, 1).map((vector) => hex(vector.hex)),
  ]);

  /** Each request on a connection of its own, as one in the middle may end it. */
  const conversations: [string, Uint8Array][] = vectors.requests.map(({ name, hex: digits, request }) => {
    const length = Number(request.headers.find(([name]) => name.toLowerCase() === "content-length")?.[1] ?? -1);
    const data = written((writer) => codec.encodeData(writer, new Uint8Array(Math.max(0, length))));
    // A GET without a length has no body; of any other request the body is asked for.
    const hasBody = length >= 0 || request.method !== "GET";
    return [name, concat([hex("123400010a"), hex(digits), hasBody ? data : new Uint8Array(0)])];
  });

  test.each(conversations)("reads %s whole, byte by byte and with the next packet behind it alike", (_name, bytes) => {
    const options = { maxHeaderCount: 10 };
    const whole = echo("ajp", options).receive(bytes).story;
    expect(echo("ajp", options).receive(...everyByte(bytes)).story).toEqual(whole);
    const next = hex("123400010a");
    const split = echo("ajp", options).receive(bytes).receive(next).story;
    expect(echo("ajp", options).receive(concat([bytes, next])).story).toEqual(split);
    expect(echo("ajp", options).receive(...everyByte(concat([bytes, next]))).story).toEqual(split);
  });

  test("emits what the codec reads, and answers in the order asked", () => {
    const bytes = concat([hex("123400010a"), hex(vectors.requests[0]!.hex), hex(vectors.requests[1]!.hex)]);
    const driver = echo("ajp").receive(bytes, hex(vectors.data[0]!.hex), hex("123400010a"));
    expect(driver.thrown).toEqual([]);
    expect(driver.seen.map(({ exchange }) => exchange.head.target)).toEqual(["/hi?a=1", "/p"]);
    expect(toHex(driver.seen[1]!.body[0]!)).toBe("68656c6c6f");
    expect(toHex(driver.sent)).toMatch(/^4142000109.*4142000205014142.*68656c6c6f004142000205014142000109$/);
  });

  test.each(vectors.malformed)("answers %s with 400 in any way of feeding", (_what, payload) => {
    const bytes = ajpPacket(hex(payload));
    const whole = echo("ajp").receive(bytes);
    expect(whole.thrown).toMatchObject([{ code: "ERR_AJP_MALFORMED", statusHint: 400 }]);
    expect(toHex(whole.sent)).toMatch(/^4142....040190.*414200020500$/);
    expect(whole.machine.closing).toBe("linger");
    expect(echo("ajp").receive(...everyByte(bytes)).story).toEqual(whole.story);
    expect(echo("ajp").receive(concat([bytes, conversation])).story).toEqual(whole.story);
  });

  test("refuses a packet over packetSize as soon as its header says so", () => {
    const driver = echo("ajp").receive(hex("12 34 1f fd"));
    expect(driver.thrown).toMatchObject([{ code: "ERR_AJP_PACKET_TOO_LONG", statusHint: 400 }]);
    expect(echo("ajp").receive(hex("12 34 1f fc")).thrown).toEqual([]);
    expect(echo("ajp", { packetSize: 65536 }).receive(hex("12 34 ff fc")).thrown).toEqual([]);
    expect(echo("ajp", { packetSize: 65536 }).receive(hex("12 34 ff fd")).thrown).toHaveLength(1);
  });

  test.each(["1235 0001 0a", "4142 0001 09", "0000", "3412"])("drops the connection for magic %s", (digits) => {
    const driver = echo("ajp").receive(hex(digits, "0000"));
    expect(driver.thrown).toMatchObject([{ code: "ERR_AJP_MAGIC", statusHint: 0 }]);
    expect(driver.machine.closing).toBe("destroy");
    expect(driver.sent.length).toBe(0);
  });

  test("never passes data for a message, whatever it looks like", () => {
    const forged = hex(vectors.requests[0]!.hex).subarray(4);
    const bytes = concat([forged, new Uint8Array(0x0202 - forged.length)]);
    const head = written((writer) =>
      codec.encodeForwardRequest(writer, forwardRequest({ method: "POST", headers: [["content-length", "514"]] }))
    );
    const driver = echo("ajp").receive(head, written((writer) => codec.encodeData(writer, bytes)));
    expect(driver.seen.map(({ exchange }) => exchange.head.method)).toEqual(["POST"]);
    expect(driver.seen[0]!.body[0]!.length).toBe(514);
  });
});
