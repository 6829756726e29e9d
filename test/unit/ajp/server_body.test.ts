// The machine without I/O: the body of a request, which is pulled, and the packet that is owed.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ajpPacket, forwardPacket } from "../../support/ajp.ts";
import { dataPacket } from "../../support/ajp_client.ts";
import { driver, post, types } from "../../support/ajp_driver.ts";
import { answer, type FakeDriver, type Seen } from "../../support/fake_driver.ts";
import { everyByte, hex, latin1, utf8 } from "../../support/hex.ts";

const NOTHING = new Uint8Array(0);
const EMPTY_SPELLINGS = [
  ["of mod_proxy_ajp", "1234 0002 0000"],
  ["of mod_jk", "1234 0000"],
  ["of Tomcat's client", "1234 0006 0000 000000ff"],
] as const;

function text(seen: Seen | undefined): string {
  return new TextDecoder().decode(concat(seen!.body));
}

/** Bytes whose length of 514 makes the packet around them begin as a Forward Request of GET. */
function forgery(): Uint8Array {
  const request = forwardPacket({ uri: "/forged", attributes: { remoteUser: "admin" } }).slice(6);
  const body = new Uint8Array(514);
  body.set(request);
  return body;
}

describe("AjpServer, a body of known length", () => {
  test("its first packet is owed and comes unasked", () => {
    const fake = driver().receive(post(5));
    expect(fake.machine.waiting).toBe("body");
    fake.seen[0]!.exchange.pullBody();
    expect(types(fake)).toEqual([]);
    fake.receive(dataPacket("hello"));
    expect(text(fake.seen[0])).toBe("hello");
    expect(fake.seen[0]!.ends).toBe(1);
  });

  test("what comes before it is wanted waits for the pull", () => {
    const fake = driver().receive(post(5), dataPacket("hello"));
    expect(fake.seen[0]).toMatchObject({ body: [], ends: 0 });
    fake.seen[0]!.exchange.pullBody();
    expect(text(fake.seen[0])).toBe("hello");
    expect(fake.seen[0]!.ends).toBe(1);
    expect(types(fake)).toEqual([]);
  });

  test("more is asked for only when pulled, and never beyond the length", () => {
    const fake = driver().receive(post(10_000), dataPacket(new Uint8Array(1000)));
    const { exchange } = fake.seen[0]!;
    expect(types(fake)).toEqual([]);
    exchange.pullBody();
    expect(types(fake)).toEqual([]);
    exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(8186)"]);
    fake.receive(dataPacket(new Uint8Array(8186)));
    expect(types(fake)).toEqual([]);
    exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(814)"]);
    fake.receive(dataPacket(new Uint8Array(814)));
    expect(concat(fake.seen[0]!.body)).toHaveLength(10_000);
    expect(fake.seen[0]!.ends).toBe(1);
    exchange.pullBody();
    expect(types(fake)).toEqual([]);
  });

  test("a packet longer than asked for is taken within the length", () => {
    const fake = driver().receive(post(12), dataPacket("12345"));
    fake.seen[0]!.exchange.pullBody();
    fake.seen[0]!.exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(7)"]);
    fake.receive(dataPacket("6789abc"));
    expect(fake.seen[0]).toMatchObject({ ends: 1, aborts: [] });
  });

  test("a second pull while a packet is owed asks for nothing", () => {
    const fake = driver().receive(post(10), dataPacket("1"));
    const { exchange } = fake.seen[0]!;
    for (let i = 0; i < 5; i++) exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(9)"]);
  });

  test("pulling from within an event asks once for each piece", () => {
    const fake = driver({}, {
      onRequest: ({ exchange }) => exchange.pullBody(),
      onBody: ({ exchange }) => exchange.pullBody(),
      onBodyEnd: ({ exchange }) => answer(exchange, NOTHING),
    });
    fake.receive(post(3), dataPacket("a"), dataPacket("b"), dataPacket("c"));
    expect(types(fake)).toEqual([
      "GetBodyChunk(2)",
      "GetBodyChunk(1)",
      "SendHeaders(200)",
      "EndResponse(1)",
    ]);
  });

  test("packetSize is what it asks by", () => {
    const fake = driver({ packetSize: 65536 }).receive(post(100_000), dataPacket("x"));
    fake.seen[0]!.exchange.pullBody();
    fake.seen[0]!.exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(65530)"]);
  });

  test("the largest packet is taken", () => {
    const fake = driver({ packetSize: 65536 }).receive(post(65530), dataPacket(new Uint8Array(65530)));
    fake.seen[0]!.exchange.pullBody();
    expect(fake.seen[0]!.ends).toBe(1);
  });

  test("bytes after the data are ignored", () => {
    const fake = driver().receive(post(5), ajpPacket(concat([hex("0005"), utf8("hello"), hex("000000ff")])));
    fake.seen[0]!.exchange.pullBody();
    expect(text(fake.seen[0])).toBe("hello");
  });

  for (const [whose, spelling] of EMPTY_SPELLINGS) {
    test(`an empty packet ${whose} before the length is reached is a truncated body`, () => {
      const fake = driver({}, { onAbort: ({ exchange }, error) => answer(exchange, NOTHING, error.statusHint) });
      fake.receive(post(5), hex(spelling));
      expect(fake.seen).toMatchObject([{ ends: 0, aborts: [{ code: "ERR_BODY_TRUNCATED", statusHint: 400 }] }]);
      expect(types(fake)).toEqual(["SendHeaders(400)", "EndResponse(0)"]);
      expect(fake.machine.closing).toBe("linger");
    });
  }

  test("more bytes than the length are an error", () => {
    const fake = driver({}, { onAbort: ({ exchange }, error) => answer(exchange, NOTHING, error.statusHint) });
    fake.receive(post(5), dataPacket("hello!"));
    expect(fake.seen).toMatchObject([{ body: [], ends: 0, aborts: [{ code: "ERR_BODY_OVERRUN", statusHint: 400 }] }]);
    expect(types(fake)).toEqual(["SendHeaders(400)", "EndResponse(0)"]);
  });

  test("more bytes than the length over several packets are an error", () => {
    const fake = driver().receive(post(5), dataPacket("hel"));
    fake.seen[0]!.exchange.pullBody();
    fake.seen[0]!.exchange.pullBody();
    fake.receive(dataPacket("lo!"));
    expect(fake.seen[0]!.aborts).toMatchObject([{ code: "ERR_BODY_OVERRUN" }]);
    expect(fake.seen[0]!.ends).toBe(0);
  });

  for (const [what, packet] of [["of one byte", "1234 0001 05"], ["that lies", "1234 0004 0003 6161"]] as const) {
    test(`a data packet ${what} is an error`, () => {
      const fake = driver().receive(post(5), hex(packet));
      expect(fake.seen[0]!.aborts).toMatchObject([{ code: "ERR_AJP_MALFORMED", statusHint: 400 }]);
      expect(fake.machine.closing).toBe("destroy");
    });
  }

  test("a data packet with a wrong magic is an error without an answer", () => {
    const fake = driver().receive(post(5), latin1("hello"));
    expect(fake.seen[0]!.aborts).toMatchObject([{ code: "ERR_AJP_MAGIC", statusHint: 0 }]);
    expect(fake.machine.closing).toBe("destroy");
    expect(types(fake)).toEqual([]);
  });

  test("a length of 0 owes nothing and is never asked for", () => {
    const fake = driver().receive(post(0));
    expect(fake.machine.waiting).toBe("nothing");
    fake.seen[0]!.exchange.pullBody();
    expect(types(fake)).toEqual([]);
    expect(fake.seen[0]!.exchange.head.contentLength).toBe(0);
  });
});

