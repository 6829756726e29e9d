/**
 * AJP13 packets, both directions: bytes to typed messages and back. Pure functions; conversation state is elsewhere.
 *
 * Strings are ISO-8859-1: one character is one byte. Every field is read within the bounds of its packet, whatever its
 * length says.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import { decodeLatin1 } from "../bytes/latin1.ts";
import { ProtocolError, rejection } from "../errors.ts";
import * as wire from "./constants.ts";

/** Name and value of a header or of a request attribute. */
export type NameValue = [name: string, value: string];

/** The attributes of a Forward Request that hold one string. */
export type StringAttribute = keyof typeof wire.STRING_ATTRIBUTES;

/** A request (packet type 2). */
export interface ForwardRequest {
  method: string;
  protocol: string | null;
  /** The path as sent, without the query. */
  uri: string | null;
  remoteAddr: string | null;
  remoteHost: string | null;
  serverName: string | null;
  serverPort: number;
  isSsl: boolean;
  headers: NameValue[];
  attributes: Partial<Record<StringAttribute, string>>;
  /** Attribute 0x0A, in the order sent. */
  requestAttributes: NameValue[];
  sslKeySize?: number;
  /** Every occurrence of attribute 0x0C; null as the empty string. */
  secrets: string[];
}

/** What a web server sends, apart from data packets, which only the state of the conversation can tell. */
export type ServerPacket =
  | { type: "ForwardRequest"; request: ForwardRequest }
  | { type: "CPing" }
  | { type: "Shutdown" }
  | { type: "Ping" };

/** What a container sends. */
export type ContainerPacket =
  | { type: "SendHeaders"; status: number; reason: string; headers: NameValue[] }
  | { type: "SendBodyChunk"; data: Uint8Array }
  | { type: "EndResponse"; reuse: boolean }
  | { type: "GetBodyChunk"; length: number }
  | { type: "CPong" };

const STRING_ATTRIBUTE_BY_CODE: readonly (StringAttribute | undefined)[] = invert(wire.STRING_ATTRIBUTES);
const METHOD_CODES = indexByName(wire.METHODS);
const REQUEST_HEADER_CODES = indexByName(wire.REQUEST_HEADERS);
const RESPONSE_HEADER_CODES = indexByName(wire.RESPONSE_HEADERS);

/**
 * Decodes the payload of a packet from a web server.
 *
 * @param maxHeaderCount headers over this are a 431
 * @throws {ProtocolError} ERR_AJP_MALFORMED, ERR_AJP_UNEXPECTED_PACKET for an unknown type, ERR_HEADERS_TOO_LARGE
 */
export function decodeServerPacket(payload: Uint8Array, maxHeaderCount = 0xffff): ServerPacket {
  switch (payload[0]) {
    case wire.FORWARD_REQUEST:
      return { type: "ForwardRequest", request: decodeForwardRequest(payload, maxHeaderCount) };
    case wire.CPING:
      return { type: "CPing" };
    case wire.SHUTDOWN:
      return { type: "Shutdown" };
    case wire.PING:
      return { type: "Ping" };
    default:
      throw new ProtocolError(
        "ERR_AJP_UNEXPECTED_PACKET",
        `Cannot take a packet of type ${payload[0] ?? "none"} from a web server`,
      );
  }
}

/**
 * Decodes the payload of a Forward Request, its type byte included.
 *
 * @throws {ProtocolError} with status 400 or 431
 */
export function decodeForwardRequest(payload: Uint8Array, maxHeaderCount: number): ForwardRequest {
  const reader = new PayloadReader(payload, 1);
  const methodCode = reader.uint8();
  const method = methodCode === wire.STORED_METHOD ? "" : wire.METHODS[methodCode] ?? "";
  if (method === "" && methodCode !== wire.STORED_METHOD) throw malformed(`method code ${methodCode} is unknown`);
  const request: ForwardRequest = {
    method,
    protocol: reader.string(),
    uri: reader.string(),
    remoteAddr: reader.string(),
    remoteHost: reader.string(),
    serverName: reader.string(),
    serverPort: reader.uint16(),
    isSsl: reader.uint8() !== 0,
    headers: [],
    attributes: {},
    requestAttributes: [],
    secrets: [],
  };
  const headerCount = reader.uint16();
  if (headerCount > maxHeaderCount) {
    throw rejection(431, `Cannot take ${headerCount} headers: the limit is ${maxHeaderCount}`, "ERR_HEADERS_TOO_LARGE");
  }
  for (let i = 0; i < headerCount; i++) {
    const name = readHeaderName(reader, wire.REQUEST_HEADERS);
    request.headers.push([name, reader.string() ?? ""]);
  }
  readAttributes(reader, request, methodCode);
  if (request.method === "") throw malformed("the method is missing");
  return request;
}

