/**
 * Text of the wire: one byte is one character (ISO-8859-1). `TextDecoder("latin1")` cannot be used for it: the Encoding
 * standard makes it windows-1252, and Deno and Bun follow.
 *
 * @module
 */

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Above this, the decoder's fixed cost is less than the loop's. */
const SHORT = 32;
/** `String.fromCharCode` takes its characters as arguments, of which an engine allows a limited number. */
const MAX_ARGUMENTS = 4096;

/** Decodes `bytes` from `start` to `end`. */
export function decodeLatin1(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  if (end - start <= SHORT) {
    let text = "";
    for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i]!);
    return text;
  }
  const part = bytes.subarray(start, end);
  if (isAscii(part)) return utf8.decode(part);
  let text = "";
  for (let i = 0; i < part.length; i += MAX_ARGUMENTS) {
    text += String.fromCharCode(...part.subarray(i, i + MAX_ARGUMENTS));
  }
  return text;
}

/** Writes `text` to `target` at `offset`, one byte for each character; one above U+00FF becomes "?". */
export function encodeLatin1Into(text: string, target: Uint8Array, offset: number): void {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    target[offset + i] = code > 0xff ? 0x3f : code;
  }
}

/** Encodes `text`, one byte for each character; one above U+00FF becomes "?". */
export function encodeLatin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  encodeLatin1Into(text, bytes, 0);
  return bytes;
}

/** Reads the characters of `text` as bytes of UTF-8 where they are valid UTF-8, and returns `text` as it is elsewhere. */
export function latin1ToUtf8(text: string): string {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) {
      try {
        return utf8.decode(encodeLatin1(text));
      } catch {
        return text;
      }
    }
  }
  return text;
}

function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > 0x7f) return false;
  return true;
}
