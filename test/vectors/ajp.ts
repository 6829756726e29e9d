/**
 * AJP13 packets in hexadecimal and what they mean. The numbers stand here as the protocol's documents have them and are
 * not taken from the code under test.
 */

import type { ContainerPacket, ForwardRequest } from "../../src/ajp/codec.ts";
import { forwardRequest } from "../support/ajp.ts";
import { hex, latin1, toHex } from "../support/hex.ts";

export interface RequestVector {
  name: string;
  /** The whole packet. */
  hex: string;
  request: ForwardRequest;
  /** Set where another spelling is the one that is sent. */
  readOnly?: true;
}

export interface ContainerVector {
  name: string;
  hex: string;
  packet: ContainerPacket;
  readOnly?: true;
}

export interface DataVector {
  name: string;
  hex: string;
  data: string;
  readOnly?: true;
}

export const METHODS: readonly [code: string, name: string][] = [
  ["01", "OPTIONS"],
  ["02", "GET"],
  ["03", "HEAD"],
  ["04", "POST"],
  ["05", "PUT"],
  ["06", "DELETE"],
  ["07", "TRACE"],
  ["08", "PROPFIND"],
  ["09", "PROPPATCH"],
  ["0a", "MKCOL"],
  ["0b", "COPY"],
  ["0c", "MOVE"],
  ["0d", "LOCK"],
  ["0e", "UNLOCK"],
  ["0f", "ACL"],
  ["10", "REPORT"],
  ["11", "VERSION-CONTROL"],
  ["12", "CHECKIN"],
  ["13", "CHECKOUT"],
  ["14", "UNCHECKOUT"],
  ["15", "SEARCH"],
  ["16", "MKWORKSPACE"],
  ["17", "UPDATE"],
  ["18", "LABEL"],
  ["19", "MERGE"],
  ["1a", "BASELINE-CONTROL"],
  ["1b", "MKACTIVITY"],
];

export const REQUEST_HEADERS: readonly [code: string, name: string][] = [
  ["a001", "accept"],
  ["a002", "accept-charset"],
  ["a003", "accept-encoding"],
  ["a004", "accept-language"],
  ["a005", "authorization"],
  ["a006", "connection"],
  ["a007", "content-type"],
  ["a008", "content-length"],
  ["a009", "cookie"],
  ["a00a", "cookie2"],
  ["a00b", "host"],
  ["a00c", "pragma"],
  ["a00d", "referer"],
  ["a00e", "user-agent"],
];

export const RESPONSE_HEADERS: readonly [code: string, name: string][] = [
  ["a001", "content-type"],
  ["a002", "content-language"],
  ["a003", "content-length"],
  ["a004", "date"],
  ["a005", "last-modified"],
  ["a006", "location"],
  ["a007", "set-cookie"],
  ["a008", "set-cookie2"],
  ["a009", "servlet-engine"],
  ["a00a", "status"],
  ["a00b", "www-authenticate"],
];

export const STRING_ATTRIBUTES = [
  ["01", "context"],
  ["02", "servletPath"],
  ["03", "remoteUser"],
  ["04", "authType"],
  ["05", "queryString"],
  ["06", "route"],
  ["07", "sslCert"],
  ["08", "sslCipher"],
  ["09", "sslSession"],
] as const;

/** A string as the wire has it. */
export function str(text: string): string {
  return text.length.toString(16).padStart(4, "0") + toHex(latin1(text)) + "00";
}

/** A packet of the web server's. */
export function packet(payload: string): string {
  const digits = payload.replace(/\s+/g, "");
  return `1234${(digits.length / 2).toString(16).padStart(4, "0")}${digits}`;
}

