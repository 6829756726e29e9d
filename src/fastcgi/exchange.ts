/**
 * One request of a FastCGI connection.
 *
 * | state            | PARAMS, n > 0 | PARAMS, n = 0          | STDIN, DATA       | ABORT_REQUEST      |
 * |------------------|---------------|------------------------|-------------------|--------------------|
 * | "reading-params" | collected     | handler → "running"    | error, or ignored | END_REQUEST → over |
 * | "running"        | error         | error                  | to their queues   | END_REQUEST → over |
 *
 * The handler starts at the end of PARAMS: some web servers send no STDIN at all, or hold its end back until they have
 * seen the response. DATA is for filters; any other request ignores it. "error" is the end of the connection, since the
 * web server and this side no longer agree on the state. What becomes of STDIN and DATA stands in `stream_queue.ts`.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import { encodeLatin1 } from "../bytes/latin1.ts";
import { concat } from "../bytes/std.ts";
import type { BodyEvents, Exchange, ExchangeData, ExchangeEvents } from "../connection/machine.ts";
import { ProtocolError, rejection } from "../errors.ts";
import type { RequestHead } from "../http/request_head.ts";
import type { ResponseHead } from "../http/response.ts";
import type { Role } from "../types.ts";
import * as wire from "./constants.ts";
import { writeLog } from "./response_writer.ts";
import type { StreamReceiver } from "./record_reader.ts";
import { type FileAbout, formatRoleHead, letsIn, type RoleRequest } from "./roles.ts";
import { type StreamHost, StreamQueue, type Waiter } from "./stream_queue.ts";

/** What a request needs of its connection. */
export interface FastCgiConnection {
  readonly output: ByteWriter;
  readonly options: {
    readonly maxParamsBytes: number;
    readonly maxBodyBytes: number;
    readonly maxBufferedBytes: number;
  };
  isActive(exchange: FastCgiExchange): boolean;
  /** The variables of a request are whole. */
  start(exchange: FastCgiExchange, params: Uint8Array): void;
  /** Answers a request that the handler has not seen. */
  reject(exchange: FastCgiExchange, error: ProtocolError, report?: boolean): void;
  /** A stream of a request is not what it should be, which its handler is told. */
  report(error: ProtocolError): void;
  waitFor(waiter: Waiter): void;
  stopWaiting(waiter: Waiter): void;
  setFull(stream: StreamQueue, full: boolean): void;
  writeHead(exchange: FastCgiExchange, head: ResponseHead): void;
  writeBody(exchange: FastCgiExchange, chunk: Uint8Array): void;
  endExchange(exchange: FastCgiExchange, keep: boolean): void;
  /** END_REQUEST alone: after an abort, or for a response that broke while other requests share the connection. */
  endAborted(exchange: FastCgiExchange, appStatus: number): void;
  failExchange(exchange: FastCgiExchange): void;
}

const EMPTY = new Uint8Array(0);
/** As much of an authorizer's page as Apache takes. */
const HELD_REFUSAL = 8192;

export class FastCgiExchange implements Exchange, StreamHost, StreamReceiver, Waiter {
  readonly waitsFor = "head";
  waitingSince = 0;
  head!: RequestHead;
  events!: ExchangeEvents;
  data?: FilterFile;
  readonly requestId: number;
  readonly role: Role;
  state: "reading-params" | "running" = "reading-params";
  /** Whether the web server has said that no more of these comes. */
  stdinEnded = false;
  dataEnded = false;
  readonly #connection: FastCgiConnection;
  /** PARAMS so far: a view while there is one piece, then a copy that grows. */
  #params: Uint8Array = EMPTY;
  #paramsLength = 0;
  #stdin: StreamQueue | undefined;
  #bodiless = false;
  /** The beginning of an authorizer's refusal. */
  #held: Uint8Array[] | undefined;
  #heldLength = 0;
  #aborted = false;

  constructor(connection: FastCgiConnection, requestId: number, role: Role) {
    this.#connection = connection;
    this.requestId = requestId;
    this.role = role;
    this.dataEnded = role !== "filter";
  }

  pullBody(): void {
    this.#stdin?.pull();
  }

  discardBody(): void {
    this.#stdin?.discard();
  }

  sendHead(head: ResponseHead): void {
    if (!this.isActive) return;
    this.#bodiless = letsIn(this.role, head.status);
    if (this.role === "authorizer" && !this.#bodiless) {
      // Apache shows only what of the page comes in one record with the head.
      this.#held = [encodeLatin1(formatRoleHead(this.role, head))];
    } else {
      this.#connection.writeHead(this, head);
    }
  }

