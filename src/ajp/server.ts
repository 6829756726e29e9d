/**
 * AJP13 from the container's side, as a machine without I/O.
 *
 * One connection carries one request at a time. Whether a packet is a message or a piece of a body cannot be seen from
 * the packet, only from the state of the conversation, so the state is what keeps a body from being read as a request
 * of the attacker's making. It is one bit, `owed`: the web server is bound to send a data packet and has not yet.
 *
 * | request side  | packet arrives                                   | response side ends                            |
 * |---------------|--------------------------------------------------|-----------------------------------------------|
 * | idle          | Forward Request → active; CPing → CPong          |                                               |
 * | active        | waits: the web server is early                   | End Response → idle; what waited is taken     |
 * | active, owed  | is data, whatever it looks like; owed no more    | End Response is held back → ending            |
 * | ending (owed) | is data and dropped; End Response → idle         |                                               |
 *
 * `owed` becomes true with a Forward Request whose content-length is not 0, and with each Get Body Chunk sent. Never is
 * a chunk asked for while one is owed, after the end of a body, or beyond its content-length. What was there before the
 * question is no answer to it: a chunk that is to be asked for while something waits ends the conversation.
 *
 * An error that HTTP can answer is answered with its status and End Response without reuse; after a head has been sent
 * there is no End Response at all, since any would make the cut body look whole.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import { ByteWriter } from "../bytes/byte_writer.ts";
import { encodeLatin1 } from "../bytes/latin1.ts";
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
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";
import { type RequestHeadOptions, toRequestHead } from "./request_head.ts";

/** What the machine must be told. */
export interface AjpServerOptions extends RequestHeadOptions {
  packetSize: number;
  /** As ISO-8859-1 text of its bytes; empty for none. */
  secret: string;
  maxHeaderCount: number;
  /** Infinity for no limit. */
  maxRequestsPerConnection: number;
}

/** The container's side of one AJP13 connection. */
export class AjpServer implements ServerMachine {
  readonly protocol = "ajp";
  readonly output: ByteWriter = new ByteWriter();
  closing: Closing = "open";
  progress = 0;
  readonly #options: AjpServerOptions;
  readonly #onRequest: OnRequest;
  readonly #onRejected: OnRejected;
  readonly #input = new ByteQueue();
  #current: AjpExchange | undefined;
  #owed = false;
  #keep = true;
  #receiving = false;
  /** The web server broke a rule, and may go on to. */
  #refused = false;
  #served = 0;
  #emptyPackets = 0;

  constructor(options: AjpServerOptions, onRequest: OnRequest, onRejected: OnRejected) {
    this.#options = options;
    this.#onRequest = onRequest;
    this.#onRejected = onRejected;
  }

  get active(): number {
    return this.#current === undefined ? 0 : 1;
  }

  /** Early bytes of a next request are kept up to a packet. */
  get wantsInput(): boolean {
    return this.#current === undefined || this.#owed || this.#input.length <= this.#options.packetSize;
  }

