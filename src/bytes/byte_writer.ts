import { encodeLatin1Into } from "./latin1.ts";

/** Payloads up to this size are copied next to their header; beyond it a chunk of its own is cheaper than the copy. */
const COPY_LIMIT = 2048;
/** Enough for the head and the body of most responses. */
const BUFFER_SIZE = 16384;

const EMPTY = new Uint8Array(0);

/** The buffer that was given up last and where its unused rest begins: a small response then costs no allocation. */
let spare: Uint8Array = EMPTY;
let spareOffset = 0;

/**
 * Collects what is to be sent as a list of chunks. Small writes are gathered in one buffer, large payloads go out as
 * they are. Between two `take()`s of an idle connection it holds no memory.
 */
export class ByteWriter {
  #chunks: Uint8Array[] = [];
  #buffer: Uint8Array = EMPTY;
  #start = 0;
  #position = 0;
  #sealed = 0;

  /** Number of bytes that `take()` would return. */
  get length(): number {
    return this.#sealed + this.#position - this.#start;
  }

  uint8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#position++] = value;
  }

  /** Big-endian. The caller has checked that the value fits: it is never cut to 16 bits unseen. */
  uint16(value: number): void {
    if (value > 0xffff) throw new RangeError(`Cannot write ${value} as 16 bits`);
    this.#reserve(2);
    this.#buffer[this.#position++] = value >>> 8;
    this.#buffer[this.#position++] = value;
  }

  /** Big-endian. */
  uint32(value: number): void {
    this.uint16(Math.floor(value / 0x10000));
    this.uint16(value % 0x10000);
  }

  /** One byte for each character; a character above U+00FF is the caller's mistake and becomes "?". */
  latin1(text: string): void {
    this.#reserve(text.length);
    encodeLatin1Into(text, this.#buffer, this.#position);
    this.#position += text.length;
  }

  /** The bytes must not change until they have been sent. */
  bytes(data: Uint8Array): void {
    if (data.length > COPY_LIMIT) {
      this.#seal();
      this.#chunks.push(data);
      this.#sealed += data.length;
      return;
    }
    this.#reserve(data.length);
    this.#buffer.set(data, this.#position);
    this.#position += data.length;
  }

  /** Returns all that was written since the last call, in order. */
  take(): Uint8Array[] {
    this.#seal();
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#sealed = 0;
    if (this.#buffer.length - this.#position > spare.length - spareOffset) {
      spare = this.#buffer;
      spareOffset = this.#position;
    }
    this.#buffer = EMPTY;
    this.#start = this.#position = 0;
    return chunks;
  }

  /** Forgets all that was written since the last `take()`. */
  clear(): void {
    this.take();
  }

  #seal(): void {
    if (this.#position === this.#start) return;
    this.#chunks.push(this.#buffer.subarray(this.#start, this.#position));
    this.#sealed += this.#position - this.#start;
    this.#start = this.#position;
  }

  #reserve(n: number): void {
    if (this.#buffer.length - this.#position >= n) return;
    this.#seal();
    if (spare.length - spareOffset >= n) {
      this.#buffer = spare;
      this.#start = this.#position = spareOffset;
      spare = EMPTY;
      spareOffset = 0;
    } else {
      this.#buffer = new Uint8Array(Math.max(BUFFER_SIZE, n));
      this.#start = this.#position = 0;
    }
  }
}
