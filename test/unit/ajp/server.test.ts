// The machine without I/O: the states of a connection, and whose bytes are whose.
import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import { ajpPacket, forwardPacket } from "../../support/ajp.ts";
import { CPING, dataPacket } from "../../support/ajp_client.ts";
import { driver, post, sent, types } from "../../support/ajp_driver.ts";
import { answer, echo, responseHead } from "../../support/fake_driver.ts";
import { everyByte, hex, latin1, utf8 } from "../../support/hex.ts";

const CPONG = { type: "CPong" };
const NOTHING = new Uint8Array(0);
const gone = new ProtocolError("ERR_ABORTED", "gone");

describe("AjpServer, idle", () => {
  test("CPing is answered with CPong", () => {
    const fake = driver().receive(CPING);
    expect(sent(fake)).toEqual([CPONG]);
    expect(fake.machine).toMatchObject({ closing: "open", waiting: "request", active: 0 });
  });

  test("CPing needs no secret", () => {
    expect(sent(driver({ secret: "s" }).receive(CPING))).toEqual([CPONG]);
  });

  test("several CPings in one piece are all answered", () => {
    expect(sent(driver().receive(Uint8Array.of(...CPING, ...CPING, ...CPING)))).toEqual([CPONG, CPONG, CPONG]);
  });

  test("a request is given to the driver", () => {
    const fake = driver().receive(forwardPacket({ uri: "/a" }));
    expect(fake.seen).toHaveLength(1);
    expect(fake.seen[0]!.exchange.head.target).toBe("/a");
    expect(fake.machine).toMatchObject({ closing: "open", waiting: "nothing", active: 1 });
    expect(sent(fake)).toEqual([]);
  });

  test("a request that comes byte by byte is the same", () => {
    const bytes = Uint8Array.of(...post(5), ...dataPacket("hello"), ...CPING);
    expect(echo("ajp").receive(...everyByte(bytes)).story).toEqual(echo("ajp").receive(bytes).story);
  });

  test("nothing is read of a packet before all of it is there", () => {
    const bytes = forwardPacket();
    const fake = driver().receive(bytes.slice(0, -1));
    expect(fake.seen).toHaveLength(0);
    expect(fake.machine.waiting).toBe("head");
    expect(fake.receive(bytes.slice(-1)).seen).toHaveLength(1);
  });

  test("one stray empty packet is tolerated, a second one not", () => {
    const fake = driver().receive(hex("1234 0000"));
    expect(fake.machine.closing).toBe("open");
    fake.receive(hex("1234 0000"));
    expect(fake.machine.closing).toBe("destroy");
    expect(fake.thrown).toMatchObject([{ code: "ERR_AJP_UNEXPECTED_PACKET", statusHint: 0 }]);
    expect(sent(fake)).toEqual([]);
  });

  test("a stray empty packet after each request is tolerated", () => {
    const fake = echo("ajp");
    for (let i = 0; i < 5; i++) fake.receive(post(2), dataPacket("hi"), hex("1234 0000"));
    expect(fake.machine.closing).toBe("open");
    expect(fake.seen).toHaveLength(5);
  });

  test("the peer's end closes without an answer", () => {
    const fake = driver();
    fake.machine.receiveEnd(gone);
    expect(fake.machine.closing).toBe("destroy");
    expect(sent(fake)).toEqual([]);
  });

  for (
    const [what, packet] of [
      ["Shutdown", "1234 0001 07"],
      ["Ping", "1234 0001 08"],
      ["CPong", "1234 0001 09"],
      ["type 0", "1234 0001 00"],
      ["type 255", "1234 0001 ff"],
      ["a data packet", "1234 0007 0005 68656c6c6f"],
      ["an empty data packet of two bytes", "1234 0002 0000"],
    ] as const
  ) {
    test(`${what} is not obeyed but ends the connection`, () => {
      const fake = driver().receive(hex(packet));
      expect(fake.machine.closing).toBe("destroy");
      expect(fake.thrown).toMatchObject([{ code: "ERR_AJP_UNEXPECTED_PACKET", statusHint: 0 }]);
      expect(sent(fake)).toEqual([]);
      expect(fake.seen).toHaveLength(0);
    });
  }

  for (
    const [what, packet] of [
      ["zeros", "0000 0001 0a"],
      ["its own magic", "4142 0001 0a"],
      ["AJP14", "1235 0001 0a"],
      ["HTTP", "4745 5420 2f20 4854 5450"],
      ["TLS", "1603 0102 0001 0001"],
    ] as const
  ) {
    test(`${what} for a magic ends the connection`, () => {
      const fake = driver().receive(hex(packet), CPING, forwardPacket());
      expect(fake.machine.closing).toBe("destroy");
      expect(fake.thrown).toMatchObject([{ code: "ERR_AJP_MAGIC", statusHint: 0 }]);
      expect(sent(fake)).toEqual([]);
      expect(fake.seen).toHaveLength(0);
    });
  }

  test("garbage after a response does not lose the response", () => {
    const fake = echo("ajp").receive(Uint8Array.of(...post(0), ...latin1("garbage!")));
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
    expect(fake.machine.closing).toBe("linger");
  });
});

