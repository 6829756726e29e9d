/**
 * The part that SCGI and plain CGI share: one request a connection, variables first, then a body of CONTENT_LENGTH
 * bytes; the response as CGI has it (RFC 3875 section 6), ended by the end of the connection. The machine is its own
 * exchange, as there is only the one.
 *
 * | state          | input                            | FIN                          | end()                      |
 * |----------------|----------------------------------|------------------------------|----------------------------|
 * | "reading-head" | → "reading-body" with its last   | gone                         |                            |
 * | "reading-body" | held until wanted, up to a bound | the body is cut off: 400     | → "over", and reads on     |
 * | "body-ended"   | dropped: not part of the request | no matter: an answer is due  | → "over", as is said below |
 * | "over"         | dropped                          | no matter: it has been given |                            |
 *
 * Nothing in these protocols says that a response is whole. One that breaks is ended by a reset.
 *
 * A FIN after the body is no departure: some web servers send it and then wait for the answer. Only a reset or a write
 * that fails shows that such a one has gone.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import { ByteWriter } from "../bytes/byte_writer.ts";
import type {
  Closing,
  Exchange,
  ExchangeEvents,
  OnRejected,
  OnRequest,
  ServerMachine,
  Waiting,
} from "../connection/machine.ts";
import { ProtocolError, rejection } from "../errors.ts";
import type { RequestHead } from "../http/request_head.ts";
import { plainBody, plainHead, type ResponseHead } from "../http/response.ts";
import type { ProtocolName } from "../types.ts";
import { formatResponseHead } from "./response_head.ts";

/** Bytes of a body that are held for a slow handler before no more is read. */
const MAX_HELD = 65536;

/** The application's side of a connection with one request. */
export abstract class SingleRequestServer implements ServerMachine, Exchange {
  abstract readonly protocol: ProtocolName;
  readonly output: ByteWriter = new ByteWriter();
  closing: Closing = "open";
  progress = 0;
  head!: RequestHead;
  events!: ExchangeEvents;
  protected readonly input: ByteQueue = new ByteQueue();
  readonly #onRequest: OnRequest;
  readonly #onRejected: OnRejected;
  #state: "reading-head" | "reading-body" | "body-ended" | "over" = "reading-head";
  /** Whether anything of the request has come. */
  #begun = false;
  /** Bytes of the body that have not been delivered or dropped. */
  #left = 0;
  #wanted = false;
  #discarded = false;
  #bodyEndTold = false;
  #aborted = false;

  constructor(onRequest: OnRequest, onRejected: OnRejected) {
    this.#onRequest = onRequest;
    this.#onRejected = onRejected;
  }

  /**
   * Takes the head from `input`; undefined while it is not whole.
   *
   * @throws {ProtocolError} whose statusHint, if there is one, is the answer
   */
  protected abstract readHead(): RequestHead | undefined;

  /** Whether to read on when the request is whole: to see the web server leave, and to drop what it sends too much. */
  protected abstract readonly readsBeyondBody: boolean;

  get active(): number {
    return this.#state === "reading-body" || this.#state === "body-ended" ? 1 : 0;
  }

