// The machine without I/O: what a response looks like on the wire, and what is refused.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { ajpPacket, forwardPacket } from "../../support/ajp.ts";
import { dataPacket } from "../../support/ajp_client.ts";
import { driver, post, sent, types } from "../../support/ajp_driver.ts";
import { echo, type FakeDriver, responseHead } from "../../support/fake_driver.ts";
import { hex, toHex, utf8 } from "../../support/hex.ts";
import { sha } from "../../support/sockets.ts";

describe("AjpServer, the response", () => {
  test("head, chunks, end, in that order", () => {
    const fake = driver().receive(forwardPacket());
    const { exchange } = fake.seen[0]!;
    exchange.sendHead(responseHead());
    exchange.sendBody(utf8("one"));
    exchange.sendBody(utf8("two"));
    exchange.end();
    expect(types(fake)).toEqual(["SendHeaders(200)", "SendBodyChunk(3)", "SendBodyChunk(3)", "EndResponse(1)"]);
  });

  test("the bytes are those of the specification", () => {
    const fake = driver().receive(forwardPacket());
    const { exchange } = fake.seen[0]!;
    exchange.sendHead({
      status: 200,
      reason: "OK",
      headers: [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["X-Y", "z"]],
      contentLength: -1,
    });
    exchange.sendBody(utf8("hello"));
    exchange.flush();
    exchange.end();
    expect(toHex(fake.sent)).toBe(toHex(hex(
      "41 42 00 33 04 00 c8 00 02 4f 4b 00 00 04 a0 01 00 0a 74 65 78 74 2f 70 6c 61 69 6e 00 a0 07 00",
      "03 61 3d 31 00 a0 07 00 03 62 3d 32 00 00 03 58 2d 59 00 00 01 7a 00",
      "41 42 00 09 03 00 05 68 65 6c 6c 6f 00",
      "41 42 00 04 03 00 00 00",
      "41 42 00 02 05 01",
    )));
  });

  test("a known length becomes a Content-Length", () => {
    const fake = driver().receive(forwardPacket());
    fake.seen[0]!.exchange.sendHead({ status: 200, reason: "OK", headers: [], contentLength: 5 });
    expect(sent(fake)).toMatchObject([{ headers: [["content-length", "5"]] }]);
  });

  for (const packetSize of [8192, 16000, 65536]) {
    test(`a body is split so that packets have at most ${packetSize} bytes`, () => {
      const most = packetSize - 8;
      const body = Uint8Array.from({ length: 3 * most + 1 }, (_, i) => i % 251);
      for (const length of [1, most - 1, most, most + 1, 2 * most, 3 * most + 1]) {
        const fake = driver({ packetSize }).receive(forwardPacket());
        fake.seen[0]!.exchange.sendHead(responseHead());
        types(fake);
        fake.seen[0]!.exchange.sendBody(body.subarray(0, length));
        const chunks = sent(fake).map((packet) => packet.type === "SendBodyChunk" ? packet.data : new Uint8Array(0));
        expect(sha(concat(chunks))).toBe(sha(body.subarray(0, length)));
        const full = Math.ceil(length / most) - 1;
        expect(chunks.map((chunk) => chunk.length)).toEqual([...Array(full).fill(most), length - full * most]);
      }
    });
  }

  test("never two flush packets in a row", () => {
    const fake = driver().receive(forwardPacket());
    const { exchange } = fake.seen[0]!;
    exchange.flush();
    exchange.sendHead(responseHead());
    exchange.flush();
    exchange.flush();
    exchange.sendBody(utf8("x"));
    exchange.flush();
    exchange.flush();
    exchange.end();
    exchange.flush();
    expect(types(fake)).toEqual(["SendHeaders(200)", "Flush", "SendBodyChunk(1)", "Flush", "EndResponse(1)"]);
  });

  test("a question may stand between its packets", () => {
    const fake = driver().receive(post("chunked"));
    const { exchange } = fake.seen[0]!;
    exchange.sendHead(responseHead());
    exchange.pullBody();
    exchange.sendBody(utf8("x"));
    fake.receive(dataPacket("in"));
    exchange.end();
    expect(types(fake)).toEqual(["SendHeaders(200)", "GetBodyChunk(8186)", "SendBodyChunk(1)", "EndResponse(1)"]);
  });

  test("a head too long for a packet throws and sends nothing, and another may follow", () => {
    const fake = driver().receive(forwardPacket());
    const { exchange } = fake.seen[0]!;
    const head = responseHead();
    expect(() => exchange.sendHead({ ...head, headers: [["x-long", "x".repeat(8192)]] })).toThrow(
      expect.objectContaining({ code: "ERR_AJP_HEADERS_TOO_LONG", initiator: "handler", statusHint: 500 }),
    );
    expect(types(fake)).toEqual([]);
    exchange.sendHead(responseHead(500));
    exchange.end();
    expect(types(fake)).toEqual(["SendHeaders(500)", "EndResponse(1)"]);
  });

  test("a head that just fits is sent", () => {
    // Packet header, type, status, reason, count, two lengths and terminators.
    const room = 8192 - 4 - 1 - 2 - 9 - 2 - (3 + 1) - 3;
    const send = (length: number) => {
      const fake = driver().receive(forwardPacket());
      fake.seen[0]!.exchange.sendHead({
        ...responseHead(),
        headers: [["x", "v".repeat(length)]],
      });
      return fake.sent.length;
    };
    expect(send(room)).toBe(8192);
    expect(() => send(room + 1)).toThrow("raise packetSize");
  });
});

