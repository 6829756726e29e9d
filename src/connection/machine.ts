/**
 * The interface between a protocol's machine and its driver: bytes in, events out; commands in, bytes out. Types only.
 *
 * A machine is synchronous and does no I/O. The driver (`server/serve_connection.ts`) gives it what it read with
 * `receive()`, and after that, and after each command, sends what stands in `output`. A machine throws nothing but
 * ProtocolError; when it throws, it has put the answer, if one is possible, in `output`, and `closing` says how the
 * connection ends.
 *
 * The body of a request is pulled: one `pullBody()` is answered with one `onBody()`, or with `onBodyEnd()` or
 * `onAbort()`. What arrives before it is wanted waits in the machine, within the machine's bound.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import type { RequestHead } from "../http/request_head.ts";
import type { ResponseHead } from "../http/response.ts";
import type { ProtocolError } from "../errors.ts";
import type { ProtocolName } from "../types.ts";

/** What the driver is told of a body. */
export interface BodyEvents {
  /** The piece of the body that `pullBody()` asked for. Never empty. */
  onBody(chunk: Uint8Array): void;
  /** The body is whole. Comes once, with or without a pull. */
  onBodyEnd(): void;
}

/** What the driver is told of one request. */
export interface ExchangeEvents extends BodyEvents {
  /**
   * The request is over without its response: the web server went away or aborted, or the body broke. Comes at most
   * once. Where `error.statusHint` is not 0 and no head has been sent, the driver answers with that status.
   */
  onAbort(error: ProtocolError): void;
  /** The last byte of the response is in `output`. */
  onFinished(): void;
}

/** The second body of a request in FastCGI's Filter role. It ends or breaks with its exchange. */
export interface ExchangeData {
  /** Bytes, or -1 where the web server did not say it. */
  readonly length: number;
  /** Seconds since 1970, or -1. */
  readonly lastModified: number;
  /** Set by the driver as soon as it is given the exchange. */
  events: BodyEvents;
  pullBody(): void;
  discardBody(): void;
}

/** One request and its response. Commands that come after the end of the exchange are ignored. */
export interface Exchange {
  readonly head: RequestHead;
  /** Set by the driver as soon as it is given the exchange. */
  events: ExchangeEvents;
  /** Only in the Filter role. */
  readonly data?: ExchangeData;
  /** Asks for one piece of the body. */
  pullBody(): void;
  /** What is left of the body is not wanted. */
  discardBody(): void;
  /**
   * Begins the response.
   *
   * @throws {ProtocolError} with initiator "handler" when the head cannot be sent; another may be tried.
   */
  sendHead(head: ResponseHead): void;
  /** Sends a piece of the response body, which must not be empty. */
  sendBody(chunk: Uint8Array): void;
  /** Asks the web server to pass on what it has. */
  flush(): void;
  /** Sends a text to the web server's error log, where the protocol can. */
  log(text: string): void;
  /** The response is whole. `keep: false` ends the connection with it. */
  end(keep?: boolean): void;
  /** The response broke after its head: the web server must see that it is not whole. */
  fail(): void;
}

/** What the connection waits for, which says which time limit runs. */
export type Waiting = "nothing" | "request" | "head" | "body";

/**
 * How a connection goes on once `output` has been sent: "end" closes it, "linger" sends FIN and reads on for a while
 * since something may still come, "destroy" drops it at once and `output` with it, "reset" does so in a way that the
 * web server must notice.
 */
export type Closing = "open" | "end" | "linger" | "destroy" | "reset";

/** One connection's conversation, seen from the application's side. */
export interface ServerMachine {
  readonly protocol: ProtocolName;
  /** What is to be sent. */
  readonly output: ByteWriter;
  /** False while nothing more should be read (backpressure). */
  readonly wantsInput: boolean;
  readonly closing: Closing;
  readonly waiting: Waiting;
  /** Changes whenever the time limit that `waiting` names starts anew. */
  readonly progress: number;
  /** Requests in progress. */
  readonly active: number;
  /**
   * Takes what was read.
   *
   * @throws {ProtocolError} and nothing else, whatever the bytes.
   */
  receive(chunk: Uint8Array): void;
  /**
   * The web server has sent its last byte, but may still read.
   *
   * @returns whether the conversation goes on without further input; else `receiveEnd()` follows
   */
  receiveFin(): boolean;
  /** Nothing more will come and nothing can be answered, for the reason in `error`: what runs is aborted. */
  receiveEnd(error: ProtocolError): void;
  /** The time limit that `waiting` names has passed. Returns what to report, if `OnRejected` has not been told. */
  timeout(): ProtocolError | undefined;
  /** No further request is taken; what runs goes on. */
  drain(): void;
}

/** Called by a machine with each new request. */
export type OnRequest = (exchange: Exchange) => void;

/** Called by a machine with an error of one request that `receive()` does not throw, since the connection goes on. */
export type OnRejected = (error: ProtocolError) => void;
