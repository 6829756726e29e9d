// What stands before the body: the netstring, its limits and its content. What follows is in cgi/single_request.test.ts.
import { describe, expect, test } from "vitest";
import { concat } from "../../../src/bytes/std.ts";
import { ProtocolError } from "../../../src/errors.ts";
import type { AjpOptions } from "../../../src/types.ts";
import { echo, FakeDriver } from "../../support/fake_driver.ts";
import { everyByte, latin1, utf8 } from "../../support/hex.ts";
import { netstring, readCgiResponse, scgiHead, scgiRequest } from "../../support/scgi_client.ts";

const METHOD: [string, string] = ["REQUEST_METHOD", "GET"];

function open(options: AjpOptions = {}): FakeDriver {
  return new FakeDriver("scgi", options);
}

function codes(errors: unknown[]): string[] {
  return errors.map((error) => error instanceof ProtocolError ? error.code : `Not a ProtocolError: ${String(error)}`);
}

/** The same bytes whole, byte by byte and with bytes after them come to the same. */
function expectSameStory(bytes: Uint8Array, options: AjpOptions = {}): FakeDriver {
  const whole = echo("scgi", options).receive(bytes);
  expect(echo("scgi", options).receive(...everyByte(bytes)).story).toEqual(whole.story);
  return whole;
}

describe("a request", () => {
  const POST = { REQUEST_METHOD: "POST", REQUEST_URI: "/deepthought?x=1" };
  const QUESTION = "What is the answer to life?";

  test("is told whole, byte by byte and with trailing bytes", () => {
    const bytes = scgiRequest(POST, QUESTION);
    const driver = expectSameStory(bytes);
    expect(driver.seen).toHaveLength(1);
    expect(driver.seen[0]!.exchange.head).toMatchObject({
      role: "responder",
      method: "POST",
      scheme: "http",
      authority: "www.example.com",
      target: "/deepthought?x=1",
      contentLength: 27,
    });
    expect(readCgiResponse(driver.sent)).toMatchObject({ status: 200, text: QUESTION });
    expect(driver.thrown).toEqual([]);
    const trailing = echo("scgi").receive(concat([bytes, utf8("and 7:more,")]));
    expect(trailing.story).toEqual(driver.story);
    expect(trailing.receive(utf8("still more")).story).toEqual(driver.story);
  });

  test("begins with the comma, before its body", () => {
    const head = scgiHead(27, POST);
    const driver = open().receive(head.subarray(0, -1));
    expect(driver.seen).toEqual([]);
    expect(driver.machine).toMatchObject({ waiting: "head", active: 0, wantsInput: true });
    driver.receive(head.subarray(-1));
    expect(driver.seen).toHaveLength(1);
    expect(driver.machine).toMatchObject({ waiting: "nothing", active: 1, closing: "open" });
  });

  test("that is the least there can be", () => {
    const driver = expectSameStory(netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD));
    expect(driver.seen[0]!.exchange.head).toMatchObject({ target: "/", authority: "localhost", contentLength: 0 });
  });

  test.each([
    ["second, as mod_proxy_scgi has it", [["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD]],
    ["last, as lighttpd has it", [["CONTENT_LENGTH", "0"], METHOD, ["SCGI", "1"]]],
  ])("SCGI may stand %s", (_, headers) => {
    expect(open().receive(netstring(...headers as [string, string][])).seen).toHaveLength(1);
  });

  test("a header that nginx sends twice is none of the protocol's business", () => {
    const driver = open().receive(
      netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, ["HTTP_X", "1"], ["HTTP_X", "2"]),
    );
    expect(driver.seen).toHaveLength(1);
  });
});

describe("what is no netstring is closed without an answer", () => {
  const sound = latin1("24:CONTENT_LENGTH\x000\x00SCGI\x001\x00");
  test.each([
    ["no length", ":"],
    ["a length of 0", "0:,"],
    ["a leading zero", "024:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a sign", "+24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a negative length", "-24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a blank before the length", " 24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a blank after the length", "24 :CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a length in hexadecimal", "0x18:"],
    ["a length with letters", "2a:"],
    ["eight digits", "10000000:"],
    ["twenty digits", "11111111111111111111"],
    ["no digits at all", "\x00\x00\x00\x00"],
    ["HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["FastCGI", "\x01\x01\x00\x01\x00\x08\x00\x00"],
    ["AJP", "\x12\x34\x00\x01\x0a"],
    ["TLS", "\x16\x03\x01\x02\x00\x01"],
    ["no comma", `${latin1Text(sound)}X`],
    ["a length that is one too small", "23:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"],
    ["a length that is one too large", "25:CONTENT_LENGTH\x000\x00SCGI\x001\x00,x"],
  ])("%s", (_, text) => {
    const driver = expectSameStory(latin1(text));
    expect(codes(driver.thrown)).toEqual(["ERR_SCGI_NETSTRING"]);
    expect(driver.sent).toHaveLength(0);
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("destroy");
  });

  test("it is seen at its first wrong byte", () => {
    for (const start of ["G", "0", "-", "7x", "12345678", "\x01"]) {
      expect(open().receive(latin1(start)).machine.closing).toBe("destroy");
    }
    for (const start of ["", "7", "1234567", "1234567:", "70:CONTENT"]) {
      expect(open({ maxParamsBytes: 9_999_999 }).receive(latin1(start)).machine.closing).toBe("open");
    }
  });
});

describe("what is no SCGI within a sound netstring is answered with 400", () => {
  test.each<[string, Uint8Array]>([
    ["no NUL at the end", latin1("23:CONTENT_LENGTH\x000\x00SCGI\x001,")],
    ["an odd number of strings", latin1("22:CONTENT_LENGTH\x000\x00SCGI\x00,")],
    ["an empty name", netstring(["CONTENT_LENGTH", "0"], ["", "x"], ["SCGI", "1"], METHOD)],
    ["CONTENT_LENGTH missing", netstring(["SCGI", "1"], METHOD)],
    ["CONTENT_LENGTH second", netstring(["SCGI", "1"], ["CONTENT_LENGTH", "0"], METHOD)],
    ["CONTENT_LENGTH in small letters", netstring(["content_length", "0"], ["SCGI", "1"], METHOD)],
    ["SCGI missing", netstring(["CONTENT_LENGTH", "0"], METHOD)],
    ["SCGI of another version", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "2"], METHOD)],
    ["SCGI empty", netstring(["CONTENT_LENGTH", "0"], ["SCGI", ""], METHOD)],
    ["SCGI twice", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, ["SCGI", "1"])],
    ["CONTENT_LENGTH twice", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, ["CONTENT_LENGTH", "0"])],
    ["two CONTENT_LENGTH", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, ["CONTENT_LENGTH", "5"])],
    [
      "a CONTENT_LENGTH that is less than the browser's own header",
      netstring(["CONTENT_LENGTH", "5"], ["SCGI", "1"], METHOD, ["HTTP_CONTENT_LENGTH", "20"]),
    ],
    ["a name twice", netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD, METHOD)],
    ...["", "-1", "+5", " 5", "5 ", "5,5", "0x5", "5.0", "1e3", "five", "99999999999999999"].map(
      (length): [string, Uint8Array] => [
        `CONTENT_LENGTH ${JSON.stringify(length)}`,
        netstring(["CONTENT_LENGTH", length], ["SCGI", "1"], METHOD),
      ],
    ),
  ])("%s", (_, bytes) => {
    const driver = expectSameStory(bytes);
    expect(codes(driver.thrown)).toEqual(["ERR_SCGI_HEADERS"]);
    expect(readCgiResponse(driver.sent)).toMatchObject({ status: 400, text: "400 Bad Request\n" });
    expect(driver.seen).toEqual([]);
    expect(driver.machine.closing).toBe("linger");
  });

  test("a request that HTTP does not allow is a 400 as well", () => {
    for (const more of [{ REQUEST_METHOD: "" }, { HTTP_HOST: "a@b" }, { HTTP_X: "a\nb" }, { REQUEST_URI: "x:1" }]) {
      const driver = expectSameStory(scgiRequest(more as Record<string, string>));
      expect(codes(driver.thrown)).toEqual(["ERR_BAD_REQUEST"]);
      expect(readCgiResponse(driver.sent).status).toBe(400);
    }
  });

  test("a name that is shown in the message is harmless", () => {
    const driver = open().receive(
      netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], ["X\x1b\n", "1"], ["X\x1b\n", "1"]),
    );
    expect((driver.thrown[0] as Error).message).toBe("Cannot take the SCGI headers: X?? stands there twice");
  });
});