describe("AjpServer, a body of unknown length", () => {
  for (const length of ["chunked", "unknown"] as const) {
    test(`${length}: nothing is owed and nothing asked for before the pull`, () => {
      const fake = driver().receive(post(length));
      expect(fake.seen[0]!.exchange.head.contentLength).toBe(-1);
      expect(fake.machine.waiting).toBe("nothing");
      expect(types(fake)).toEqual([]);
      fake.seen[0]!.exchange.pullBody();
      expect(types(fake)).toEqual(["GetBodyChunk(8186)"]);
      expect(fake.machine.waiting).toBe("body");
    });

    for (const [whose, spelling] of EMPTY_SPELLINGS) {
      test(`${length}: an empty packet ${whose} ends it, and nothing is asked after it`, () => {
        const fake = driver().receive(post(length));
        const { exchange } = fake.seen[0]!;
        exchange.pullBody();
        fake.receive(dataPacket("hello"));
        exchange.pullBody();
        fake.receive(hex(spelling));
        expect(text(fake.seen[0])).toBe("hello");
        expect(fake.seen[0]).toMatchObject({ ends: 1, aborts: [] });
        expect(types(fake)).toEqual(["GetBodyChunk(8186)", "GetBodyChunk(8186)"]);
        exchange.pullBody();
        answer(exchange, NOTHING);
        expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
      });
    }

    test(`${length}: maxBodyBytes is counted`, () => {
      const fake = driver({ maxBodyBytes: 8 }, {
        onAbort: ({ exchange }, error) => answer(exchange, NOTHING, error.statusHint),
      }).receive(post(length));
      fake.seen[0]!.exchange.pullBody();
      fake.receive(dataPacket("12345678"));
      fake.seen[0]!.exchange.pullBody();
      types(fake);
      fake.receive(dataPacket("9"));
      expect(fake.seen[0]!.aborts).toMatchObject([{ code: "ERR_BODY_TOO_LARGE", statusHint: 413 }]);
      expect(text(fake.seen[0])).toBe("12345678");
      expect(types(fake)).toEqual(["SendHeaders(413)", "EndResponse(0)"]);
      expect(fake.machine.closing).toBe("linger");
    });
  }

  test("packetSize is what it asks by", () => {
    const fake = driver({ packetSize: 65536 }).receive(post("chunked"));
    fake.seen[0]!.exchange.pullBody();
    expect(types(fake)).toEqual(["GetBodyChunk(65530)"]);
  });

  test("a packet after the end is no data", () => {
    const fake = driver().receive(post("chunked"));
    fake.seen[0]!.exchange.pullBody();
    fake.receive(hex("1234 0000"), dataPacket("more"));
    expect(fake.seen[0]).toMatchObject({ body: [], ends: 1 });
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(fake.machine.closing).toBe("linger");
    expect(fake.rejected).toMatchObject([{ code: "ERR_AJP_UNEXPECTED_PACKET" }]);
  });
});