  get waiting(): Waiting {
    if (this.closing !== "open") return "nothing";
    if (this.#owed) return "body";
    if (this.#current !== undefined) return "nothing";
    return this.#input.length > 0 ? "head" : "request";
  }

  receive(chunk: Uint8Array): void {
    if (this.closing !== "open") return;
    this.#input.push(chunk);
    this.#receiving = true;
    try {
      while (this.closing === "open" && this.#nextPacket());
    } catch (error) {
      this.#refuse(error as ProtocolError);
      throw error;
    } finally {
      this.#receiving = false;
    }
    if (!this.#keep) this.drain();
  }

  /** A web server that half-closes has gone: there is no request whose input is over. */
  receiveFin(): boolean {
    return false;
  }

  receiveEnd(error: ProtocolError): void {
    const exchange = this.#current;
    if (this.closing === "open") this.closing = "destroy";
    this.#current = undefined;
    exchange?.abort(error);
  }

  timeout(): ProtocolError {
    const waiting = this.waiting;
    const error = new ProtocolError("ERR_TIMEOUT", `The web server did not send the ${waiting} in time`, {
      statusHint: waiting === "body" ? 408 : 0,
    });
    if (waiting === "request") this.closing = "end";
    else if (this.#current?.ending) this.#endResponse(false);
    else this.#refuse(error);
    return error;
  }

  drain(): void {
    this.#keep = false;
    if (this.#current === undefined && this.#input.length === 0 && this.closing === "open") this.closing = "end";
  }

  /** @returns whether there was a whole packet */
  #nextPacket(): boolean {
    const input = this.#input;
    if ((this.#current !== undefined && !this.#owed) || input.length < wire.PACKET_HEADER_LENGTH) return false;
    const magic = (input.peek(0) << 8) | input.peek(1);
    if (magic !== wire.MAGIC_TO_CONTAINER) {
      throw new ProtocolError("ERR_AJP_MAGIC", `Cannot read a packet that begins with 0x${magic.toString(16)}`);
    }
    const length = (input.peek(2) << 8) | input.peek(3);
    if (length + wire.PACKET_HEADER_LENGTH > this.#options.packetSize) {
      throw rejection(
        400,
        `Cannot take a packet of ${length + wire.PACKET_HEADER_LENGTH} bytes: packetSize is ` +
          `${this.#options.packetSize}; it must be the web server's ProxyIOBufferSize or max_packet_size`,
        "ERR_AJP_PACKET_TOO_LONG",
      );
    }
    if (input.length < wire.PACKET_HEADER_LENGTH + length) return false;
    input.skip(wire.PACKET_HEADER_LENGTH);
    const payload = input.take(length);
    this.progress++;
    if (this.#owed) this.#takeData(payload);
    else this.#takeMessage(payload);
    return true;
  }

  #takeMessage(payload: Uint8Array): void {
    switch (payload[0]) {
      case wire.FORWARD_REQUEST:
        this.#forward(codec.decodeForwardRequest(payload, this.#options.maxHeaderCount));
        break;
      case wire.CPING:
        codec.encodeCPong(this.output);
        break;
      case undefined:
        // Some clients send one stray empty packet after a body.
        if (++this.#emptyPackets > 1) throw unexpected("Cannot take a second empty packet");
        return;
      default:
        // Shutdown and Ping are among them: they are never obeyed.
        throw unexpected(`Cannot take a packet of type ${payload[0]} here`);
    }
    this.#emptyPackets = 0;
  }

  #forward(request: codec.ForwardRequest): void {
    const { secret } = this.#options;
    if (secret !== "") {
      const right = request.secrets.length > 0 && request.secrets.every((given) => equalsSecret(given, secret));
      if (!right) throw rejection(403, "Cannot take a request without the right secret", "ERR_AJP_SECRET");
    }
    const head = toRequestHead(request, this.#options);
    this.#served++;
    const exchange = new AjpExchange(this, head);
    this.#current = exchange;
    // A body of known length comes with its first packet, unasked, whatever becomes of the request.
    this.#owed = head.contentLength > 0;
    this.#onRequest(exchange);
  }

  #takeData(payload: Uint8Array): void {
    this.#owed = false;
    const exchange = this.#current!;
    const data = codec.decodeData(payload);
    if (!exchange.takeData(data, this.#options.maxBodyBytes)) {
      this.#keep = false;
      this.#refused = true;
    }
    if (exchange.ending) this.#endResponse(true);
  }

  /** Answers an error where that is possible, and ends the conversation. */
  #refuse(error: ProtocolError): void {
    const exchange = this.#current;
    this.#owed = false;
    this.#keep = false;
    this.#refused = true;
    this.#input.clear();
    if (exchange !== undefined) {
      // The driver answers, as it knows whether a head has been sent.
      exchange.abort(error);
      if (this.closing === "open") this.closing = "destroy";
    } else if (error.statusHint === 0) {
      // The end of a response before it may still have to leave.
      this.closing = this.output.length > 0 ? "linger" : "destroy";
    } else {
      const body = plainBody(error.statusHint);
      this.writeHead(plainHead(error.statusHint, body.length));
      codec.encodeSendBodyChunk(this.output, body);
      codec.encodeEndResponse(this.output, false);
      this.closing = "linger";
    }
  }

  #endResponse(keep: boolean): void {
    const exchange = this.#current!;
    const reuse = keep && this.#keep && this.#served < this.#options.maxRequestsPerConnection;
    codec.encodeEndResponse(this.output, reuse);
    const owed = this.#owed;
    this.#current = undefined;
    this.#owed = false;
    this.progress++;
    // From a web server that keeps the rules nothing comes but a packet that is owed.
    if (!reuse) this.closing = owed || this.#refused || this.#input.length > 0 ? "linger" : "end";
    exchange.events.onFinished();
    if (!this.#receiving && this.#input.length > 0) this.#takeEarly();
  }

  /** Takes what came while a request ran, now that it is its turn. */
  #takeEarly(): void {
    try {
      this.receive(EMPTY);
    } catch (error) {
      this.#onRejected(error as ProtocolError);
    }
  }

  // What an exchange does on its connection:

  isCurrent(exchange: AjpExchange): boolean {
    return this.#current === exchange && this.closing === "open";
  }

  /** Asks for the next packet, of at most `most` bytes. */
  ask(most: number): void {
    if (this.#owed) return;
    if (!this.#receiving && this.#input.length > 0) {
      const error = rejection(400, "Cannot take a packet that nobody asked for", "ERR_AJP_UNEXPECTED_PACKET");
      this.#refuse(error);
      this.#onRejected(error);
      return;
    }
    this.#owed = true;
    this.progress++;
    codec.encodeGetBodyChunk(this.output, Math.min(this.#options.packetSize - wire.DATA_OVERHEAD, most));
  }

  writeHead(head: ResponseHead): void {
    const headers: codec.NameValue[] = head.contentLength < 0
      ? head.headers
      : [...head.headers, ["content-length", String(head.contentLength)]];
    codec.encodeSendHeaders(this.output, head.status, head.reason, headers, this.#options.packetSize);
  }

  writeBody(chunk: Uint8Array): void {
    const most = this.#options.packetSize - wire.BODY_CHUNK_OVERHEAD;
    if (chunk.length <= most) {
      codec.encodeSendBodyChunk(this.output, chunk);
      return;
    }
    for (let at = 0; at < chunk.length; at += most) {
      codec.encodeSendBodyChunk(this.output, chunk.subarray(at, at + most));
    }
  }

  endExchange(keep: boolean): void {
    if (this.#owed && keep) this.#current!.ending = true;
    else this.#endResponse(keep);
  }

  destroy(): void {
    this.#current = undefined;
    this.closing = "destroy";
  }
}

/** One request of an AJP connection. */
class AjpExchange implements Exchange {
  readonly head: RequestHead;
  events!: ExchangeEvents;
  /** The response is whole, and its End Response waits for the owed packet. */
  ending = false;
  readonly #machine: AjpServer;
  #received = 0;
  /** Data that came before it was wanted: at most the first packet of a body. */
  #held: Uint8Array | undefined;
  #wanted = false;
  #discarded = false;
  #bodyEnded: boolean;
  #aborted = false;
  /** Whether nothing has been sent since the last flush. */
  #flushed = true;

  constructor(machine: AjpServer, head: RequestHead) {
    this.#machine = machine;
    this.head = head;
    this.#bodyEnded = head.contentLength === 0;
  }

  pullBody(): void {
    if (!this.#machine.isCurrent(this) || this.#discarded || this.ending) return;
    if (this.#held !== undefined) {
      const held = this.#held;
      this.#held = undefined;
      this.#deliver(held);
    } else if (!this.#bodyEnded) {
      this.#wanted = true;
      this.#machine.ask(this.#remaining);
    }
  }

  discardBody(): void {
    this.#discarded = true;
    this.#held = undefined;
    this.#wanted = false;
  }

  sendHead(head: ResponseHead): void {
    if (!this.#machine.isCurrent(this)) return;
    this.#machine.writeHead(head);
    this.#flushed = false;
  }

  sendBody(chunk: Uint8Array): void {
    if (!this.#machine.isCurrent(this)) return;
    this.#machine.writeBody(chunk);
    this.#flushed = false;
  }

  flush(): void {
    if (this.#flushed || !this.#machine.isCurrent(this)) return;
    codec.encodeSendBodyChunk(this.#machine.output, EMPTY);
    this.#flushed = true;
  }

  log(): void {
    // AJP has no channel to the web server's log.
  }

  end(keep = true): void {
    if (!this.#machine.isCurrent(this) || this.ending) return;
    this.discardBody();
    this.#machine.endExchange(keep);
  }

  fail(): void {
    if (this.#machine.isCurrent(this)) this.#machine.destroy();
  }

  // What the machine tells its exchange:

  /** @returns false when the connection must not be used again */
  takeData(data: Uint8Array, maxBodyBytes: number): boolean {
    const { contentLength } = this.head;
    this.#received += data.length;
    const truncated = data.length === 0 && this.#received < contentLength;
    const overrun = contentLength >= 0 && this.#received > contentLength;
    if (this.#discarded) return !truncated && !overrun;
    if (truncated) {
      throw rejection(400, "The body is shorter than its Content-Length", "ERR_BODY_TRUNCATED");
    }
    if (overrun) throw rejection(400, "The body is longer than its Content-Length", "ERR_BODY_OVERRUN");
    if (this.#received > maxBodyBytes) {
      throw rejection(413, `The body is longer than ${maxBodyBytes} bytes`, "ERR_BODY_TOO_LARGE");
    }
    this.#bodyEnded = data.length === 0 || this.#received === contentLength;
    if (data.length === 0) this.events.onBodyEnd();
    else if (this.#wanted) this.#deliver(data);
    else this.#held = data;
    return true;
  }

  abort(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.discardBody();
    this.events.onAbort(error);
  }

  get #remaining(): number {
    return this.head.contentLength < 0 ? Infinity : this.head.contentLength - this.#received;
  }

  #deliver(data: Uint8Array): void {
    this.#wanted = false;
    this.events.onBody(data);
    if (this.#bodyEnded && !this.#discarded) this.events.onBodyEnd();
  }
}

const EMPTY = new Uint8Array(0);

/** Compares in a time that depends on the length of what was given, and on nothing else. */
function equalsSecret(given: string, secret: string): boolean {
  const a = encodeLatin1(given);
  const b = encodeLatin1(secret);
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i % b.length]!;
  return difference === 0;
}

function unexpected(message: string): ProtocolError {
  return new ProtocolError("ERR_AJP_UNEXPECTED_PACKET", message);
}