/** What a refused packet must lead to: one answer, without reuse, and nothing given to the handler. */
function expectRefused(fake: FakeDriver, status: number, code?: string): void {
  expect(fake.seen).toHaveLength(0);
  const packets = sent(fake);
  expect(packets.map(({ type }) => type)).toEqual(["SendHeaders", "SendBodyChunk", "EndResponse"]);
  expect(packets[0]).toMatchObject({ status });
  expect(packets[2]).toMatchObject({ reuse: false });
  expect(fake.machine.closing).toBe("linger");
  // Told once: either thrown or by onRejected.
  expect([...fake.thrown, ...fake.rejected]).toMatchObject([{ statusHint: status, ...(code ? { code } : {}) }]);
  // Whatever comes after it is not looked at.
  fake.receive(forwardPacket(), hex("1234 0001 0a"));
  expect(sent(fake)).toEqual([]);
  expect(fake.seen).toHaveLength(0);
}

function request(...headers: [string, string][]): Uint8Array {
  return forwardPacket({ method: "POST", headers });
}

/** The packet of a request, its payload changed by hand. */
function changed(change: (payload: number[]) => void): Uint8Array {
  const payload = [...forwardPacket().slice(4)];
  change(payload);
  return ajpPacket(Uint8Array.from(payload));
}

