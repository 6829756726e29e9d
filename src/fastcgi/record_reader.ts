/**
 * Cuts what arrives into records, wherever the pieces begin and end.
 *
 * Discrete records are given away whole; those of streams as their content comes, so that a record of 64 KiB is not
 * held until its last byte.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";

/** Takes the content of the records of one request's streams. */
export interface StreamReceiver {
  takeStream(type: number, piece: Uint8Array): void;
  takeStreamEnd(type: number): void;
}

/** What is told of each record. Both may throw, after which nothing more can be read. */
export interface RecordHandler {
  takeDiscrete(record: codec.RecordHeader, content: Uint8Array): void;
  /** A record of a stream begins. Returns who takes its content; what nobody takes is skipped. */
  beginStreamRecord(record: codec.RecordHeader): StreamReceiver | undefined;
}

export class RecordReader {
  readonly #handler: RecordHandler;
  readonly #input = new ByteQueue();
  /** The record that is being read. */
  #record: codec.RecordHeader | undefined;
  #begun = false;
  #contentLeft = 0;
  #paddingLeft = 0;
  #receiver: StreamReceiver | undefined;

  constructor(handler: RecordHandler) {
    this.#handler = handler;
  }

  /** Whether nothing of a record has come without the rest. */
  get idle(): boolean {
    return this.#record === undefined && this.#input.length === 0;
  }

  push(chunk: Uint8Array): void {
    this.#input.push(chunk);
  }

  clear(): void {
    this.#input.clear();
  }

  /** What is still to come of the record goes nowhere if it was for `receiver`. */
  forget(receiver: StreamReceiver): void {
    if (this.#receiver === receiver) this.#receiver = undefined;
  }

  /** Reads on, at most to the end of a record. @returns whether it came there */
  step(): boolean {
    const input = this.#input;
    if (this.#record === undefined) {
      if (input.length < wire.RECORD_HEADER_LENGTH) return false;
      this.#record = codec.decodeRecordHeader(input.take(wire.RECORD_HEADER_LENGTH));
      this.#contentLeft = this.#record.contentLength;
      this.#paddingLeft = this.#record.paddingLength;
      this.#receiver = undefined;
      this.#begun = false;
    }
    const record = this.#record;
    if (!this.#begun) {
      if (isDiscrete(record)) {
        if (input.length < record.contentLength) return false;
        this.#begun = true;
        this.#contentLeft = 0;
        this.#handler.takeDiscrete(record, input.take(record.contentLength));
      } else {
        this.#begun = true;
        this.#receiver = this.#handler.beginStreamRecord(record);
        if (record.contentLength === 0) this.#receiver?.takeStreamEnd(record.type);
      }
    }
    while (this.#contentLeft > 0 && input.length > 0) {
      const piece = input.takeUpTo(this.#contentLeft);
      this.#contentLeft -= piece.length;
      this.#receiver?.takeStream(record.type, piece);
    }
    if (this.#contentLeft > 0) return false;
    this.#paddingLeft -= input.skip(this.#paddingLeft);
    if (this.#paddingLeft > 0) return false;
    this.#record = undefined;
    return true;
  }
}

function isDiscrete({ type, requestId }: codec.RecordHeader): boolean {
  if (type === wire.GET_VALUES) return requestId === wire.MANAGEMENT_ID;
  return requestId !== wire.MANAGEMENT_ID && (type === wire.BEGIN_REQUEST || type === wire.ABORT_REQUEST);
}
