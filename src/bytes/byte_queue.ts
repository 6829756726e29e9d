import { concat } from "./std.ts";

/**
 * Bytes that have arrived and are not used yet: a list of chunks, read as one run. Nothing is copied unless what is
 * taken straddles two chunks.
 */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  /** The first chunk still in use, and the first of its bytes still unread. */
  #first = 0;
  #offset = 0;
  #length = 0;

  /** Number of unread bytes. */
  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    if (this.#length === 0) {
      // The usual case: all before it has been used. Reusing the array keeps an idle connection small.
      this.#chunks.length = 0;
      this.#first = 0;
      this.#offset = 0;
    }
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The unread byte at `index`, which must be less than `length`. */
  peek(index: number): number {
    let at = index + this.#offset;
    let i = this.#first;
    let chunk = this.#chunks[i]!;
    while (at >= chunk.length) {
      at -= chunk.length;
      chunk = this.#chunks[++i]!;
    }
    return chunk[at]!;
  }

  /** Takes exactly `n` bytes, which must not be more than `length`. */
  take(n: number): Uint8Array {
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined || n <= chunk.length - this.#offset) return this.takeUpTo(n);
    const parts: Uint8Array[] = [];
    for (let left = n; left > 0;) {
      const part = this.takeUpTo(left);
      parts.push(part);
      left -= part.length;
    }
    return concat(parts);
  }

  /** Takes what is there without copying: at least one byte unless the queue is empty, at most `n`. */
  takeUpTo(n: number): Uint8Array {
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined) return EMPTY;
    const end = Math.min(chunk.length, this.#offset + n);
    const part = this.#offset === 0 && end === chunk.length ? chunk : chunk.subarray(this.#offset, end);
    this.#length -= part.length;
    if (end === chunk.length) this.#dropFirst();
    else this.#offset = end;
    return part;
  }

  /** Throws away up to `n` bytes and returns how many. */
  skip(n: number): number {
    let left = Math.min(n, this.#length);
    const skipped = left;
    while (left > 0) {
      const here = this.#chunks[this.#first]!.length - this.#offset;
      const part = Math.min(left, here);
      this.#length -= part;
      left -= part;
      if (part === here) this.#dropFirst();
      else this.#offset += part;
    }
    return skipped;
  }

  clear(): void {
    this.#chunks = [];
    this.#first = this.#offset = this.#length = 0;
  }

  #dropFirst(): void {
    this.#offset = 0;
    this.#chunks[this.#first++] = EMPTY;
    if (this.#length === 0) {
      this.#chunks.length = 0;
      this.#first = 0;
    } else if (this.#first >= 64) {
      // Shifting one by one would cost the square of a long queue of small chunks.
      this.#chunks.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

const EMPTY = new Uint8Array(0);