describe("AjpServer, answered by status and End Response without reuse", () => {
  const CASES: [what: string, packet: Uint8Array, status: number, code?: string][] = [
    ["two equal Content-Lengths", request(["content-length", "3"], ["content-length", "3"]), 400],
    ["two Content-Lengths, one spelled out", request(["content-length", "3"], ["Content-LENGTH", "4"]), 400],
    ["a Content-Length with a sign", request(["content-length", "+3"]), 400],
    ["a negative Content-Length", request(["content-length", "-3"]), 400],
    ["a Content-Length that is a list", request(["content-length", "3, 3"]), 400],
    ["a hexadecimal Content-Length", request(["content-length", "0x3"]), 400],
    ["an empty Content-Length", request(["content-length", ""]), 400],
    ["a Content-Length over 2^53", request(["content-length", "9007199254740993"]), 400],
    ["Content-Length and Transfer-Encoding", request(["content-length", "3"], ["transfer-encoding", "chunked"]), 400],
    ["Transfer-Encoding and Content-Length 0", request(["transfer-encoding", "chunked"], ["content-length", "0"]), 400],
    ["Transfer-Encoding gzip, chunked", request(["transfer-encoding", "gzip, chunked"]), 400],
    ["Transfer-Encoding identity", request(["transfer-encoding", "identity"]), 400],
    ["two Transfer-Encodings", request(["transfer-encoding", "chunked"], ["transfer-encoding", "chunked"]), 400],
    ["a Transfer-Encoding with VT", request(["transfer-encoding", "\x0bchunked"]), 400],
    ["an unwell Host", request(["host", "a/b"]), 400],
    ["a Host with a user", request(["host", "user@example.com"]), 400],
    ["two Hosts", request(["host", "a"], ["host", "a"]), 400],
    ["a header name with a blank", request(["x y", "z"]), 400],
    ["an empty header name", request(["", "z"]), 400],
    ["a header value with CR LF", request(["x", "a\r\nb: c"]), 400],
    ["a header value with NUL", request(["x", "a\0b"]), 400],
    ["an empty URI", forwardPacket({ uri: "" }), 400],
    ["no URI", forwardPacket({ uri: null }), 400],
    ["a URI without a slash", forwardPacket({ uri: "a" }), 400],
    ["a URI with NUL", forwardPacket({ uri: "/a\0b" }), 400],
    ["* with GET", forwardPacket({ uri: "*" }), 400],
    ["an absolute URI with a user", forwardPacket({ uri: "http://u:p@h/" }), 400],
    ["a stored method that is no token", forwardPacket({ method: "FO O" }), 400],
    ["method code 0", changed((payload) => payload[1] = 0), 400, "ERR_AJP_MALFORMED"],
    ["method code 28", changed((payload) => payload[1] = 28), 400, "ERR_AJP_MALFORMED"],
    ["method code 254", changed((payload) => payload[1] = 254), 400, "ERR_AJP_MALFORMED"],
    ["method code 255 without a stored method", changed((payload) => payload[1] = 255), 400, "ERR_AJP_MALFORMED"],
    ["a request without its end", changed((payload) => payload.pop()), 400, "ERR_AJP_MALFORMED"],
    ["a request cut off", changed((payload) => payload.splice(20)), 400, "ERR_AJP_MALFORMED"],
    ["a request of its type alone", ajpPacket(hex("02")), 400, "ERR_AJP_MALFORMED"],
    ["a string over the end", changed((payload) => payload[3] = 0xff), 400, "ERR_AJP_MALFORMED"],
    ["an unknown attribute", changed((payload) => payload[payload.length - 1] = 0x0e), 400, "ERR_AJP_MALFORMED"],
    [
      "an unknown header code",
      changed((payload) => payload.splice(-3, 3, 0, 1, 0xa0, 0x0f, 0, 1, 120, 0, 0xff)),
      400,
      "ERR_AJP_MALFORMED",
    ],
    [
      "header code A000",
      changed((payload) => payload.splice(-3, 3, 0, 1, 0xa0, 0, 0, 1, 120, 0, 0xff)),
      400,
      "ERR_AJP_MALFORMED",
    ],
    ["a packet over packetSize", hex("1234 1ffd 02"), 400, "ERR_AJP_PACKET_TOO_LONG"],
    ["more headers than 100", request(...many(101)), 431, "ERR_HEADERS_TOO_LARGE"],
    ["a header count that lies", changed((payload) => payload.splice(-3, 3, 0xff, 0xff, 0xff)), 431],
    ["a body over maxBodyBytes", request(["content-length", "1073741825"]), 413, "ERR_BODY_TOO_LARGE"],
  ];
  for (const [what, packet, status, code] of CASES) {
    test(`${status}: ${what}`, () => expectRefused(driver().receive(packet), status, code));
  }

  test("431: more bytes of headers than maxHeaderBytes", () => {
    expectRefused(driver({ maxHeaderBytes: 10 }).receive(request(["x", "1234567890"])), 431, "ERR_HEADERS_TOO_LARGE");
  });

  test("the limits themselves are allowed", () => {
    const fake = driver({ maxHeaderBytes: 1000, maxBodyBytes: 5 });
    fake.receive(request(...many(99), ["content-length", "5"]));
    expect(fake.seen).toHaveLength(1);
  });

  test("a packet of packetSize is taken", () => {
    const rest = 8192 - forwardPacket({ headers: [["x", ""]] }).length;
    const packet = forwardPacket({ headers: [["x", "v".repeat(rest)]] });
    expect(packet).toHaveLength(8192);
    expect(driver().receive(packet).seen).toHaveLength(1);
  });

  test("a refused request ends the connection although it had been in order", () => {
    const fake = echo("ajp").receive(post(0), forwardPacket({ uri: "" }), forwardPacket());
    expect(types(fake)).toEqual([
      "SendHeaders(200)",
      "EndResponse(1)",
      "SendHeaders(400)",
      "SendBodyChunk(16)",
      "EndResponse(0)",
    ]);
    expect(fake.seen).toHaveLength(1);
  });

  test("403: an attribute that is not allowed, where such are refused", () => {
    const packet = forwardPacket({ requestAttributes: [["javax.servlet.include.path_info", "/WEB-INF/web.xml"]] });
    expectRefused(driver({ unknownAttributes: "reject" }).receive(packet), 403, "ERR_AJP_ATTRIBUTE");
    expect(driver().receive(packet).seen).toHaveLength(1);
  });
});

