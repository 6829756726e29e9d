/**
 * FastCGI records, both directions (FastCGI specification section 3.3). Pure functions; state is elsewhere.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import { ProtocolError } from "../errors.ts";
import * as wire from "./constants.ts";

/** The first eight bytes of a record. */
export interface RecordHeader {
  type: number;
  requestId: number;
  contentLength: number;
  paddingLength: number;
}

/** Body of a BEGIN_REQUEST record. */
export interface BeginRequest {
  role: number;
  keepConn: boolean;
}

/** Body of an END_REQUEST record. */
export interface EndRequest {
  appStatus: number;
  protocolStatus: number;
}

/**
 * Decodes the header of a record.
 *
 * @param bytes exactly eight bytes
 * @throws {ProtocolError} ERR_FASTCGI_VERSION: nothing after it can be trusted
 */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader {
  if (bytes[0] !== wire.VERSION) {
    throw new ProtocolError("ERR_FASTCGI_VERSION", `Cannot read a FastCGI record of version ${bytes[0]}`);
  }
  return {
    type: bytes[1]!,
    requestId: (bytes[2]! << 8) | bytes[3]!,
    contentLength: (bytes[4]! << 8) | bytes[5]!,
    paddingLength: bytes[6]!,
  };
}

/** Decodes the body of a BEGIN_REQUEST; flags other than KEEP_CONN mean nothing. */
export function decodeBeginRequest(content: Uint8Array): BeginRequest {
  requireLength("BEGIN_REQUEST", content, 8);
  return { role: (content[0]! << 8) | content[1]!, keepConn: (content[2]! & wire.FLAG_KEEP_CONN) !== 0 };
}

/** Decodes the body of an END_REQUEST. */
export function decodeEndRequest(content: Uint8Array): EndRequest {
  requireLength("END_REQUEST", content, 8);
  const appStatus = content[0]! * 0x1000000 + ((content[1]! << 16) | (content[2]! << 8) | content[3]!);
  return { appStatus, protocolStatus: content[4]! };
}

/** Decodes the body of an UNKNOWN_TYPE: the type that was not understood. */
export function decodeUnknownType(content: Uint8Array): number {
  requireLength("UNKNOWN_TYPE", content, 8);
  return content[0]!;
}

/**
 * Encodes a record of at most 65535 bytes. Padding is optional in the protocol, and none is sent.
 *
 * @throws {RangeError} for more: a length cut to 16 bits would turn the rest of the content into records
 */
export function encodeRecord(writer: ByteWriter, type: number, requestId: number, content: Uint8Array): void {
  encodeRecordHeader(writer, type, requestId, content.length);
  writer.bytes(content);
}

/** Encodes `content` as records of a stream, each of at most `most` bytes. An empty content is nothing, not an end. */
export function encodeStream(
  writer: ByteWriter,
  type: number,
  requestId: number,
  content: Uint8Array,
  most: number = wire.MAX_SENT_CONTENT,
): void {
  if (content.length <= most) {
    if (content.length > 0) encodeRecord(writer, type, requestId, content);
    return;
  }
  for (let at = 0; at < content.length; at += most) {
    encodeRecord(writer, type, requestId, content.subarray(at, at + most));
  }
}

/** Encodes the empty record that ends a stream. */
export function encodeStreamEnd(writer: ByteWriter, type: number, requestId: number): void {
  encodeRecordHeader(writer, type, requestId, 0);
}

export function encodeBeginRequest(writer: ByteWriter, requestId: number, begin: BeginRequest): void {
  encodeRecordHeader(writer, wire.BEGIN_REQUEST, requestId, 8);
  writer.uint16(begin.role);
  writer.uint8(begin.keepConn ? wire.FLAG_KEEP_CONN : 0);
  writer.uint8(0);
  writer.uint32(0);
}

export function encodeAbortRequest(writer: ByteWriter, requestId: number): void {
  encodeRecordHeader(writer, wire.ABORT_REQUEST, requestId, 0);
}

export function encodeEndRequest(writer: ByteWriter, requestId: number, end: EndRequest): void {
  encodeRecordHeader(writer, wire.END_REQUEST, requestId, 8);
  writer.uint32(end.appStatus);
  writer.uint8(end.protocolStatus);
  writer.uint8(0);
  writer.uint16(0);
}

export function encodeUnknownType(writer: ByteWriter, type: number): void {
  encodeRecordHeader(writer, wire.UNKNOWN_TYPE, wire.MANAGEMENT_ID, 8);
  writer.uint8(type);
  writer.uint8(0);
  writer.uint16(0);
  writer.uint32(0);
}

/** The header alone, for a caller that writes exactly `contentLength` bytes after it. */
export function encodeRecordHeader(
  writer: ByteWriter,
  type: number,
  requestId: number,
  contentLength: number,
): void {
  if (contentLength > wire.MAX_CONTENT) {
    throw new RangeError(`Cannot put ${contentLength} bytes in one FastCGI record`);
  }
  writer.uint8(wire.VERSION);
  writer.uint8(type);
  writer.uint16(requestId);
  writer.uint16(contentLength);
  writer.uint16(0);
}

function requireLength(name: string, content: Uint8Array, length: number): void {
  if (content.length === length) return;
  throw new ProtocolError(
    "ERR_FASTCGI_RECORD",
    `Cannot read a ${name} record: it has ${content.length} bytes, not ${length}`,
  );
}
