import type { ByteWriter } from "../bytes/byte_writer.ts";
import { decodeLatin1 } from "../bytes/latin1.ts";
import { ProtocolError } from "../errors.ts";

/** Name and value, one character a byte. */
export type NameValuePair = [name: string, value: string];

/**
 * Decodes name-value pairs (FastCGI specification section 3.4) from the whole of a PARAMS stream or of a management
 * record.
 *
 * @param maxCount pairs over this are a 431
 * @param pairs where they are put, for a caller to whom those before an error are of use
 * @throws {ProtocolError} ERR_FASTCGI_PARAMS when the last pair is cut off, ERR_HEADERS_TOO_LARGE
 */
export function decodeNameValuePairs(
  bytes: Uint8Array,
  maxCount: number = Infinity,
  pairs: NameValuePair[] = [],
): NameValuePair[] {
  let at = 0;
  while (at < bytes.length) {
    let nameLength = bytes[at++]!;
    if (nameLength > 0x7f) {
      nameLength = longLength(bytes, at - 1);
      at += 3;
    }
    let valueLength = at < bytes.length ? bytes[at++]! : cutOff();
    if (valueLength > 0x7f) {
      valueLength = longLength(bytes, at - 1);
      at += 3;
    }
    // Both lengths are below 2^31, so that the sum is exact.
    if (nameLength + valueLength > bytes.length - at) cutOff();
    if (pairs.length >= maxCount) {
      throw new ProtocolError("ERR_HEADERS_TOO_LARGE", `Cannot take more than ${maxCount} variables`, {
        statusHint: 431,
      });
    }
    const valueStart = at + nameLength;
    pairs.push([decodeLatin1(bytes, at, valueStart), decodeLatin1(bytes, valueStart, valueStart + valueLength)]);
    at = valueStart + valueLength;
  }
  return pairs;
}

/** Encodes one pair. A length below 128 takes one byte, any other four. */
export function encodeNameValuePair(writer: ByteWriter, name: string, value: string): void {
  encodeLength(writer, name.length);
  encodeLength(writer, value.length);
  writer.latin1(name);
  writer.latin1(value);
}

/** The bytes that a pair takes. */
export function nameValuePairSize(name: string, value: string): number {
  return (name.length > 0x7f ? 4 : 1) + (value.length > 0x7f ? 4 : 1) + name.length + value.length;
}

function encodeLength(writer: ByteWriter, length: number): void {
  if (length <= 0x7f) writer.uint8(length);
  else writer.uint32(length + 0x80000000);
}

/** Four bytes of which the first has its top bit set. Multiplied, as a shift would make it negative. */
function longLength(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) cutOff();
  return (bytes[at]! & 0x7f) * 0x1000000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
}

function cutOff(): never {
  throw new ProtocolError("ERR_FASTCGI_PARAMS", "Cannot read the FastCGI variables: the last one is cut off", {
    statusHint: 400,
  });
}