/** The payload of a Forward Request for "/", as `forwardRequest()` has it. */
export function payload(method = "02", headers: string[] = [], attributes = ""): string {
  const count = headers.length.toString(16).padStart(4, "0");
  return [
    "02",
    method,
    "0008 485454502f312e31 00", // HTTP/1.1
    "0001 2f 00", // /
    "0008 31302e302e302e37 00", // 10.0.0.7
    "ffff",
    "000f 7777772e6578616d706c652e636f6d 00", // www.example.com
    "0050",
    "00",
    count,
    ...headers,
    attributes,
    "ff",
  ].join("").replace(/\s+/g, "");
}

export const requests: RequestVector[] = [
  {
    name: "GET /hi?a=1 with AJP_REMOTE_PORT",
    hex: `
12 34 00 6e 02 02 00 08 48 54 54 50 2f 31 2e 31 00 00 03 2f 68 69 00 00 08 31 30 2e 30 2e 30 2e
37 00 ff ff 00 0f 77 77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 00 50 00 00 01 a0 0b 00 0f 77
77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 05 00 03 61 3d 31 00 0a 00 0f 41 4a 50 5f 52 45 4d
4f 54 45 5f 50 4f 52 54 00 00 05 35 33 30 39 37 00 ff`,
    request: forwardRequest({
      uri: "/hi",
      headers: [["host", "www.example.com"]],
      attributes: { queryString: "a=1" },
      requestAttributes: [["AJP_REMOTE_PORT", "53097"]],
    }),
  },
  {
    name: "POST /p with text/plain of five bytes",
    hex: `
12 34 00 60 02 04 00 08 48 54 54 50 2f 31 2e 31 00 00 02 2f 70 00 00 08 31 30 2e 30 2e 30 2e 37
00 ff ff 00 0f 77 77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 00 50 00 00 03 a0 0b 00 0f 77 77
77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 a0 07 00 0a 74 65 78 74 2f 70 6c 61 69 6e 00 a0 08 00
01 35 00 ff`,
    request: forwardRequest({
      method: "POST",
      uri: "/p",
      headers: [["host", "www.example.com"], ["content-type", "text/plain"], ["content-length", "5"]],
    }),
  },
  ...METHODS.map(([code, method]) => ({
    name: `method ${method}`,
    hex: packet(payload(code)),
    request: forwardRequest({ method }),
  })),
  {
    name: "stored_method PATCH",
    hex: packet(payload("ff", [], `0d ${str("PATCH")}`)),
    request: forwardRequest({ method: "PATCH" }),
  },
  {
    name: "stored_method of a method that has a code",
    hex: packet(payload("ff", [], `0d ${str("SEARCH")}`)),
    request: forwardRequest({ method: "SEARCH" }),
    readOnly: true,
  },
  {
    name: "stored_method besides a method code, which counts",
    hex: packet(payload("02", [], `0d ${str("DELETE")}`)),
    request: forwardRequest({ method: "GET" }),
    readOnly: true,
  },
  ...REQUEST_HEADERS.map(([code, name]) => ({
    name: `header ${name} by its code`,
    hex: packet(payload("02", [code + str("v")])),
    request: forwardRequest({ headers: [[name, "v"]] }),
  })),
  ...REQUEST_HEADERS.map(([, name]) => ({
    name: `header ${name} spelled out`,
    hex: packet(payload("02", [str(name) + str("v")])),
    request: forwardRequest({ headers: [[name, "v"]] }),
    readOnly: true as const,
  })),
  {
    name: "a header in capitals, of 14 letters as Content-Length has",
    hex: packet(payload("02", [str("CONTENT-LENGTH") + str("7"), str("X-Seven") + str("")])),
    request: forwardRequest({ headers: [["CONTENT-LENGTH", "7"], ["X-Seven", ""]] }),
  },
  {
    name: "a header name of 256 bytes, which begins with 01 00",
    hex: packet(payload("02", [str("n".repeat(256)) + str("v")])),
    request: forwardRequest({ headers: [["n".repeat(256), "v"]] }),
  },
  {
    name: "a header value that is null",
    hex: packet(payload("02", [`${str("x-a")} ffff`])),
    request: forwardRequest({ headers: [["x-a", ""]] }),
    readOnly: true,
  },
  {
    name: "a header value of bytes above 7F",
    hex: packet(payload("02", [`${str("x-a")} 0003 80 9f ff 00`])),
    request: forwardRequest({ headers: [["x-a", "\x80\x9f\xff"]] }),
  },
  ...STRING_ATTRIBUTES.map(([code, attribute]) => ({
    name: `attribute ${attribute}`,
    hex: packet(payload("02", [], code + str("some value"))),
    request: forwardRequest({ attributes: { [attribute]: "some value" } }),
  })),
  ...STRING_ATTRIBUTES.map(([code, attribute]) => ({
    name: `attribute ${attribute} that is empty`,
    hex: packet(payload("02", [], `${code} 0000 00`)),
    request: forwardRequest({ attributes: { [attribute]: "" } }),
  })),
  ...STRING_ATTRIBUTES.map(([code, attribute]) => ({
    name: `attribute ${attribute} that is null`,
    hex: packet(payload("02", [], `${code} ffff`)),
    request: forwardRequest(),
    readOnly: true as const,
  })),
  {
    name: "an attribute twice, of which the last counts",
    hex: packet(payload("02", [], `05 ${str("a")} 05 ${str("b")}`)),
    request: forwardRequest({ attributes: { queryString: "b" } }),
    readOnly: true,
  },
  {
    name: "an attribute and then null",
    hex: packet(payload("02", [], `03 ${str("a")} 03 ffff`)),
    request: forwardRequest(),
    readOnly: true,
  },
  {
    name: "ssl_key_size as an integer",
    hex: packet(payload("02", [], "0b 0100")),
    request: forwardRequest({ sslKeySize: 256 }),
  },
  {
    name: "ssl_key_size as Undertow's client sends it",
    hex: packet(payload("02", [], `0b 0003 32 35 36 00 05 ${str("q")}`)),
    request: forwardRequest({ sslKeySize: 256, attributes: { queryString: "q" } }),
    readOnly: true,
  },
  {
    name: "ssl_key_size of 3 bits and no digits after it",
    hex: packet(payload("02", [], `0b 0003 05 ${str("q")}`)),
    request: forwardRequest({ sslKeySize: 3, attributes: { queryString: "q" } }),
    readOnly: true,
  },
  {
    name: "request attributes, one name twice",
    hex: packet(payload("02", [], `0a ${str("n")} ${str("1")} 0a ${str("__proto__")} ${str("2")} 0a ${str("n")} 0000 00`)),
    request: forwardRequest({ requestAttributes: [["n", "1"], ["__proto__", "2"], ["n", ""]] }),
  },
  {
    name: "request attributes with a null name, and with a null value",
    hex: packet(payload("02", [], `0a ffff ${str("1")} 0a ${str("n")} ffff`)),
    request: forwardRequest(),
    readOnly: true,
  },
  {
    name: "two secrets",
    hex: packet(payload("02", [], `0c ${str("s1")} 0c ${str("s2")}`)),
    request: forwardRequest({ secrets: ["s1", "s2"] }),
  },
  {
    name: "a secret that is null",
    hex: packet(payload("02", [], "0c ffff")),
    request: forwardRequest({ secrets: [""] }),
    readOnly: true,
  },
  {
    name: "everything at once, in the order of the encoder",
    hex: packet(
      payload(
        "ff",
        [`a00b ${str("h")}`, `${str("x-y")} ${str("z")}`],
        `0c ${str("s")} 03 ${str("u")} 05 0000 00 0b 0080 0d ${str("FOO")} 0a ${str("k")} ${str("v")}`,
      ),
    ),
    request: forwardRequest({
      method: "FOO",
      headers: [["host", "h"], ["x-y", "z"]],
      secrets: ["s"],
      attributes: { remoteUser: "u", queryString: "" },
      sslKeySize: 128,
      requestAttributes: [["k", "v"]],
    }),
  },
  {
    name: "null where a string may be missing",
    hex: packet("02 02 ffff ffff ffff ffff ffff 0000 00 0000 ff"),
    request: forwardRequest({
      protocol: null,
      uri: null,
      remoteAddr: null,
      serverName: null,
      serverPort: 0,
    }),
  },
  {
    name: "empty strings",
    hex: packet("02 02 000000 000000 000000 000000 000000 ffff 01 0000 ff"),
    request: forwardRequest({
      protocol: "",
      uri: "",
      remoteAddr: "",
      remoteHost: "",
      serverName: "",
      serverPort: 65535,
      isSsl: true,
    }),
  },
  {
    name: "is_ssl as 2",
    hex: packet("02 02 ffff ffff ffff ffff ffff 0000 02 0000 ff"),
    request: forwardRequest({
      protocol: null,
      uri: null,
      remoteAddr: null,
      serverName: null,
      serverPort: 0,
      isSsl: true,
    }),
    readOnly: true,
  },
  {
    name: "bytes after FF, which mean nothing",
    hex: packet(`${payload()} 05 ${str("a=1")} ff 00`),
    request: forwardRequest(),
    readOnly: true,
  },
];