function readAttributes(reader: PayloadReader, request: ForwardRequest, methodCode: number): void {
  let storedMethod: string | undefined;
  for (;;) {
    const code = reader.uint8();
    switch (code) {
      case wire.ARE_DONE:
        if (methodCode === wire.STORED_METHOD) request.method = storedMethod ?? "";
        return;
      case wire.REQUEST_ATTRIBUTE: {
        const name = reader.string();
        const value = reader.string();
        if (name !== null && value !== null) request.requestAttributes.push([name, value]);
        break;
      }
      case wire.SSL_KEY_SIZE:
        request.sslKeySize = readKeySize(reader);
        break;
      case wire.SECRET:
        request.secrets.push(reader.string() ?? "");
        break;
      case wire.STORED_METHOD_ATTRIBUTE:
        if (storedMethod !== undefined) throw malformed("stored_method stands there twice");
        storedMethod = reader.string() ?? "";
        break;
      default: {
        const attribute = STRING_ATTRIBUTE_BY_CODE[code];
        // Skipping an unknown attribute would let its content pass for attributes of its own.
        if (attribute === undefined) throw malformed(`attribute code ${code} is unknown`);
        const value = reader.string();
        if (value === null) delete request.attributes[attribute];
        else request.attributes[attribute] = value;
      }
    }
  }
}

/** An integer; Undertow's client sends a string of digits instead, which cannot be mistaken for one. */
function readKeySize(reader: PayloadReader): number {
  const size = reader.uint16();
  if (size < 1 || size > 5) return size;
  const digits = reader.peekDigits(size);
  return digits === undefined ? size : Number(digits);
}

function readHeaderName(reader: PayloadReader, names: readonly string[]): string {
  const code = reader.headerCode();
  if (code >= 0) {
    const name = names[code];
    if (!name) throw malformed(`header code ${code} is unknown`);
    return name;
  }
  const name = reader.string();
  if (name === null) throw malformed("a header has no name");
  return name;
}

/**
 * Decodes the payload of a data packet. Bytes after the data are ignored: some clients pad.
 *
 * @returns the data; empty at the end of the body, which has two spellings
 * @throws {ProtocolError} ERR_AJP_MALFORMED when the length runs over the packet
 */
export function decodeData(payload: Uint8Array): Uint8Array {
  if (payload.length === 0) return payload;
  if (payload.length === 1) throw malformed("a data packet is one byte long");
  const length = (payload[0]! << 8) | payload[1]!;
  if (length + 2 > payload.length) throw malformed("the length of a data packet runs over its end");
  return payload.subarray(2, 2 + length);
}

/**
 * Decodes the payload of a packet from a container.
 *
 * @throws {ProtocolError} ERR_AJP_MALFORMED or ERR_AJP_UNEXPECTED_PACKET
 */
export function decodeContainerPacket(payload: Uint8Array): ContainerPacket {
  const reader = new PayloadReader(payload, 0);
  const type = reader.uint8();
  switch (type) {
    case wire.SEND_BODY_CHUNK: {
      const length = reader.uint16();
      if (length + 3 > payload.length) throw malformed("the length of a body chunk runs over its packet");
      return { type: "SendBodyChunk", data: payload.subarray(3, 3 + length) };
    }
    case wire.SEND_HEADERS: {
      const status = reader.uint16();
      const reason = reader.string() ?? "";
      const headers: NameValue[] = [];
      for (let left = reader.uint16(); left > 0; left--) {
        const name = readHeaderName(reader, wire.RESPONSE_HEADERS);
        headers.push([name, reader.string() ?? ""]);
      }
      return { type: "SendHeaders", status, reason, headers };
    }
    case wire.END_RESPONSE:
      return { type: "EndResponse", reuse: reader.uint8() !== 0 };
    case wire.GET_BODY_CHUNK:
      return { type: "GetBodyChunk", length: reader.uint16() };
    case wire.CPONG:
      return { type: "CPong" };
    default:
      throw new ProtocolError("ERR_AJP_UNEXPECTED_PACKET", `Cannot take a packet of type ${type} from a container`);
  }
}

/**
 * Encodes a Forward Request with its packet header.
 *
 * @throws {ProtocolError} ERR_HEADERS_TOO_LARGE when it does not fit in one packet: there is no second one
 */
