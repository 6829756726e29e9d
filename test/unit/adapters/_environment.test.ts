import { describe, expect, test } from "vitest";
import { parseEnvironment, webServerAddresses } from "../../../adapters/_environment.ts";

const bytes = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

describe("parseEnvironment", () => {
  test("takes each byte for a character", () => {
    expect(parseEnvironment(bytes("A=1\0B=caf\xe9\x80\x9f\0C=\xc3\xa9\0"))).toEqual([
      ["A", "1"],
      ["B", "caf\xe9\x80\x9f"],
      ["C", "\xc3\xa9"],
    ]);
  });

  test("takes whatever else there may be", () => {
    expect(parseEnvironment(bytes(""))).toEqual([]);
    expect(parseEnvironment(bytes("EMPTY=\0A=b=c\0none\0=nameless\0LAST=1"))).toEqual([
      ["EMPTY", ""],
      ["A", "b=c"],
      ["LAST", "1"],
    ]);
  });

  test("takes a part of a larger buffer", () => {
    expect(parseEnvironment(bytes("X=1\0A=2\0").subarray(4))).toEqual([["A", "2"]]);
  });
});

describe("webServerAddresses", () => {
  test.each([
    [undefined, undefined],
    ["", undefined],
    [" , ", undefined],
    ["127.0.0.1", ["127.0.0.1"]],
    ["10.0.0.1, ::1,fe80::1 ", ["10.0.0.1", "::1", "fe80::1"]],
  ])("reads %j", (list, expected) => {
    expect(webServerAddresses(list)).toEqual(expected);
  });

  test.each(["localhost", "127.0.0.1,10.0.0.0/8", "1.2.3", "127.0.0.1:80"])("refuses %j", (list) => {
    expect(() => webServerAddresses(list)).toThrow("of FCGI_WEB_SERVER_ADDRS: it must be an IP address");
  });
});
