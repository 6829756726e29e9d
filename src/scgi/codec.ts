/**
 * SCGI requests, both directions (SCGI: A Simple Common Gateway Interface alternative, sections 3 and 4). The response
 * is CGI's. Pure functions.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import { decodeLatin1 } from "../bytes/latin1.ts";
import { ProtocolError } from "../errors.ts";

/** Name and value, one character a byte. */
export type HeaderPair = [name: string, value: string];

/** Digits of the longest netstring that is looked at. */
export const MAX_LENGTH_DIGITS = 7;

/**
 * Decodes the length of a netstring, or as much of it as there is: digits without a sign, blank or leading zero. What
 * cannot become a length is refused at its first wrong byte.
 *
 * @param digits the bytes before the ":"
 * @throws {ProtocolError} ERR_SCGI_NETSTRING
 */
export function decodeNetstringLength(digits: Uint8Array): number {
  let length = 0;
  for (const [i, byte] of digits.entries()) {
    const digit = byte - 0x30;
    if (digit < 0 || digit > 9) throw brokenNetstring("its length is not a number");
    if (i === 0 && digit === 0) throw brokenNetstring("its length begins with 0");
    if (i === MAX_LENGTH_DIGITS) throw brokenNetstring("its length has too many digits");
    length = length * 10 + digit;
  }
  if (digits.length === 0) throw brokenNetstring("its length is missing");
  return length;
}

/**
 * Decodes the content of the netstring: names and values, each ended by a NUL.
 *
 * @throws {ProtocolError} ERR_SCGI_HEADERS with status 400, or ERR_HEADERS_TOO_LARGE with status 431
 */
export function decodeHeaders(block: Uint8Array, maxCount: number = Infinity): HeaderPair[] {
  if (block[block.length - 1] !== 0) throw badHeaders("they do not end in NUL");
  const headers: HeaderPair[] = [];
  let name: string | undefined;
  for (let start = 0; start < block.length;) {
    const end = block.indexOf(0, start);
    const text = decodeLatin1(block, start, end);
    start = end + 1;
    if (name === undefined) {
      if (text === "") throw badHeaders("a name is empty");
      if (headers.length >= maxCount) {
        throw new ProtocolError("ERR_HEADERS_TOO_LARGE", `Cannot take more than ${maxCount} variables`, {
          statusHint: 431,
        });
      }
      name = text;
    } else {
      headers.push([name, text]);
      name = undefined;
    }
  }
  if (name !== undefined) throw badHeaders("the last name has no value");
  return headers;
}

/**
 * Encodes the head of a request; the caller has put CONTENT_LENGTH first, and SCGI with the value 1 somewhere.
 *
 * @throws {ProtocolError} ERR_SCGI_HEADERS or ERR_HEADERS_TOO_LARGE for what SCGI cannot carry; nothing is written then
 */
export function encodeHeaders(writer: ByteWriter, headers: readonly HeaderPair[]): void {
  let length = 0;
  for (const [name, value] of headers) {
    // A NUL would begin a variable of the sender's choice.
    if (name === "" || name.includes("\0") || value.includes("\0")) {
      throw new ProtocolError("ERR_SCGI_HEADERS", "Cannot send a variable without a name or with a NUL", {
        initiator: "local",
      });
    }
    length += name.length + value.length + 2;
  }
  if (String(length).length > MAX_LENGTH_DIGITS) {
    throw new ProtocolError("ERR_HEADERS_TOO_LARGE", `Cannot send ${length} bytes of variables`, {
      initiator: "local",
    });
  }
  writer.latin1(`${length}:`);
  for (const [name, value] of headers) {
    writer.latin1(name);
    writer.uint8(0);
    writer.latin1(value);
    writer.uint8(0);
  }
  writer.latin1(",");
}

/** A head that is not one at all: there is nobody to answer. */
export function brokenNetstring(what: string): ProtocolError {
  return new ProtocolError("ERR_SCGI_NETSTRING", `Cannot read an SCGI request: ${what}`);
}

/** A head whose frame is sound and whose content is not. */
export function badHeaders(what: string): ProtocolError {
  return new ProtocolError("ERR_SCGI_HEADERS", `Cannot take the SCGI headers: ${what}`, { statusHint: 400 });
}