describe("AjpServer, while a request runs", () => {
  test("a CPing waits for the end of the response", () => {
    const fake = driver().receive(forwardPacket(), CPING);
    expect(sent(fake)).toEqual([]);
    fake.seen[0]!.exchange.sendHead(responseHead());
    expect(types(fake)).toEqual(["SendHeaders(200)"]);
    fake.seen[0]!.exchange.end();
    expect(types(fake)).toEqual(["EndResponse(1)", "CPong"]);
  });

  test("a further request waits for the end of the response", () => {
    const fake = driver().receive(Uint8Array.of(...forwardPacket(), ...forwardPacket({ uri: "/next" })));
    expect(fake.seen).toHaveLength(1);
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(fake.seen).toHaveLength(2);
    expect(fake.seen[1]!.exchange.head.target).toBe("/next");
    answer(fake.seen[1]!.exchange, NOTHING);
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)", "SendHeaders(200)", "EndResponse(1)"]);
  });

  test("many further requests answered at once do not go deep", () => {
    const fake = echo("ajp");
    const requests = Array.from({ length: 20_000 }, () => forwardPacket());
    const all = new Uint8Array(requests.length * requests[0]!.length);
    requests.forEach((request, i) => all.set(request, i * request.length));
    expect(fake.receive(all).seen).toHaveLength(20_000);
  });

  test("part of a further request waits, with a time limit only after the end", () => {
    const next = forwardPacket();
    const fake = driver().receive(forwardPacket(), next.slice(0, 10));
    expect(fake.machine.waiting).toBe("nothing");
    const { progress } = fake.machine;
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(fake.machine.waiting).toBe("head");
    expect(fake.machine.progress).not.toBe(progress);
    expect(fake.receive(next.slice(10)).seen).toHaveLength(2);
  });

  test("a broken further request is answered after the response, once", () => {
    const fake = driver().receive(forwardPacket(), forwardPacket({ uri: "no-slash" }));
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(types(fake)).toEqual([
      "SendHeaders(200)",
      "EndResponse(1)",
      "SendHeaders(400)",
      "SendBodyChunk(16)",
      "EndResponse(0)",
    ]);
    expect(fake.machine.closing).toBe("linger");
    // Thrown to nobody, as no receive() was under way.
    expect(fake.rejected).toMatchObject([{ statusHint: 400 }]);
    expect(fake.thrown).toEqual([]);
  });

  test("garbage waits too, and then ends the connection after the response", () => {
    const fake = driver().receive(forwardPacket(), latin1("garbage!"));
    expect(fake.machine.closing).toBe("open");
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(1)"]);
    expect(fake.machine.closing).toBe("linger");
    expect(fake.rejected).toMatchObject([{ code: "ERR_AJP_MAGIC" }]);
  });

  test("early bytes are taken up to a packet", () => {
    const fake = driver().receive(forwardPacket());
    expect(fake.machine.wantsInput).toBe(true);
    fake.receive(new Uint8Array(8192));
    expect(fake.machine.wantsInput).toBe(true);
    fake.receive(new Uint8Array(1));
    expect(fake.machine.wantsInput).toBe(false);
  });

  test("what came before the question is no answer to it", () => {
    // Otherwise the answer would be left over, and be read as a message: of an attacker's making, if it is his body.
    const fake = driver().receive(post("chunked"), dataPacket("unasked"));
    const [seen] = fake.seen;
    seen!.exchange.pullBody();
    expect(seen).toMatchObject({ body: [], ends: 0, finishes: 0 });
    expect(seen!.aborts).toMatchObject([{ code: "ERR_AJP_UNEXPECTED_PACKET", statusHint: 400 }]);
    expect(sent(fake)).toEqual([]);
    expect(fake.machine.closing).toBe("destroy");
    expect(fake.rejected).toHaveLength(1);
  });

  test("the peer's end aborts the request once", () => {
    const fake = driver().receive(post(5));
    fake.machine.receiveEnd(gone);
    fake.machine.receiveEnd(gone);
    expect(fake.seen).toMatchObject([{ aborts: [gone], ends: 0, finishes: 0 }]);
    expect(fake.machine).toMatchObject({ closing: "destroy", active: 0 });
  });

  test("commands after the end are ignored", () => {
    const fake = driver().receive(post("chunked"));
    const { exchange } = fake.seen[0]!;
    exchange.sendHead(responseHead());
    exchange.end();
    types(fake);
    exchange.pullBody();
    exchange.discardBody();
    exchange.sendHead(responseHead());
    exchange.sendBody(utf8("late"));
    exchange.flush();
    exchange.end();
    exchange.fail();
    expect(sent(fake)).toEqual([]);
    expect(fake.machine.closing).toBe("open");
    expect(fake.seen[0]!.finishes).toBe(1);
  });

  test("commands of an ended exchange do not touch the next one", () => {
    const fake = driver().receive(post("chunked"));
    const { exchange } = fake.seen[0]!;
    answer(exchange, NOTHING);
    fake.receive(post("chunked"));
    types(fake);
    exchange.pullBody();
    exchange.sendBody(utf8("of the first"));
    exchange.fail();
    expect(sent(fake)).toEqual([]);
    expect(fake.machine).toMatchObject({ closing: "open", active: 1, waiting: "nothing" });
  });

  test("a failure after the head sends no End Response", () => {
    const fake = driver().receive(forwardPacket());
    fake.seen[0]!.exchange.sendHead(responseHead());
    fake.seen[0]!.exchange.fail();
    expect(types(fake)).toEqual(["SendHeaders(200)"]);
    expect(fake.machine).toMatchObject({ closing: "destroy", active: 0 });
  });
});

