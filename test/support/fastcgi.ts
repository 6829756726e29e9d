import * as codec from "../../src/fastcgi/codec.ts";
import * as wire from "../../src/fastcgi/constants.ts";
import { encodeNameValuePair } from "../../src/fastcgi/name_value.ts";
import { concat } from "../../src/bytes/std.ts";
import { written } from "./hex.ts";

/** One record, of any type and with any padding. */
export function record(
  type: number,
  requestId: number,
  content: Uint8Array = new Uint8Array(0),
  padding = 0,
): Uint8Array<ArrayBuffer> {
  const header = [1, type, requestId >> 8, requestId & 255, content.length >> 8, content.length & 255, padding, 0];
  return concat([Uint8Array.from(header), content, new Uint8Array(padding)]);
}

/** A BEGIN_REQUEST. */
export function begin(requestId: number, keepConn = true, role: number = wire.ROLE_RESPONDER): Uint8Array<ArrayBuffer> {
  return written((writer) => codec.encodeBeginRequest(writer, requestId, { role, keepConn }));
}

/** The content of a PARAMS stream. */
export function pairs(variables: Record<string, string>): Uint8Array<ArrayBuffer> {
  return written((writer) => {
    for (const [name, value] of Object.entries(variables)) encodeNameValuePair(writer, name, value);
  });
}

/** A whole request: BEGIN, PARAMS and STDIN. */
export function fastCgiRequest(
  requestId: number,
  variables: Record<string, string>,
  body: Uint8Array = new Uint8Array(0),
  keepConn = true,
): Uint8Array<ArrayBuffer> {
  return concat([
    begin(requestId, keepConn),
    record(wire.PARAMS, requestId, pairs(variables)),
    record(wire.PARAMS, requestId),
    ...(body.length > 0 ? [record(wire.STDIN, requestId, body)] : []),
    record(wire.STDIN, requestId),
  ]);
}

/** A record with its content. */
export interface ReadRecord extends codec.RecordHeader {
  content: Uint8Array;
}

/** The type of the record of no version that breaks a response off, in what `records()` returns. */
export const BROKEN_END = 0;

/** The records in `bytes`, which must hold nothing else. */
export function records(bytes: Uint8Array): ReadRecord[] {
  const found: ReadRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) {
      // Nothing can follow it: a web server gives up here.
      if (bytes.length - at !== 8) throw new Error("There is something after the broken end");
      const requestId = (bytes[at + 2]! << 8) | bytes[at + 3]!;
      found.push({ type: BROKEN_END, requestId, contentLength: 0, paddingLength: 0, content: bytes.subarray(at + 8) });
      break;
    }
    const header = codec.decodeRecordHeader(bytes.subarray(at, at + 8));
    const start = at + 8;
    const end = start + header.contentLength;
    if (end + header.paddingLength > bytes.length) throw new Error("The last record is cut off");
    found.push({ ...header, content: bytes.subarray(start, end) });
    at = end + header.paddingLength;
  }
  return found;
}
