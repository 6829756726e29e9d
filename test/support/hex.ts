import { ByteWriter } from "../../src/bytes/byte_writer.ts";
import { encodeLatin1 } from "../../src/bytes/latin1.ts";
import { concat } from "../../src/bytes/std.ts";

/** Bytes of hex digits; blanks between them are for the reader. */
export function hex(...parts: string[]): Uint8Array<ArrayBuffer> {
  const digits = parts.join("").replace(/\s+/g, "");
  if (!/^(?:[0-9a-f]{2})*$/i.test(digits)) throw new Error(`Cannot read "${digits}" as hex`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes of ISO-8859-1 text. */
export const latin1: (text: string) => Uint8Array<ArrayBuffer> = encodeLatin1;

/** Bytes of text. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** All that `write` writes, as one run of bytes. */
export function written(write: (writer: ByteWriter) => void): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  write(writer);
  return concat(writer.take());
}

/** `bytes` cut at each of the positions, in ascending order. */
export function splitAt(bytes: Uint8Array, positions: number[]): Uint8Array[] {
  const cuts = [...new Set([0, ...positions.map((at) => Math.min(at, bytes.length)), bytes.length])];
  cuts.sort((a, b) => a - b);
  return cuts.slice(1).map((end, i) => bytes.slice(cuts[i]!, end));
}

export function everyByte(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}