/** Packets of the web server's that have nothing but a type. */
export const signals = [
  { name: "CPing", hex: "12 34 00 01 0a", type: "CPing" },
  { name: "Shutdown", hex: "12 34 00 01 07", type: "Shutdown" },
  { name: "Ping", hex: "12 34 00 01 08", type: "Ping" },
] as const;

export const data: DataVector[] = [
  { name: "hello", hex: "12 34 00 07 00 05 68 65 6c 6c 6f", data: "68656c6c6f" },
  { name: "the end as httpd sends it", hex: "12 34 00 02 00 00", data: "" },
  { name: "the end as mod_jk sends it", hex: "12 34 00 00", data: "", readOnly: true },
  { name: "the end with bytes after it", hex: "12 34 00 06 00 00 00 00 00 ff", data: "", readOnly: true },
  { name: "bytes after the data", hex: "12 34 00 07 00 01 61 00 00 00 ff", data: "61", readOnly: true },
  { name: "data that looks like a request", hex: `12 34 02 04 02 02 ${"00".repeat(514)}`, data: "00".repeat(514) },
  { name: "the longest at 8192", hex: `12 34 1f fc 1f fa ${"61".repeat(8186)}`, data: "61".repeat(8186) },
  { name: "the longest at 65536", hex: `12 34 ff fc ff fa ${"61".repeat(65530)}`, data: "61".repeat(65530) },
];

