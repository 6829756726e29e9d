/**
 * Sends the body of one response, no faster than the web server takes it.
 *
 * A response whose body is at hand leaves in one write, with its length, even if the handler did not give it: what has
 * been produced is held until the next piece turns out to be slow, or there is enough to send.
 *
 * @module
 */

import type { Exchange } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import { isTypelessStringBody, type ResponseHead, TEXT_PLAIN } from "../http/response.ts";
import type { Soon, Waiter } from "./soon.ts";

/** What the sender needs of its request and its connection. */
export interface SenderContext {
  readonly soon: Soon;
  /** A promise while the web server does not take what was sent; rejects when the connection breaks. */
  readonly blocked: Promise<void> | undefined;
  /** Sends what the machine has to send. */
  flush(): void;
}

/** What becomes of the response. Exactly one of the three is told, unless the sender is cancelled first. */
export interface SenderEvents {
  /** The body is longer than its Content-Length: it is cut there, and this is said besides. */
  onCut(error: ProtocolError): void;
  onSent(keep: boolean): void;
  onFailed(error: unknown): void;
}

/** Produced bytes beyond this are sent even though more may follow at once. */
const HELD_BYTES = 65536;
/** The most that is given to the connection at once, so that a slow reader is seen to read on. */
const SLICE_BYTES = 262144;

export class ResponseSender implements Waiter {
  /** Whether the head has been sent, after which nothing can be answered any more. */
  headSent = false;
  readonly #exchange: Exchange;
  readonly #context: SenderContext;
  readonly #events: SenderEvents;
  readonly #response: Response;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #head: ResponseHead;
  #held: Uint8Array[] = [];
  #heldLength = 0;
  #produced = 0;
  #over = false;
  /** The sending of what was held while the next piece was slow. */
  #draining: Promise<void> | undefined;

  constructor(
    exchange: Exchange,
    context: SenderContext,
    events: SenderEvents,
    response: Response,
    body: ReadableStream<Uint8Array>,
    head: ResponseHead,
  ) {
    this.#exchange = exchange;
    this.#context = context;
    this.#events = events;
    this.#response = response;
    this.#head = head;
    this.#reader = body.getReader();
  }

  /** Begins. What goes wrong is told by the events. */
  start(): void {
    this.#send().catch((error) => this.#fail(error));
  }

  /** Gives the response up, and tells its source. */
  cancel(reason: unknown): void {
    this.#over = true;
    this.#held = [];
    this.#heldLength = 0;
    this.#context.soon.delete(this);
    this.#reader.cancel(reason).catch(ignore);
  }

  /** The next piece is slow: what there is goes now. */
  onWaiting(): void {
    if (this.#over || this.#draining !== undefined) return;
    if (this.#heldLength <= SLICE_BYTES) {
      this.#sendNow();
      return;
    }
    this.#draining = this.#drain().then(() => this.#sendNow(), ignore).finally(() => {
      this.#draining = undefined;
    });
  }

  async #send(): Promise<void> {
    const { soon } = this.#context;
    for (;;) {
      soon.add(this);
      const { done, value } = await this.#reader.read();
      soon.delete(this);
      if (this.#draining !== undefined) await this.#draining;
      if (this.#over) return;
      if (done) {
        this.#measure();
        await this.#finish(true);
        return;
      }
      if (!(value instanceof Uint8Array)) {
        throw badResponse("Cannot send the response: its body has a chunk that is not a Uint8Array");
      }
      if (!this.#take(value)) {
        this.#reader.cancel(new Error("The body is longer than its Content-Length")).catch(ignore);
        await this.#finish(false);
        return;
      }
      // One chunk alone may be the whole body, whose length is then known.
      if (this.#heldLength >= HELD_BYTES && (this.headSent || this.#held.length > 1)) {
        await this.#drain();
        this.#sendHeld();
        this.#context.flush();
      }
      await this.#unblocked();
      if (this.#over) return;
    }
  }

  async #finish(keep: boolean): Promise<void> {
    if (this.#heldLength > SLICE_BYTES) await this.#drain();
    if (this.#over || !this.#sendHeld()) return;
    this.#over = true;
    this.#events.onSent(keep);
  }

  /** @returns false when the body is longer than its Content-Length, and so is cut there */
  #take(chunk: Uint8Array): boolean {
    if (chunk.length === 0) return true;
    const { contentLength } = this.#head;
    const room = contentLength < 0 ? Infinity : contentLength - this.#produced;
    const piece = chunk.length <= room ? chunk : chunk.subarray(0, room);
    this.#produced += piece.length;
    if (piece.length > 0) {
      this.#held.push(piece);
      this.#heldLength += piece.length;
    }
    if (chunk.length <= room) return true;
    this.#events.onCut(
      badResponse(`The response body is longer than its Content-Length of ${contentLength} and was cut`),
    );
    return false;
  }

  /** The body has ended: what its length was to be, or now is. */
  #measure(): void {
    const { contentLength } = this.#head;
    if (contentLength >= 0 && this.#produced < contentLength) {
      throw badResponse(
        `The response body has ${this.#produced} bytes, less than its Content-Length of ${contentLength}`,
      );
    }
    if (this.headSent) return;
    let { headers } = this.#head;
    if (isTypelessStringBody(this.#response, this.#held)) headers = [...headers, TEXT_PLAIN];
    this.#head = { ...this.#head, headers, contentLength: this.#produced };
  }

  /** Sends what is held, but for the last slice, no faster than the web server takes it. */
  async #drain(): Promise<void> {
    while (this.#heldLength > SLICE_BYTES && !this.#over) {
      const [first, ...more] = this.#held;
      const slice = first!.subarray(0, SLICE_BYTES);
      this.#held = slice.length < first!.length ? [first!.subarray(SLICE_BYTES), ...more] : more;
      this.#heldLength -= slice.length;
      if (!this.#sendHead()) return;
      this.#exchange.sendBody(slice);
      this.#context.flush();
      await this.#unblocked();
    }
  }

  async #unblocked(): Promise<void> {
    while (this.#context.blocked !== undefined) await this.#context.blocked;
  }

  #sendNow(): void {
    if (this.#over || !this.#sendHeld()) return;
    this.#exchange.flush();
    this.#context.flush();
  }

  /** Sends the head if it has not been sent, and what is held. @returns false when that failed */
  #sendHeld(): boolean {
    if (this.#over || !this.#sendHead()) return false;
    const held = this.#held;
    this.#held = [];
    this.#heldLength = 0;
    for (const chunk of held) this.#exchange.sendBody(chunk);
    return true;
  }

  #sendHead(): boolean {
    if (this.headSent) return true;
    try {
      this.#exchange.sendHead(this.#head);
    } catch (error) {
      this.#fail(error);
      return false;
    }
    this.headSent = true;
    return true;
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.cancel(error);
    this.#events.onFailed(error);
  }
}

/** A response that breaks the rules. */
export function badResponse(message: string, options: ErrorOptions = {}): ProtocolError {
  return new ProtocolError("ERR_BAD_RESPONSE", message, { ...options, initiator: "handler" });
}

function ignore(): void {
  // A stream or a connection that is given up may well fail; nobody is interested any more.
}