export function encodeForwardRequest(
  writer: ByteWriter,
  request: ForwardRequest,
  packetSize: number = wire.DEFAULT_PACKET_SIZE,
): void {
  const methodCode = METHOD_CODES.get(request.method) ?? wire.STORED_METHOD;
  const attributes = Object.entries(request.attributes) as [StringAttribute, string][];
  let length = 2 + stringSize(request.protocol) + stringSize(request.uri) + stringSize(request.remoteAddr) +
    stringSize(request.remoteHost) + stringSize(request.serverName) + 3 +
    headersSize(request.headers, REQUEST_HEADER_CODES) + 1;
  for (const secret of request.secrets) length += 1 + stringSize(secret);
  for (const [, value] of attributes) length += 1 + stringSize(value);
  if (request.sslKeySize !== undefined) length += 3;
  if (methodCode === wire.STORED_METHOD) length += 1 + stringSize(request.method);
  for (const [name, value] of request.requestAttributes) length += 1 + stringSize(name) + stringSize(value);
  if (length + wire.PACKET_HEADER_LENGTH > packetSize) {
    throw new ProtocolError("ERR_HEADERS_TOO_LARGE", tooLong(length, packetSize), { initiator: "local" });
  }

  writePacketHeader(writer, wire.MAGIC_TO_CONTAINER, length);
  writer.uint8(wire.FORWARD_REQUEST);
  writer.uint8(methodCode);
  writeString(writer, request.protocol);
  writeString(writer, request.uri);
  writeString(writer, request.remoteAddr);
  writeString(writer, request.remoteHost);
  writeString(writer, request.serverName);
  writer.uint16(request.serverPort);
  writer.uint8(request.isSsl ? 1 : 0);
  writeHeaders(writer, request.headers, REQUEST_HEADER_CODES);
  for (const secret of request.secrets) {
    writer.uint8(wire.SECRET);
    writeString(writer, secret);
  }
  for (const [attribute, value] of attributes) {
    writer.uint8(wire.STRING_ATTRIBUTES[attribute]);
    writeString(writer, value);
  }
  if (request.sslKeySize !== undefined) {
    writer.uint8(wire.SSL_KEY_SIZE);
    writer.uint16(request.sslKeySize);
  }
  if (methodCode === wire.STORED_METHOD) {
    writer.uint8(wire.STORED_METHOD_ATTRIBUTE);
    writeString(writer, request.method);
  }
  for (const [name, value] of request.requestAttributes) {
    writer.uint8(wire.REQUEST_ATTRIBUTE);
    writeString(writer, name);
    writeString(writer, value);
  }
  writer.uint8(wire.ARE_DONE);
}

/** Encodes a data packet; an empty one is the end of the body. */
export function encodeData(writer: ByteWriter, data: Uint8Array): void {
  writePacketHeader(writer, wire.MAGIC_TO_CONTAINER, data.length + 2);
  writer.uint16(data.length);
  writer.bytes(data);
}

export function encodeCPing(writer: ByteWriter): void {
  writePacketHeader(writer, wire.MAGIC_TO_CONTAINER, 1);
  writer.uint8(wire.CPING);
}

/** Obsolete, and never obeyed; here for the tests of that. */
export function encodeShutdown(writer: ByteWriter): void {
  writePacketHeader(writer, wire.MAGIC_TO_CONTAINER, 1);
  writer.uint8(wire.SHUTDOWN);
}

/** Obsolete, and never answered. */
export function encodePing(writer: ByteWriter): void {
  writePacketHeader(writer, wire.MAGIC_TO_CONTAINER, 1);
  writer.uint8(wire.PING);
}

/**
 * Encodes a Send Headers packet.
 *
 * @param headers with lower-case names where they have a code
 * @param packetSize the largest packet that the web server takes
 * @throws {ProtocolError} ERR_AJP_HEADERS_TOO_LONG when it does not fit; nothing has been written then
 */
export function encodeSendHeaders(
  writer: ByteWriter,
  status: number,
  reason: string,
  headers: readonly NameValue[],
  packetSize: number = wire.DEFAULT_PACKET_SIZE,
): void {
  const length = 3 + stringSize(reason) + headersSize(headers, RESPONSE_HEADER_CODES);
  if (length + wire.PACKET_HEADER_LENGTH > packetSize) {
    throw new ProtocolError("ERR_AJP_HEADERS_TOO_LONG", tooLong(length, packetSize), {
      initiator: "handler",
      statusHint: 500,
    });
  }
  writePacketHeader(writer, wire.MAGIC_TO_SERVER, length);
  writer.uint8(wire.SEND_HEADERS);
  writer.uint16(status);
  writeString(writer, reason);
  writeHeaders(writer, headers, RESPONSE_HEADER_CODES);
}