describe("limits", () => {
  test("maxParamsBytes: 431 as soon as the length is known", () => {
    const bytes = scgiRequest({ HTTP_X: "x".repeat(1000) });
    const driver = expectSameStory(bytes, { maxParamsBytes: 1000 });
    expect(codes(driver.thrown)).toEqual(["ERR_HEADERS_TOO_LARGE"]);
    expect(readCgiResponse(driver.sent).status).toBe(431);
    expect(driver.machine.closing).toBe("linger");
    const early = open({ maxParamsBytes: 1000 }).receive(latin1("1001:"));
    expect(readCgiResponse(early.sent).status).toBe(431);
    expect(open({ maxParamsBytes: 1001 }).receive(latin1("1001:")).machine.closing).toBe("open");
  });

  test("maxParamsCount: 431", () => {
    const bytes = netstring(["CONTENT_LENGTH", "0"], ["SCGI", "1"], METHOD);
    expect(open({ maxParamsCount: 3 }).receive(bytes).seen).toHaveLength(1);
    const driver = expectSameStory(bytes, { maxParamsCount: 2 });
    expect(codes(driver.thrown)).toEqual(["ERR_HEADERS_TOO_LARGE"]);
    expect(readCgiResponse(driver.sent).status).toBe(431);
  });

  test("maxHeaderBytes and maxHeaderCount: 431", () => {
    for (const options of [{ maxHeaderBytes: 20 }, { maxHeaderCount: 1 }]) {
      const driver = expectSameStory(scgiRequest({ HTTP_X: "12345678" }), options);
      expect(readCgiResponse(driver.sent).status).toBe(431);
    }
  });

  test("maxBodyBytes: 413 without a byte of the body", () => {
    const driver = open({ maxBodyBytes: 10 }).receive(scgiHead(11, { REQUEST_METHOD: "POST" }));
    expect(codes(driver.thrown)).toEqual(["ERR_BODY_TOO_LARGE"]);
    expect(readCgiResponse(driver.sent).status).toBe(413);
    expect(driver.machine.closing).toBe("linger");
    expect(open({ maxBodyBytes: 11 }).receive(scgiHead(11, { REQUEST_METHOD: "POST" })).seen).toHaveLength(1);
  });
});

function latin1Text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