describe("AjpServer, limits of a connection", () => {
  test("maxRequestsPerConnection ends it with the last", () => {
    const fake = echo("ajp", { maxRequestsPerConnection: 2 }).receive(forwardPacket(), CPING, forwardPacket(), CPING);
    expect(types(fake)).toEqual([
      "SendHeaders(200)",
      "EndResponse(1)",
      "CPong",
      "SendHeaders(200)",
      "EndResponse(0)",
    ]);
    expect(fake.machine.closing).toBe("end");
  });

  test("drain closes an idle connection", () => {
    const fake = driver();
    fake.machine.drain();
    expect(fake.machine.closing).toBe("end");
    expect(sent(fake)).toEqual([]);
  });

  test("drain lets a request finish, and takes no other", () => {
    const fake = driver().receive(forwardPacket(), forwardPacket());
    fake.machine.drain();
    expect(fake.machine.closing).toBe("open");
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(0)"]);
    expect(fake.machine.closing).toBe("linger");
    expect(fake.seen).toHaveLength(1);
  });

  test("drain lets a request finish whose head is on its way", () => {
    const bytes = forwardPacket();
    const fake = echo("ajp").receive(bytes.slice(0, 20));
    fake.machine.drain();
    expect(fake.machine.closing).toBe("open");
    fake.receive(bytes.slice(20));
    expect(types(fake)).toEqual(["SendHeaders(200)", "EndResponse(0)"]);
    expect(fake.machine.closing).toBe("end");
  });

  test("drain ends with a CPing that was on its way", () => {
    const fake = driver().receive(CPING.slice(0, 3));
    fake.machine.drain();
    fake.receive(CPING.slice(3));
    expect(types(fake)).toEqual(["CPong"]);
    expect(fake.machine.closing).toBe("end");
  });

  test("timeout of an idle connection closes it", () => {
    const fake = driver();
    expect(fake.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT" });
    expect(fake.machine.closing).toBe("end");
    expect(sent(fake)).toEqual([]);
  });

  test("timeout of a head drops the connection", () => {
    const fake = driver().receive(forwardPacket().slice(0, 9));
    expect(fake.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", statusHint: 0 });
    expect(fake.machine.closing).toBe("destroy");
    expect(sent(fake)).toEqual([]);
  });

  test("timeout of a body aborts the request with 408", () => {
    const fake = driver({}, { onAbort: ({ exchange }, error) => answer(exchange, NOTHING, error.statusHint) });
    fake.receive(post(5));
    expect(fake.machine.waiting).toBe("body");
    fake.machine.timeout();
    expect(fake.seen).toMatchObject([{ aborts: [{ code: "ERR_TIMEOUT", statusHint: 408 }], finishes: 1 }]);
    expect(types(fake)).toEqual(["SendHeaders(408)", "EndResponse(0)"]);
    expect(fake.machine.closing).toBe("linger");
  });

  test("timeout of a body after the head breaks the connection", () => {
    const fake = driver({}, { onAbort: ({ exchange }) => exchange.fail() });
    fake.receive(post(5));
    fake.seen[0]!.exchange.sendHead(responseHead());
    fake.machine.timeout();
    expect(types(fake)).toEqual(["SendHeaders(200)"]);
    expect(fake.machine.closing).toBe("destroy");
  });

  test("timeout of an owed packet that nobody wants ends the response without reuse", () => {
    const fake = driver().receive(post(5));
    answer(fake.seen[0]!.exchange, NOTHING);
    expect(types(fake)).toEqual(["SendHeaders(200)"]);
    expect(fake.machine.waiting).toBe("body");
    fake.machine.timeout();
    expect(types(fake)).toEqual(["EndResponse(0)"]);
    expect(fake.seen).toMatchObject([{ aborts: [], finishes: 1 }]);
    expect(fake.machine.closing).toBe("linger");
  });

  test("progress changes with each packet and each question, and with nothing less", () => {
    const fake = driver().receive(post("chunked"));
    let { progress } = fake.machine;
    fake.seen[0]!.exchange.pullBody();
    expect(fake.machine.progress).not.toBe(progress);
    progress = fake.machine.progress;
    const data = dataPacket("hello");
    fake.receive(...everyByte(data.slice(0, -1)));
    expect(fake.machine).toMatchObject({ progress, waiting: "body" });
    fake.receive(data.slice(-1));
    expect(fake.machine.progress).not.toBe(progress);
    expect(fake.machine.waiting).toBe("nothing");
  });

  test("after the end nothing is taken any more", () => {
    const fake = driver().receive(hex("1234 0001 07"), forwardPacket(), ajpPacket(NOTHING), CPING);
    expect(fake.seen).toHaveLength(0);
    expect(fake.thrown).toHaveLength(1);
    expect(fake.machine.waiting).toBe("nothing");
  });
});
