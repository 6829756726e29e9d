import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { PROTOCOLS } from "../../../src/protocols.ts";
import { checkAccess } from "../../../src/server/access.ts";
import { forwardPacket } from "../../support/ajp.ts";
import { fastCgiRequest } from "../../support/fastcgi.ts";
import { echo, FakeDriver } from "../../support/fake_driver.ts";
import { everyByte, hex, latin1, utf8 } from "../../support/hex.ts";
import { scgiRequest, variables } from "../../support/scgi_client.ts";

const AJP = forwardPacket({ uri: "/hi" });
const POST = { REQUEST_METHOD: "POST", REQUEST_URI: "/hi" };
const BODY = utf8("some body");

const CONVERSATIONS: ["ajp" | "fastcgi" | "scgi", Uint8Array][] = [
  ["ajp", concat([AJP, AJP])],
  ["fastcgi", fastCgiRequest(1, { ...variables(POST), CONTENT_LENGTH: "9" }, BODY)],
  ["scgi", scgiRequest(POST, BODY)],
];

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

describe.each(CONVERSATIONS)("what begins as %s", (protocol, bytes) => {
  test("is told and answered as on a port of its own, whole and byte by byte", () => {
    const own = echo(protocol).receive(bytes);
    expect(own.thrown).toEqual([]);
    expect(own.seen.length).toBeGreaterThan(0);
    const whole = echo("any").receive(bytes);
    expect(whole.story).toEqual(own.story);
    expect(whole.machine.protocol).toBe(protocol);
    expect(echo("any").receive(...everyByte(bytes)).story).toEqual(own.story);
    expect(echo("any").receive(new Uint8Array(0), bytes).story).toEqual(own.story);
  });

  test("passes on what the machine wants and waits for", () => {
    const own = new FakeDriver(protocol);
    const any = new FakeDriver("any");
    for (const byte of everyByte(bytes)) {
      own.receive(byte);
      any.receive(byte);
      for (const key of ["wantsInput", "closing", "waiting", "progress", "active"] as const) {
        expect([key, any.machine[key]]).toEqual([key, own.machine[key]]);
      }
    }
    expect(any.machine.active).toBe(1);
    expect(any.machine.receiveFin()).toBe(own.machine.receiveFin());
    const gone = new ProtocolError("ERR_ABORTED", "It is gone");
    any.machine.receiveEnd(gone);
    expect(any.seen[0]!.aborts).toHaveLength(1);
    expect(any.machine).toMatchObject({ active: 0, closing: "destroy" });
  });

  test("passes on a time limit and a drain", () => {
    const late = new FakeDriver("any").receive(bytes.subarray(0, 12));
    expect(late.machine.waiting).toBe("head");
    expect(late.machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT" });
    expect(late.machine.closing).not.toBe("open");
    const drained = echo("any").receive(bytes);
    drained.machine.drain();
    expect(drained.machine.closing).not.toBe("open");
  });
});

describe("what begins as HTTP", () => {
  test.each(["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "P", "A", "Z", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])(
    "is told what this port is: %j",
    (text) => {
      const driver = new FakeDriver("any").receive(latin1(text));
      expect(codes(driver.thrown)).toEqual(["ERR_UNKNOWN_PROTOCOL"]);
      expect((driver.thrown[0] as ProtocolError).statusHint).toBe(400);
      const [head, body] = new TextDecoder().decode(driver.sent).split("\r\n\r\n");
      expect(head!.split("\r\n")).toEqual([
        "HTTP/1.1 400 Bad Request",
        "Content-Type: text/plain;charset=UTF-8",
        `Content-Length: ${body!.length}`,
        "Connection: close",
      ]);
      expect(body).toMatch(/does not speak HTTP/);
      expect(body).toContain('ProxyPass "/" "fcgi://HOST:PORT/"');
      expect(body).toContain('ProxyPass "/" "scgi://HOST:PORT/"');
      expect(body).toContain('ProxyPass "/" "ajp://HOST:PORT/"');
      expect(body).toContain("fastcgi_pass HOST:PORT;");
      expect(body).toContain("scgi_pass HOST:PORT;");
      expect(driver.machine).toMatchObject({ closing: "linger", waiting: "nothing", active: 0 });
      // What follows is read and dropped, and no end of it takes the answer back.
      const { length } = driver.sent;
      driver.receive(latin1("GET / HTTP/1.1\r\n\r\n"));
      expect(driver.sent).toHaveLength(length);
      expect(driver.thrown).toHaveLength(1);
      expect(driver.machine.receiveFin()).toBe(true);
      driver.machine.receiveEnd(new ProtocolError("ERR_ABORTED", "It is gone"));
      expect(driver.machine.closing).toBe("linger");
    },
  );
});

describe("what begins as nothing that is spoken here is closed", () => {
  test.each([
    ["00", "00"],
    ["02 01", "02"],
    ["12 35", "12 35"],
    ["12 00", "12 00"],
    ["30 3a", "30"],
    ["3a", "3a"],
    ["16 03 01", "16"],
    ["0d 0a 0d 0a 00", "0d"],
    ["61", "61"],
    ["40", "40"],
    ["5b", "5b"],
    ["20 47", "20"],
    ["ff", "ff"],
  ])("%s", (digits, shown) => {
    for (const pieces of [[hex(digits)], everyByte(hex(digits))]) {
      const driver = new FakeDriver("any").receive(...pieces);
      expect(codes(driver.thrown)).toEqual(["ERR_UNKNOWN_PROTOCOL"]);
      expect((driver.thrown[0] as Error).message).toBe(`Cannot tell the protocol of what begins with ${shown}`);
      expect(driver.sent).toHaveLength(0);
      expect(driver.machine.closing).toBe("destroy");
    }
  });

  test("every first byte is taken, refused or not enough", () => {
    const outcomes = new Map<string, number>();
    for (let byte = 0; byte < 256; byte++) {
      const { machine, thrown } = new FakeDriver("any").receive(Uint8Array.of(byte));
      const outcome = thrown.length > 0 ? machine.closing : `${machine.closing} ${machine.waiting}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect(Object.fromEntries(outcomes)).toEqual({ "open head": 11, "linger": 26, "destroy": 219 });
  });
});

describe("before the protocol is known", () => {
  function undecided(): FakeDriver["machine"][] {
    return [new FakeDriver("any").machine, new FakeDriver("any").receive(hex("12")).machine];
  }

  test("the time limit of a head runs, and closes", () => {
    for (const machine of undecided()) {
      expect(machine).toMatchObject({ waiting: "head", wantsInput: true, active: 0, progress: 0 });
      expect(machine.timeout()).toMatchObject({ code: "ERR_TIMEOUT", statusHint: 0 });
      expect(machine).toMatchObject({ closing: "destroy", waiting: "nothing" });
    }
  });

  test("a drain closes", () => {
    for (const machine of undecided()) {
      machine.drain();
      expect(machine.closing).toBe("end");
    }
  });

  test("FIN and the end of the connection close", () => {
    for (const machine of undecided()) {
      expect(machine.receiveFin()).toBe(false);
      machine.receiveEnd(new ProtocolError("ERR_ABORTED", "It is gone"));
      expect(machine.closing).toBe("destroy");
      machine.receive(hex("34"));
      expect(machine.closing).toBe("destroy");
    }
  });
});

test("a port for all beyond loopback is not made safe by the secret of AJP", () => {
  for (const more of [{}, { secret: "s" }]) {
    expect(() => checkAccess(PROTOCOLS.any, { hostname: "0.0.0.0", ...more })).toThrow(
      /^Cannot listen on 0\.0\.0\.0 for AJP, FastCGI or SCGI, as /,
    );
  }
  expect(() => checkAccess(PROTOCOLS.any, { hostname: "0.0.0.0", allowInsecure: true })).not.toThrow();
  expect(() => checkAccess(PROTOCOLS.any, { hostname: "127.0.0.1" })).not.toThrow();
});
