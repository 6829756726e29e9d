/**
 * FastCGI from the application's side, as a machine without I/O.
 *
 * A connection is a sequence of records; records of several requests may alternate on it (multiplexing). This file is
 * the connection: which requests may begin, how they end, and how it ends with them. What goes on within a request
 * stands in `exchange.ts`, within one of its streams in `stream_queue.ts`, and what its role makes of it in `roles.ts`.
 *
 * | BEGIN_REQUEST                                    | answer                        |
 * |--------------------------------------------------|-------------------------------|
 * | of an id that runs                               | the connection is destroyed   |
 * | of a role that is not served                     | END_REQUEST, UNKNOWN_ROLE (*) |
 * | while another runs, and `multiplex` is false     | END_REQUEST, CANT_MPX_CONN (*)|
 * | over `maxConcurrentRequests`                     | 503                           |
 * | over `maxRequestsPerConnection`, or in a drain,  | 503, as requests that overlap |
 * | while another runs                               | would keep the connection     |
 * | any other                                        | the request begins            |
 *
 * (*) To an authorizer's request after a 403, as some would take a refusal without a response for a 200.
 *
 * END_REQUEST, sent, ends a request; its id may then be used again. Records for an id that does not run are ignored:
 * they are late. A full server answers 503 and not OVERLOADED, which most web servers show as an empty 200.
 *
 * The protocol has no flow control. What arrives before the handler wants it is queued up to a bound; over it the
 * connection is not read until that handler has read on, or has ended. Since that holds up all requests of a connection,
 * one whose web server is seen to multiplex may hold some times as much in all before it comes to that. A handler that
 * waits for one of its streams while the other stops the reading has the time of a body to think better of it.
 *
 * @module
 */

import { ByteWriter } from "../bytes/byte_writer.ts";
import type { MetaVariableLimits } from "../cgi/meta_variables.ts";
import type { Closing, OnRejected, OnRequest, ServerMachine, Waiting } from "../connection/machine.ts";
import { ProtocolError, rejection } from "../errors.ts";
import type { ResponseHead } from "../http/response.ts";
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";
import { type FastCgiConnection, FastCgiExchange } from "./exchange.ts";
import { answerValues, asksForMultiplexing, decodeNames } from "./management.ts";
import { decodeNameValuePairs } from "./name_value.ts";
import { type RecordHandler, RecordReader } from "./record_reader.ts";
import {
  writeBrokenEnd,
  writePlainBody,
  writePlainResponse,
  writeResponseEnd,
  writeResponseHead,
} from "./response_writer.ts";
import { formatRoleHead, roleOf, type RoleRequest, toRoleRequest } from "./roles.ts";
import type { StreamQueue, Waiter } from "./stream_queue.ts";

/** What the machine must be told. */
export interface FastCgiServerOptions extends MetaVariableLimits {
  maxParamsBytes: number;
  maxParamsCount: number;
  maxBufferedBytes: number;
  maxConnections: number;
  maxConcurrentRequests: number;
  maxActiveRequests: number;
  /** Whether there is a handler for the Authorizer role. */
  acceptsAuthorizer: boolean;
  multiplex: boolean;
  /** Infinity for no limit. */
  maxRequestsPerConnection: number;
}

/** How many times `maxBufferedBytes` a connection may hold where one request's stop would be that of others. */
const MULTIPLEXED_BUFFERS = 16;

/** The application's side of one FastCGI connection. */
export class FastCgiServer implements ServerMachine, FastCgiConnection, RecordHandler {
  readonly protocol = "fastcgi";
  readonly output: ByteWriter = new ByteWriter();
  closing: Closing = "open";
  progress = 0;
  readonly options: FastCgiServerOptions;
  readonly #onRequest: OnRequest;
  readonly #onRejected: OnRejected;
  readonly #reader = new RecordReader(this);
  readonly #requests = new Map<number, FastCgiExchange>();
  /** What the web server must send, that first which is awaited longest. */
  readonly #waiting = new Set<Waiter>();
  /** Streams whose queue is over its bound. */
  readonly #full = new Set<StreamQueue>();
  /** Whether the web server has asked for multiplexing, or has begun a request while another ran. */
  #multiplexed = false;
  #keep = true;
  #draining = false;
  /** Requests that have ended before their STDIN did, and before their DATA did. */
  #openStdin = 0;
  #openData = 0;
  #served = 0;