const HELLO = latin1("hello");

export const container: ContainerVector[] = [
  {
    name: "Send Headers",
    hex: `
41 42 00 33 04 00 c8 00 02 4f 4b 00 00 04 a0 01 00 0a 74 65 78 74 2f 70 6c 61 69 6e 00 a0 07 00
03 61 3d 31 00 a0 07 00 03 62 3d 32 00 00 03 58 2d 59 00 00 01 7a 00`,
    packet: {
      type: "SendHeaders",
      status: 200,
      reason: "OK",
      headers: [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["X-Y", "z"]],
    },
  },
  {
    name: "Send Headers without headers",
    hex: "41 42 00 08 04 01 94 00 00 00 00 00",
    packet: { type: "SendHeaders", status: 404, reason: "", headers: [] },
  },
  {
    name: "Send Headers with nulls",
    hex: "41 42 00 0f 04 01 f4 ff ff 00 01 00 03 78 2d 61 00 ff ff",
    packet: { type: "SendHeaders", status: 500, reason: "", headers: [["x-a", ""]] },
    readOnly: true,
  },
  ...RESPONSE_HEADERS.map(([code, name]): ContainerVector => ({
    name: `Send Headers with ${name} by its code`,
    hex: `41 42 00 0e 04 00 c8 00 00 00 00 01 ${code} 00 01 76 00`,
    packet: { type: "SendHeaders", status: 200, reason: "", headers: [[name, "v"]] },
  })),
  {
    name: "Send Body Chunk",
    hex: "41 42 00 09 03 00 05 68 65 6c 6c 6f 00",
    packet: { type: "SendBodyChunk", data: HELLO },
  },
  {
    name: "Send Body Chunk without the byte after the data",
    hex: "41 42 00 08 03 00 05 68 65 6c 6c 6f",
    packet: { type: "SendBodyChunk", data: HELLO },
    readOnly: true,
  },
  {
    name: "a flush",
    hex: "41 42 00 04 03 00 00 00",
    packet: { type: "SendBodyChunk", data: new Uint8Array(0) },
  },
  {
    name: "the longest Send Body Chunk at 8192",
    hex: `41 42 1f fc 03 1f f8 ${"61".repeat(8184)} 00`,
    packet: { type: "SendBodyChunk", data: hex("61".repeat(8184)) },
  },
  { name: "End Response, reuse", hex: "41 42 00 02 05 01", packet: { type: "EndResponse", reuse: true } },
  { name: "End Response", hex: "41 42 00 02 05 00", packet: { type: "EndResponse", reuse: false } },
  { name: "Get Body Chunk", hex: "41 42 00 03 06 1f fa", packet: { type: "GetBodyChunk", length: 8186 } },
  { name: "CPong", hex: "41 42 00 01 09", packet: { type: "CPong" } },
];