/** Encodes a Send Body Chunk, with the byte after the data that httpd insists on; an empty one means "flush". */
export function encodeSendBodyChunk(writer: ByteWriter, data: Uint8Array): void {
  writePacketHeader(writer, wire.MAGIC_TO_SERVER, data.length + 4);
  writer.uint8(wire.SEND_BODY_CHUNK);
  writer.uint16(data.length);
  writer.bytes(data);
  writer.uint8(0);
}

export function encodeEndResponse(writer: ByteWriter, reuse: boolean): void {
  writePacketHeader(writer, wire.MAGIC_TO_SERVER, 2);
  writer.uint8(wire.END_RESPONSE);
  writer.uint8(reuse ? 1 : 0);
}

/** Asks for up to `length` bytes of the body: never 0, a false end to mod_jk, nor 65535, an error to it. */
export function encodeGetBodyChunk(writer: ByteWriter, length: number): void {
  writePacketHeader(writer, wire.MAGIC_TO_SERVER, 3);
  writer.uint8(wire.GET_BODY_CHUNK);
  writer.uint16(length);
}

export function encodeCPong(writer: ByteWriter): void {
  writePacketHeader(writer, wire.MAGIC_TO_SERVER, 1);
  writer.uint8(wire.CPONG);
}

/** A packet with a broken field: answered with 400. */
export function malformed(what: string): ProtocolError {
  return rejection(400, `Cannot read an AJP packet: ${what}`, "ERR_AJP_MALFORMED");
}

/** Walks through a payload and never past its end. */
class PayloadReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  uint8(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw malformed("it ends too early");
    return value;
  }

  uint16(): number {
    return (this.uint8() << 8) | this.uint8();
  }

  /** The low byte of a header code if one stands here, else -1 and nothing is read. */
  headerCode(): number {
    if (this.#bytes[this.#at] !== wire.HEADER_CODE) return -1;
    this.#at++;
    return this.uint8();
  }

  string(): string | null {
    const length = this.uint16();
    if (length === wire.NULL_STRING) return null;
    const start = this.#at;
    const end = start + length;
    const terminator = this.#bytes[end];
    if (terminator === undefined) throw malformed("a string runs over its end");
    if (terminator !== 0) throw malformed("a string is not terminated");
    this.#at = end + 1;
    return decodeLatin1(this.#bytes, start, end);
  }

  /** Takes `count` digits and the 0 after them, if that is what stands here. */
  peekDigits(count: number): string | undefined {
    const end = this.#at + count;
    if (this.#bytes[end] !== 0) return undefined;
    const text = decodeLatin1(this.#bytes, this.#at, end);
    if (!/^\d+$/.test(text)) return undefined;
    this.#at = end + 1;
    return text;
  }
}

function writePacketHeader(writer: ByteWriter, magic: number, length: number): void {
  writer.uint16(magic);
  writer.uint16(length);
}

function writeString(writer: ByteWriter, text: string | null): void {
  if (text === null) {
    writer.uint16(wire.NULL_STRING);
    return;
  }
  writer.uint16(text.length);
  writer.latin1(text);
  writer.uint8(0);
}

function stringSize(text: string | null): number {
  return text === null ? 2 : 3 + text.length;
}

function headersSize(headers: readonly NameValue[], codes: ReadonlyMap<string, number>): number {
  let size = 2;
  for (const [name, value] of headers) size += (codes.has(name) ? 2 : stringSize(name)) + stringSize(value);
  return size;
}

function writeHeaders(writer: ByteWriter, headers: readonly NameValue[], codes: ReadonlyMap<string, number>): void {
  writer.uint16(headers.length);
  for (const [name, value] of headers) {
    const code = codes.get(name);
    if (code === undefined) writeString(writer, name);
    else writer.uint16((wire.HEADER_CODE << 8) | code);
    writeString(writer, value);
  }
}

function tooLong(length: number, packetSize: number): string {
  const needed = length + wire.PACKET_HEADER_LENGTH;
  return `Cannot send ${needed} bytes of headers in a packet of ${packetSize}: raise packetSize here and ` +
    `ProxyIOBufferSize (mod_proxy_ajp) or max_packet_size (mod_jk) in the web server`;
}

function indexByName(names: readonly string[]): ReadonlyMap<string, number> {
  const index = new Map<string, number>();
  names.forEach((name, code) => {
    if (name !== "") index.set(name, code);
  });
  return index;
}

function invert<Name extends string>(codes: Readonly<Record<Name, number>>): readonly (Name | undefined)[] {
  const names: (Name | undefined)[] = [];
  for (const name of Object.keys(codes) as Name[]) names[codes[name]] = name;
  return names;
}