describe("AjpServer, allowedAttributes", () => {
  test("that throws is a 500 without reuse", () => {
    const fake = driver({
      allowedAttributes: () => {
        throw new Error("oops");
      },
    });
    fake.receive(forwardPacket({ requestAttributes: [["a", "b"]] }));
    expectRefused(fake, 500, "ERR_AJP_ATTRIBUTE");
    expect(fake.thrown).toMatchObject([{ initiator: "local", cause: { message: "oops" } }]);
  });
});

describe("AjpServer, the secret", () => {
  const options: AjpOptions = { secret: "s3cret" };
  const accepted = (...secrets: string[]) => driver(options).receive(forwardPacket({ secrets }));

  for (
    const [what, secrets] of [
      ["missing", []],
      ["wrong", ["S3cret"]],
      ["empty", [""]],
      ["a prefix of the right one", ["s3cre"]],
      ["longer than the right one", ["s3crets"]],
      ["the right one twice over", ["s3crets3cret"]],
      ["one of two wrong, the first", ["wrong", "s3cret"]],
      ["one of two wrong, the second", ["s3cret", "wrong"]],
      ["NUL", ["\0"]],
    ] as [string, string[]][]
  ) {
    test(`${what} is refused`, () => expectRefused(accepted(...secrets), 403, "ERR_AJP_SECRET"));
  }

  test("null is refused", () => {
    expectRefused(
      driver(options).receive(changed((payload) => payload.splice(-1, 1, 0x0c, 0xff, 0xff, 0xff))),
      403,
      "ERR_AJP_SECRET",
    );
  });

  test("right is accepted, also twice", () => {
    expect(accepted("s3cret").seen).toHaveLength(1);
    expect(accepted("s3cret", "s3cret").seen).toHaveLength(1);
  });

  test("right is accepted anywhere among the attributes", () => {
    const secret = [0x0c, 0, 6, ...utf8("s3cret"), 0];
    const query = [0x05, 0, 3, ...utf8("a=1"), 0];
    for (const attributes of [[...secret, ...query], [...query, ...secret], [...query, ...secret, ...query]]) {
      const fake = driver(options).receive(changed((payload) => payload.splice(-1, 1, ...attributes, 0xff)));
      expect(fake.seen[0]!.exchange.head.target).toBe("/?a=1");
    }
  });

  test("wrong comes before every other answer of the head", () => {
    for (const more of [{ uri: "" }, { headers: [["host", "a/b"]] as [string, string][] }, { method: "FO O" }]) {
      expectRefused(driver(options).receive(forwardPacket(more)), 403, "ERR_AJP_SECRET");
    }
  });

  test("beyond ASCII is compared by its UTF-8 bytes", () => {
    const fake = driver({ secret: "schlüssel" });
    fake.receive(
      forwardPacket({ secrets: [Array.from(utf8("schlüssel"), (byte) => String.fromCharCode(byte)).join("")] }),
    );
    expect(fake.seen).toHaveLength(1);
    expectRefused(driver({ secret: "schlüssel" }).receive(forwardPacket({ secrets: ["schlüssel"] })), 403);
  });

  test("not configured, any is ignored", () => {
    expect(driver({ secret: "" }).receive(forwardPacket({ secrets: ["whatever"] })).seen).toHaveLength(1);
  });

  test("is in nothing that the handler sees", () => {
    const fake = accepted("s3cret");
    const { head } = fake.seen[0]!.exchange;
    expect(JSON.stringify([head, ...head.meta.params])).not.toContain("s3cret");
  });
});

function many(count: number): [string, string][] {
  return Array.from({ length: count }, (_, i) => [`x-${i}`, "v"]);
}