/** Payloads from a web server that are no message, each with what is wrong. All are answered with 400. */
export const malformed: readonly [what: string, payload: string][] = [
  ["method code 0", payload("00")],
  ["method code 28", payload("1c")],
  ["method code 254", payload("fe")],
  ["method code 255 without stored_method", payload("ff")],
  ["stored_method that is empty", payload("ff", [], "0d 0000 00")],
  ["stored_method that is null", payload("ff", [], "0d ffff")],
  ["two stored_method", payload("ff", [], `0d ${str("FOO")} 0d ${str("FOO")}`)],
  ["two stored_method, the first null", payload("ff", [], `0d ffff 0d ${str("FOO")}`)],
  ["two stored_method besides a method code", payload("02", [], `0d ${str("FOO")} 0d ${str("BAR")}`)],
  ["header code A000", payload("02", [`a000 ${str("v")}`])],
  ["header code A00F", payload("02", [`a00f ${str("v")}`])],
  ["header code A0FF", payload("02", [`a0ff ${str("v")}`])],
  ["header name that is null", payload("02", [`ffff ${str("v")}`])],
  ["header name over the end", payload("02", [`a100 ${str("v")}`])],
  ["attribute code 0", payload("02", [], "00")],
  ["attribute code 14", payload("02", [], `0e ${str("v")}`)],
  ["attribute code FE", payload("02", [], "fe")],
  ["no FF", payload().slice(0, -2)],
  ["no FF after an attribute", payload("02", [], `05 ${str("a=1")}`).slice(0, -2)],
  ["more headers than there are", payload().replace(/0000ff$/, "0001ff")],
  ["string not terminated", payload("02", [], "05 0003 61 3d 31 01")],
  ["string whose terminator is beyond the end", `${payload().slice(0, -2)} 05 0003 61 3d 31`],
  ["string of FFFE bytes", payload("02", [], "05 fffe 61 3d 31 00")],
  ["ssl_key_size of one byte", `${payload().slice(0, -2)} 0b 01`],
  ["request attribute without its value", `${payload().slice(0, -2)} 0a ${str("n")}`],
];

/** Payloads that no web server may send as a message. */
export const unexpectedTypes: readonly string[] = ["00", "01", "03", "04", "05", "06", "09", "0b", "ff"];