  sendBody(chunk: Uint8Array): void {
    if (!this.isActive || this.#bodiless) return;
    if (this.#held === undefined) {
      this.#connection.writeBody(this, chunk);
      return;
    }
    this.#held.push(chunk);
    this.#heldLength += chunk.length;
    if (this.#heldLength >= HELD_REFUSAL) this.#sendHeld();
  }

  flush(): void {
    // A record is all that FastCGI has; whether it goes on at once is the web server's setting.
  }

  log(text: string): void {
    if (this.isActive) writeLog(this.#connection.output, this.requestId, text);
  }

  end(keep = true): void {
    if (!this.isActive) return;
    this.#sendHeld();
    this.#connection.endExchange(this, keep);
    this.events.onFinished();
  }

  fail(): void {
    if (!this.isActive) return;
    // A web server may take an end without any head for a 200.
    this.#sendHeld();
    this.#connection.failExchange(this);
  }

  // What the connection tells its exchange:

  begin({ head, file }: RoleRequest): void {
    this.head = head;
    this.state = "running";
    this.#params = EMPTY;
    this.#stdin = new StreamQueue(this, this, {
      length: head.contentLength,
      saidBy: "CONTENT_LENGTH",
      most: this.#connection.options.maxBodyBytes,
    });
    if (file !== undefined) this.data = new FilterFile(this, file);
  }

  takeStream(type: number, piece: Uint8Array): void {
    if (type === wire.PARAMS) this.#takeParams(piece);
    else if (type === wire.STDIN) this.#stdin?.take(piece);
    else this.data?.stream.take(piece);
  }

  takeStreamEnd(type: number): void {
    if (type === wire.PARAMS) {
      this.#connection.start(this, this.#params.subarray(0, this.#paramsLength));
    } else if (type === wire.STDIN) {
      this.stdinEnded = true;
      this.#stdin?.takeEnd();
    } else {
      this.dataEnded = true;
      this.data?.stream.takeEnd();
    }
  }

  abortByPeer(): void {
    this.#connection.endAborted(this, 0);
    this.abort(new ProtocolError("ERR_ABORTED", "The web server aborted the request"));
  }

  abort(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#aborted = true;
    const started = this.state !== "reading-params";
    this.discardStreams();
    if (started) this.events.onAbort(error);
  }

  /** Nothing more of it is wanted. */
  discardStreams(): void {
    this.#stdin?.discard();
    this.data?.stream.discard();
  }

  /** PARAMS did not come in time. */
  onLate(error: ProtocolError, report: boolean): void {
    this.#connection.reject(this, error, report);
  }

  /** Whether it waits for one of its streams while the other, unread, is what stops the reading. */
  get stalled(): boolean {
    const stdin = this.#stdin;
    const data = this.data?.stream;
    if (stdin === undefined || data === undefined) return false;
    return (stdin.full && data.wanted) || (data.full && stdin.wanted);
  }

  // What the streams need:

  get isActive(): boolean {
    return this.#connection.isActive(this);
  }

  get maxBufferedBytes(): number {
    return this.#connection.options.maxBufferedBytes;
  }

  waitFor(waiter: Waiter): void {
    this.#connection.waitFor(waiter);
  }

  stopWaiting(waiter: Waiter): void {
    this.#connection.stopWaiting(waiter);
  }

  setFull(stream: StreamQueue, full: boolean): void {
    this.#connection.setFull(stream, full);
  }

  refuse(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#connection.report(error);
    this.abort(error);
  }

  #sendHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#connection.writeBody(this, concat(held));
  }

  #takeParams(piece: Uint8Array): void {
    const length = this.#paramsLength + piece.length;
    const { maxParamsBytes } = this.#connection.options;
    if (length > maxParamsBytes) {
      const message = `Cannot take more than ${maxParamsBytes} bytes of variables`;
      this.#connection.reject(this, rejection(431, message, "ERR_HEADERS_TOO_LARGE"));
      return;
    }
    if (this.#paramsLength === 0) {
      this.#params = piece;
    } else {
      if (length > this.#params.length) {
        const grown = new Uint8Array(Math.max(length, 2 * this.#params.length));
        grown.set(this.#params.subarray(0, this.#paramsLength));
        this.#params = grown;
      }
      this.#params.set(piece, this.#paramsLength);
    }
    this.#paramsLength = length;
  }
}

/** DATA: the file that a filter is given. It comes from the web server's own disk, so that only its length bounds it. */
class FilterFile implements ExchangeData {
  events!: BodyEvents;
  readonly length: number;
  readonly lastModified: number;
  readonly stream: StreamQueue;

  constructor(host: StreamHost, { length, lastModified }: FileAbout) {
    this.length = length;
    this.lastModified = lastModified;
    this.stream = new StreamQueue(host, this, { length, saidBy: "FCGI_DATA_LENGTH", most: Infinity });
  }

  pullBody(): void {
    this.stream.pull();
  }

  discardBody(): void {
    this.stream.discard();
  }
}