describe("AjpServer, the owed packet", () => {
  for (
    const [when, run] of [
      ["while the handler runs", () => {}],
      ["while it reads", (seen: Seen) => seen.exchange.pullBody()],
      ["after it has discarded the body", (seen: Seen) => seen.exchange.discardBody()],
      ["after it has answered", (seen: Seen) => answer(seen.exchange, NOTHING)],
    ] as const
  ) {
    test(`is data ${when}, even if it looks like a Forward Request`, () => {
      const fake = driver().receive(post(514));
      run(fake.seen[0]!);
      fake.receive(dataPacket(forgery()));
      expect(fake.seen).toHaveLength(1);
      expect(fake.thrown).toEqual([]);
      expect(fake.machine.closing).toBe("open");
    });
  }

  test("the forgery would be a request if it were taken for one", () => {
    const fake = driver().receive(dataPacket(forgery()));
    expect(fake.seen).toHaveLength(1);
    expect(fake.seen[0]!.exchange.head.meta.remoteUser).toBe("admin");
  });

  test("is data even if the request was refused", () => {
    const fake = driver({ secret: "right" }).receive(post(514), dataPacket(forgery()));
    expect(fake.seen).toHaveLength(0);
    expect(types(fake)).toEqual(["SendHeaders(403)", "SendBodyChunk(14)", "EndResponse(0)"]);
  });

  test("is data whatever the method", () => {
    for (const method of ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "FOO"]) {
      const fake = driver().receive(post(514, method), dataPacket(forgery()));
      answer(fake.seen[0]!.exchange, NOTHING);
      expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
      expect(fake.seen).toHaveLength(1);
    }
  });

  test("is data if it looks like a CPing", () => {
    const fake = driver().receive(post(5), hex("1234 0001 0a"));
    expect(types(fake)).toEqual([]);
    expect(fake.seen[0]!.aborts).toMatchObject([{ code: "ERR_AJP_MALFORMED" }]);
  });

  test("holds back the end of the response, and nothing before it", () => {
    const fake = driver().receive(post(5));
    answer(fake.seen[0]!.exchange, utf8("early"));
    expect(types(fake)).toEqual(["SendHeaders(200)", "SendBodyChunk(5)"]);
    expect(fake.seen[0]!.finishes).toBe(0);
    expect(fake.machine).toMatchObject({ active: 1, waiting: "body", wantsInput: true });
    fake.receive(dataPacket("hello"));
    expect(types(fake)).toEqual(["EndResponse(1)"]);
    expect(fake.seen[0]).toMatchObject({ finishes: 1, body: [], ends: 0, aborts: [] });
    expect(fake.machine).toMatchObject({ active: 0, waiting: "request" });
  });

  test("may be a part of the body only: the rest is not asked for", () => {
    const fake = driver().receive(post(1_000_000));
    answer(fake.seen[0]!.exchange, NOTHING);
    fake.receive(dataPacket(new Uint8Array(8186)));
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
  });

  test("holds back the end after a question that was not answered yet", () => {
    const fake = driver().receive(post("chunked"));
    const { exchange } = fake.seen[0]!;
    exchange.pullBody();
    exchange.discardBody();
    answer(exchange, NOTHING);
    expect(types(fake)).toEqual(["GetBodyChunk(8186)", "SendHeaders(200)"]);
    fake.receive(...everyByte(dataPacket("hello")));
    expect(types(fake)).toEqual(["EndResponse(1)"]);
  });

  test("empty or too long after the response is dropped, and the connection not reused", () => {
    for (const packet of [hex("1234 0002 0000"), dataPacket("hello!")]) {
      const fake = driver().receive(post(5));
      answer(fake.seen[0]!.exchange, NOTHING);
      fake.receive(packet);
      expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(0)"]);
      expect(fake.machine.closing).toBe("linger");
    }
  });

  test("empty as the answer for an unknown length leaves the connection reusable", () => {
    const fake = driver().receive(post("chunked"));
    fake.seen[0]!.exchange.pullBody();
    answer(fake.seen[0]!.exchange, NOTHING);
    fake.receive(hex("1234 0000"), forwardPacket());
    expect(types(fake)).toEqual(["GetBodyChunk(8186)", "SendHeaders(200)", "EndResponse(1)"]);
    expect(fake.seen).toHaveLength(2);
  });

  test("is waited for no more when the response says that the connection ends", () => {
    const fake = driver().receive(post(5));
    fake.seen[0]!.exchange.sendHead({ status: 200, reason: "OK", headers: [], contentLength: 0 });
    fake.seen[0]!.exchange.end(false);
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(0)"]);
    expect(fake.machine.closing).toBe("linger");
  });

  test("the peer's end while it is owed aborts the request", () => {
    const fake: FakeDriver = driver().receive(post(5), dataPacket("hello").slice(0, 8));
    const error = Object.assign(new Error("gone"), { code: "ERR_ABORTED" });
    fake.machine.receiveEnd(error as never);
    expect(fake.seen[0]).toMatchObject({ body: [], ends: 0, aborts: [error] });
  });

  test("a discarded body asks for nothing any more", () => {
    const fake = driver().receive(post(10), dataPacket("12345"));
    const { exchange } = fake.seen[0]!;
    exchange.discardBody();
    exchange.pullBody();
    expect(types(fake)).toEqual([]);
    answer(exchange, NOTHING);
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
    expect(fake.seen[0]).toMatchObject({ body: [], ends: 0, aborts: [] });
  });
});