  constructor(options: FastCgiServerOptions, onRequest: OnRequest, onRejected: OnRejected) {
    this.options = options;
    this.#onRequest = onRequest;
    this.#onRejected = onRejected;
  }

  get active(): number {
    return this.#requests.size;
  }

  get wantsInput(): boolean {
    if (this.#full.size === 0) return true;
    if (!this.#multiplexed) return false;
    let queued = 0;
    for (const stream of this.#full) queued += stream.queued;
    return queued <= MULTIPLEXED_BUFFERS * this.options.maxBufferedBytes;
  }

  get waiting(): Waiting {
    if (this.closing !== "open") return "nothing";
    // What is not read cannot be late, unless who waits for it stops the reading itself.
    if (!this.wantsInput) return this.#stalled.length > 0 ? "body" : "nothing";
    const [first] = this.#waiting;
    if (first !== undefined) return first.waitsFor;
    if (this.#requests.size > 0) return "nothing";
    // Nobody opens a FastCGI connection ahead of its first request.
    return this.#served === 0 || !this.#reader.idle ? "head" : "request";
  }

  receive(chunk: Uint8Array): void {
    if (this.closing !== "open") return;
    this.#reader.push(chunk);
    try {
      while (this.closing === "open" && this.#reader.step()) {
        // The rest of a body that nobody wanted may take its time.
        if (this.#requests.size === 0 && this.#served > 0) this.progress++;
      }
      if (this.#draining) this.#closeIfIdle();
    } catch (error) {
      this.#refuse(error as ProtocolError);
      throw error;
    }
  }

  /** No web server half-closes a connection on which it still waits for an answer. */
  receiveFin(): boolean {
    return false;
  }

  receiveEnd(error: ProtocolError): void {
    if (this.closing === "open") this.closing = "destroy";
    this.#abortAll(error);
  }

  timeout(): ProtocolError {
    if (this.closing === "open" && !this.wantsInput) return this.#endStalled();
    const waiting = this.waiting;
    const error = new ProtocolError("ERR_TIMEOUT", `The web server did not send the ${waiting} in time`, {
      statusHint: 408,
    });
    const [first] = this.#waiting;
    if (first === undefined) {
      this.closing = waiting === "request" ? "end" : "destroy";
      return error;
    }
    this.#keep = false;
    // Those that waited already when this time began are late as well; else each would have the time of all before it.
    const { progress } = this;
    const { waitsFor } = first;
    const late = [...this.#waiting].filter((it) =>
      it === first || (it.waitsFor === waitsFor && it.waitingSince < progress)
    );
    for (const waiter of late) if (this.#waiting.has(waiter)) waiter.onLate(error, waiter !== first);
    return error;
  }

  drain(): void {
    this.#keep = false;
    this.#draining = true;
    this.#closeIfIdle();
  }

  // What the reader tells:

  /** Checks the header of a record that is part of a stream, and returns the request that its content is for. */
  beginStreamRecord(record: codec.RecordHeader): FastCgiExchange | undefined {
    const { type, requestId } = record;
    if (requestId === wire.MANAGEMENT_ID) {
      if (type <= wire.DATA && type >= wire.BEGIN_REQUEST) {
        throw new ProtocolError("ERR_FASTCGI_RECORD", `Cannot take a record of type ${type} for request 0`);
      }
      // Results are for clients; of any other type we say that we do not know it (specification section 4.2).
      if (type !== wire.GET_VALUES_RESULT && type !== wire.UNKNOWN_TYPE) codec.encodeUnknownType(this.output, type);
      return undefined;
    }
    // Late records for a request that has ended are normal.
    const exchange = this.#requests.get(requestId);
    if (exchange === undefined) {
      if (record.contentLength === 0) this.#takeLateEnd(type);
      return undefined;
    }
    const { state } = exchange;
    switch (type) {
      case wire.PARAMS:
        if (state === "reading-params") return exchange;
        throw unexpected(type, state);
      case wire.STDIN:
      case wire.DATA:
        if (state === "reading-params" && record.contentLength > 0) throw unexpected(type, state);
        return exchange;
      case wire.END_REQUEST:
      case wire.STDOUT:
      case wire.STDERR:
      case wire.GET_VALUES_RESULT:
      case wire.UNKNOWN_TYPE:
        throw unexpected(type, state);
      default:
        return undefined;
    }
  }

  takeDiscrete(record: codec.RecordHeader, content: Uint8Array): void {
    switch (record.type) {
      case wire.BEGIN_REQUEST:
        this.#begin(record.requestId, codec.decodeBeginRequest(content));
        break;
      case wire.ABORT_REQUEST:
        this.#requests.get(record.requestId)?.abortByPeer();
        break;
      default: {
        const names = decodeNames(content);
        if (this.options.multiplex && asksForMultiplexing(names)) this.#multiplexed = true;
        answerValues(this.output, names, this.options);
      }
    }
  }

  #begin(requestId: number, { role: code, keepConn }: codec.BeginRequest): void {
    if (this.#requests.has(requestId)) {
      throw new ProtocolError("ERR_FASTCGI_RECORD", `Cannot begin request ${requestId}: it runs`);
    }
    const { maxConcurrentRequests, maxRequestsPerConnection, acceptsAuthorizer, multiplex } = this.options;
    const shared = this.#requests.size > 0;
    this.#served++;
    if (shared && multiplex) this.#multiplexed = true;
    if (!keepConn || this.#served >= maxRequestsPerConnection) this.#keep = false;
    const role = roleOf(code, acceptsAuthorizer);
    if (role === undefined) {
      this.#endUnbegun(requestId, code, wire.UNKNOWN_ROLE);
      return;
    }
    if (shared && !multiplex) {
      this.#endUnbegun(requestId, code, wire.CANT_MPX_CONN);
      return;
    }
    const exchange = new FastCgiExchange(this, requestId, role);
    let refusal: ProtocolError | undefined;
    if (this.#requests.size >= maxConcurrentRequests) {
      refusal = rejection(503, "Cannot take more requests at once on a connection", "ERR_OVERLOADED");
    } else if (shared && this.#served > maxRequestsPerConnection) {
      refusal = rejection(503, "Cannot take more requests on a connection", "ERR_OVERLOADED");
    } else if (shared && this.#draining) {
      refusal = rejection(503, "Cannot take a request while the server ends", "ERR_SHUTDOWN");
    }
    if (refusal !== undefined) {
      this.#countOpen(exchange);
      this.reject(exchange, refusal);
      return;
    }
    this.#requests.set(requestId, exchange);
    this.waitFor(exchange);
  }

  /** Ends a request that is not begun, in the protocol's own words. */
  #endUnbegun(requestId: number, role: number, protocolStatus: number): void {
    this.#openStdin++;
    // Without a response lighttpd would take the refusal for a 200, and let the request in.
    if (role === wire.ROLE_AUTHORIZER) writePlainBody(this.output, requestId, 403);
    codec.encodeEndRequest(this.output, requestId, { appStatus: 0, protocolStatus });
    this.#closeIfDone();
  }

  get #stalled(): FastCgiExchange[] {
    return [...this.#requests.values()].filter((exchange) => exchange.stalled);
  }

  #endStalled(): ProtocolError {
    const message = "The handler waits for one of its two streams and does not read the other, which comes first";
    const error = new ProtocolError("ERR_TIMEOUT", message, { initiator: "handler", statusHint: 500 });
    for (const exchange of this.#stalled) exchange.abort(error);
    return error;
  }

  #refuse(error: ProtocolError): void {
    this.closing = "destroy";
    this.#reader.clear();
    this.#abortAll(error);
  }

  #abortAll(error: ProtocolError): void {
    const exchanges = [...this.#requests.values()];
    this.#requests.clear();
    this.#waiting.clear();
    this.#full.clear();
    // Whatever the error hints, no answer is possible any more.
    const final = error.statusHint === 0 ? error : new ProtocolError(error.code, error.message, { cause: error });
    for (const exchange of exchanges) exchange.abort(final);
  }

  #forget(exchange: FastCgiExchange): void {
    if (this.#requests.get(exchange.requestId) === exchange) {
      this.#requests.delete(exchange.requestId);
      this.#countOpen(exchange);
      this.stopWaiting(exchange);
      exchange.discardStreams();
    }
    this.#reader.forget(exchange);
    this.#closeIfDone();
  }

  #countOpen(exchange: FastCgiExchange): void {
    if (!exchange.stdinEnded) this.#openStdin++;
    if (!exchange.dataEnded) this.#openData++;
  }

  #takeLateEnd(type: number): void {
    if (type === wire.STDIN && this.#openStdin > 0) this.#openStdin--;
    if (type === wire.DATA && this.#openData > 0) this.#openData--;
  }

  /** Closes unless something runs or has begun to come in, which is then taken. */
  #closeIfIdle(): void {
    if (this.#reader.idle) this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#keep && this.#requests.size === 0 && this.closing === "open") {
      this.closing = this.#openStdin + this.#openData > 0 ? "linger" : "end";
    }
  }

  // What an exchange does on its connection:

  isActive(exchange: FastCgiExchange): boolean {
    return this.closing === "open" && this.#requests.get(exchange.requestId) === exchange;
  }

  start(exchange: FastCgiExchange, params: Uint8Array): void {
    this.stopWaiting(exchange);
    let request: RoleRequest;
    try {
      const pairs = decodeNameValuePairs(params, this.options.maxParamsCount);
      request = toRoleRequest(exchange.role, pairs, this.options);
    } catch (error) {
      // The records are sound, so only this request is refused.
      this.reject(exchange, error as ProtocolError);
      return;
    }
    exchange.begin(request);
    this.#onRequest(exchange);
  }

  reject(exchange: FastCgiExchange, error: ProtocolError, report = true): void {
    writePlainResponse(this.output, exchange.requestId, error.statusHint);
    this.#forget(exchange);
    if (report) this.#onRejected(error);
  }

  report(error: ProtocolError): void {
    this.#onRejected(error);
  }

  waitFor(waiter: Waiter): void {
    if (this.#waiting.has(waiter)) return;
    this.#waiting.add(waiter);
    if (this.#waiting.size === 1) this.progress++;
    waiter.waitingSince = this.progress;
  }

  stopWaiting(waiter: Waiter): void {
    const [first] = this.#waiting;
    if (this.#waiting.delete(waiter) && first === waiter) this.progress++;
  }

  setFull(stream: StreamQueue, full: boolean): void {
    if (full) this.#full.add(stream);
    else this.#full.delete(stream);
  }

  writeHead(exchange: FastCgiExchange, head: ResponseHead): void {
    writeResponseHead(this.output, exchange.requestId, formatRoleHead(exchange.role, head));
  }

  writeBody(exchange: FastCgiExchange, chunk: Uint8Array): void {
    const most = this.#requests.size > 1 ? wire.SHARED_CONTENT : wire.MAX_SENT_CONTENT;
    codec.encodeStream(this.output, wire.STDOUT, exchange.requestId, chunk, most);
  }

  endExchange(exchange: FastCgiExchange, keep: boolean): void {
    if (!keep) this.#keep = false;
    writeResponseEnd(this.output, exchange.requestId);
    this.#forget(exchange);
  }

  endAborted(exchange: FastCgiExchange, appStatus: number): void {
    codec.encodeEndRequest(this.output, exchange.requestId, { appStatus, protocolStatus: wire.REQUEST_COMPLETE });
    this.#forget(exchange);
  }

  failExchange(exchange: FastCgiExchange): void {
    // Web servers ignore appStatus and would take the cut response for a whole one; only a closed connection says it.
    if (this.#requests.size === 1) {
      this.#requests.clear();
      exchange.discardStreams();
      writeBrokenEnd(this.output, exchange.requestId);
      this.closing = "end"; // not "destroy", which would lose what was said on STDERR
    } else {
      this.endAborted(exchange, 1);
    }
  }
}

function unexpected(type: number, state: FastCgiExchange["state"]): ProtocolError {
  return new ProtocolError("ERR_FASTCGI_UNEXPECTED_RECORD", `Cannot take a record of type ${type} while ${state}`);
}
