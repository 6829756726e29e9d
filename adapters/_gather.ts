/**
 * Small chunks into few: each chunk is a system call of its own where a runtime cannot write several at once, and
 * without Nagle's algorithm a packet too.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** Largest chunk made here. */
const MAX_GATHERED_BYTES = 64 * 1024;

/** From here on, copying a chunk costs as much as a system call of its own. */
const MIN_UNCOPIED_BYTES = 32 * 1024;

/** The same bytes in as few chunks as is worth while, none of them empty. */
export function gather(chunks: Uint8Array[]): Uint8Array[] {
  if (chunks.length === 1 && chunks[0]!.length > 0) return chunks;
  const gathered: Uint8Array[] = [];
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < chunks.length; i++) {
    const { length } = chunks[i]!;
    if (length >= MIN_UNCOPIED_BYTES || bytes + length > MAX_GATHERED_BYTES) {
      join(chunks, start, i, bytes, gathered);
      start = i;
      bytes = 0;
    }
    bytes += length;
    if (length >= MIN_UNCOPIED_BYTES) {
      gathered.push(chunks[i]!);
      start = i + 1;
      bytes = 0;
    }
  }
  join(chunks, start, chunks.length, bytes, gathered);
  return gathered;
}

/** Adds the chunks from `start` to `end`, which have `bytes` bytes, to `gathered` as one. */
function join(chunks: Uint8Array[], start: number, end: number, bytes: number, gathered: Uint8Array[]): void {
  if (bytes === 0) return;
  if (chunks[start]!.length === bytes) {
    gathered.push(chunks[start]!);
    return;
  }
  const joined = Buffer.allocUnsafe(bytes);
  for (let i = start, offset = 0; i < end; i++) {
    joined.set(chunks[i]!, offset);
    offset += chunks[i]!.length;
  }
  gathered.push(joined);
}
