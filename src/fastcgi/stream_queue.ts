/**
 * One incoming stream of a request, STDIN or DATA: what has come of it and is not wanted yet, and whether it is whole.
 *
 * | state   | record, n > 0              | record, n = 0                     | pull                 | discard   |
 * |---------|----------------------------|-----------------------------------|----------------------|-----------|
 * | "open"  | queued; → "ended" with the | → "ended", or the request is      | the next piece, now  | the same, |
 * |         | last that its length says  | aborted if its length says more   | or when it comes     | unseen    |
 * | "ended" | ignored                    | ignored                           | what is left, the end|           |
 *
 * @module
 */

import { concat } from "../bytes/std.ts";
import type { BodyEvents } from "../connection/machine.ts";
import { type ProtocolError, rejection } from "../errors.ts";

/** Something that the web server must send, within a time limit. */
export interface Waiter {
  readonly waitsFor: "head" | "body";
  /** The connection's `progress` when the waiting began. */
  waitingSince: number;
  /** It did not come in time. */
  onLate(error: ProtocolError, report: boolean): void;
}

/** What a stream needs of its request. */
export interface StreamHost {
  readonly maxBufferedBytes: number;
  /** Whether the request still runs. */
  readonly isActive: boolean;
  waitFor(waiter: Waiter): void;
  stopWaiting(waiter: Waiter): void;
  /** What `stream` holds has gone over its bound, or no longer is. */
  setFull(stream: StreamQueue, full: boolean): void;
  /** The stream is not what it should be, which ends its request. */
  refuse(error: ProtocolError): void;
  abort(error: ProtocolError): void;
}

/** How long a stream may and must be. */
export interface StreamLength {
  /** Bytes, or -1 where only the end of the stream tells. */
  length: number;
  /** The variable that says so. */
  saidBy: string;
  /** More bytes than these are a 413. */
  most: number;
}

/** What a queued piece costs besides its bytes, so that a flood of one-byte records is bounded like any other. */
const PIECE_COST = 128;
/** The most that one `onBody()` joins from small pieces. */
const JOINED_PIECES = 65536;
/** A queued piece that is a smaller part than this of the chunk that it came in is copied, to let the chunk go. */
const MIN_PART = 1 / 8;

export class StreamQueue implements Waiter {
  readonly waitsFor = "body";
  waitingSince = 0;
  readonly host: StreamHost;
  /** What is held, as it is counted. */
  queued = 0;
  readonly #target: { readonly events: BodyEvents };
  readonly #length: StreamLength;
  #ended: boolean;
  #received = 0;
  #pieces: Uint8Array[] = [];
  #wanted = false;
  #discarded = false;
  #endTold = false;

  /** @param target has the events when the first pull comes */
  constructor(host: StreamHost, target: { readonly events: BodyEvents }, length: StreamLength) {
    this.host = host;
    this.#target = target;
    this.#length = length;
    this.#ended = length.length === 0;
  }

  /** Whether all that counts has come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether somebody waits for the next piece. */
  get wanted(): boolean {
    return this.#wanted;
  }

  get full(): boolean {
    return this.queued > this.host.maxBufferedBytes;
  }

  pull(): void {
    if (this.#discarded || !this.host.isActive) return;
    if (this.#pieces.length > 0) {
      this.#deliver();
    } else if (this.#ended) {
      this.#tellEnd();
    } else {
      this.#wanted = true;
      this.host.waitFor(this);
    }
  }

  discard(): void {
    if (this.#discarded) return;
    this.#discarded = true;
    if (this.#wanted) this.host.stopWaiting(this);
    this.#wanted = false;
    this.#pieces = [];
    this.queued = 0;
    this.host.setFull(this, false);
  }

  take(piece: Uint8Array): void {
    if (this.#ended) return;
    const { length, most } = this.#length;
    // What is beyond the length is not part of it (RFC 3875 section 4.2).
    const room = (length < 0 ? Infinity : length) - this.#received;
    const data = piece.length <= room ? piece : piece.subarray(0, room);
    this.#received += data.length;
    if (this.#received > most) {
      this.host.refuse(rejection(413, `The body is longer than ${most} bytes`, "ERR_BODY_TOO_LARGE"));
      return;
    }
    // The web server may hold the end of the stream back; the length tells it as well.
    if (this.#received === length) this.#ended = true;
    if (this.#discarded) return;
    const whole = this.#wanted || data.length >= data.buffer.byteLength * MIN_PART;
    this.#pieces.push(whole ? data : data.slice());
    this.queued += data.length + PIECE_COST;
    if (this.#wanted) this.#deliver();
    else if (this.full) this.host.setFull(this, true);
  }

  takeEnd(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#discarded) return;
    const { length, saidBy } = this.#length;
    if (this.#received < length) {
      this.host.refuse(rejection(400, `The body is shorter than its ${saidBy}`, "ERR_BODY_TRUNCATED"));
    } else if (this.#pieces.length === 0) {
      this.host.stopWaiting(this);
      this.#tellEnd();
    }
  }

  onLate(error: ProtocolError): void {
    this.host.abort(error);
  }

  #deliver(): void {
    this.#wanted = false;
    this.host.stopWaiting(this);
    let count = 1;
    let length = this.#pieces[0]!.length;
    while (count < this.#pieces.length && length + this.#pieces[count]!.length <= JOINED_PIECES) {
      length += this.#pieces[count++]!.length;
    }
    const pieces = this.#pieces.splice(0, count);
    this.queued -= length + count * PIECE_COST;
    if (!this.full) this.host.setFull(this, false);
    this.#target.events.onBody(count === 1 ? pieces[0]! : concat(pieces));
    if (this.#pieces.length === 0 && this.#ended && !this.#discarded) this.#tellEnd();
  }

  /** Once: a pull from within `onBody()` may have told it already. */
  #tellEnd(): void {
    if (this.#endTold) return;
    this.#endTold = true;
    this.#wanted = false;
    this.#target.events.onBodyEnd();
  }
}