  get wantsInput(): boolean {
    if (this.#state === "reading-body") return this.#discarded || this.input.length <= MAX_HELD;
    return this.#state !== "body-ended" || this.readsBeyondBody;
  }

  get waiting(): Waiting {
    if (this.closing !== "open") return "nothing";
    if (this.#state === "reading-head") return "head";
    return this.#state === "reading-body" && this.#wanted ? "body" : "nothing";
  }

  receive(chunk: Uint8Array): void {
    if (this.closing !== "open") return;
    if (chunk.length > 0) this.#begun = true;
    this.input.push(chunk);
    if (this.#state === "reading-head") {
      try {
        const head = this.readHead();
        if (head === undefined) return;
        this.#begin(head);
      } catch (error) {
        this.#refuse(error as ProtocolError);
        throw error;
      }
    }
    if (this.#state !== "reading-body" || this.#discarded) this.#drop();
    else if (this.#wanted && this.input.length > 0) this.#deliver();
  }

  receiveFin(): boolean {
    if (this.#state === "reading-head") return false;
    if (this.#state === "reading-body" && this.input.length < this.#left && !this.#aborted) {
      const error = rejection(400, "The body is shorter than its CONTENT_LENGTH", "ERR_BODY_TRUNCATED");
      this.#onRejected(error);
      this.#abort(error);
    }
    return true;
  }

  receiveEnd(error: ProtocolError): void {
    if (this.closing === "open") this.closing = "destroy";
    const running = this.active > 0;
    this.#state = "over";
    this.input.clear();
    if (running) this.#abort(error);
  }

  timeout(): ProtocolError {
    const { waiting } = this;
    const error = new ProtocolError("ERR_TIMEOUT", `The web server did not send the ${waiting} in time`, {
      statusHint: waiting === "body" ? 408 : 0,
    });
    if (waiting === "body") this.#abort(error);
    else this.closing = "destroy";
    return error;
  }

  drain(): void {
    if (!this.#begun && this.#state === "reading-head" && this.closing === "open") this.closing = "end";
  }

  pullBody(): void {
    if (this.#state !== "reading-body" || this.#discarded) return;
    if (this.input.length > 0) {
      this.#deliver();
    } else {
      this.#wanted = true;
      this.progress++;
    }
  }

  discardBody(): void {
    this.#discarded = true;
    this.#wanted = false;
    this.#drop();
  }

  sendHead(head: ResponseHead): void {
    if (this.#state !== "over") this.output.latin1(formatResponseHead(head));
  }

  sendBody(chunk: Uint8Array): void {
    if (this.#state !== "over") this.output.bytes(chunk);
  }

  flush(): void {
    // What has been written is all that there is to see.
  }

  log(): void {
    // There is no channel to the web server's log but our own stderr, which the logger writes to.
  }

  end(): void {
    if (this.#state === "over") return;
    // Closing with unread input would reset the connection, and the response might be lost.
    this.closing = this.#state === "reading-body" || this.readsBeyondBody ? "linger" : "end";
    this.#state = "over";
    this.input.clear();
    this.events.onFinished();
  }

  fail(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.input.clear();
    this.closing = "reset";
  }

  #begin(head: RequestHead): void {
    this.head = head;
    this.#left = head.contentLength;
    this.#state = this.#left === 0 ? "body-ended" : "reading-body";
    this.#onRequest(this);
  }

  #deliver(): void {
    this.#wanted = false;
    this.progress++;
    const piece = this.input.takeUpTo(Math.min(this.#left, MAX_HELD));
    this.#count(piece.length);
    this.events.onBody(piece);
    this.#tellBodyEnd();
  }

  /** Once: a pull from within `onBody()` may have told it already. */
  #tellBodyEnd(): void {
    if (this.#state !== "body-ended" || this.#discarded || this.#aborted || this.#bodyEndTold) return;
    this.#bodyEndTold = true;
    this.events.onBodyEnd();
  }

  /** What nobody wants is read all the same, so that the web server can send all of it. */
  #drop(): void {
    if (this.#state === "reading-head") return;
    this.#count(Math.min(this.input.length, this.#left));
    this.input.clear();
  }

  #count(length: number): void {
    this.#left -= length;
    if (this.#left > 0 || this.#state !== "reading-body") return;
    this.#state = "body-ended";
    this.input.clear(); // what follows is not part of the request
  }

  #abort(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#wanted = false;
    this.events.onAbort(error);
  }

  #refuse(error: ProtocolError): void {
    this.#state = "over";
    this.input.clear();
    if (error.statusHint === 0) {
      this.closing = "destroy";
      return;
    }
    const body = plainBody(error.statusHint);
    this.output.latin1(formatResponseHead(plainHead(error.statusHint, body.length)));
    this.output.bytes(body);
    this.closing = this.readsBeyondBody ? "linger" : "end";
  }
}
