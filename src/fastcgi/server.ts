/**
 * FastCGI from the application's side, as a machine without I/O.
 *
 * A connection is a sequence of records; records of several requests may alternate on it (multiplexing). Each request
 * goes its own way:
 *
 * | state            | PARAMS, n > 0 | PARAMS, n = 0          | STDIN, n > 0      | STDIN, n = 0  | ABORT_REQUEST       |
 * |------------------|---------------|------------------------|-------------------|---------------|---------------------|
 * | none             | ignored       | ignored                | ignored           | ignored       | ignored             |
 * | "reading-params" | collected     | handler → reading-body | error             | ignored       | END_REQUEST → none  |
 * | "reading-body"   | error         | error                  | queued            | → body-ended  | END_REQUEST → none  |
 * | "body-ended"     | error         | error                  | ignored           | ignored       | END_REQUEST → none  |
 *
 * BEGIN_REQUEST makes a request, and END_REQUEST, sent, ends it; its id may then be used again. The handler starts at
 * the end of PARAMS: some web servers send no STDIN at all, or hold its end back until they have seen the response.
 * DATA is for filters: before the end of PARAMS it is an error like STDIN, after it it is ignored.
 *
 * The protocol has no flow control. What arrives before the handler wants it is queued up to a bound; over it the
 * connection is not read until that handler has read on, or has ended. Since that holds up all requests of a connection,
 * one whose web server is seen to multiplex may hold some times as much in all before it comes to that.
 *
 * "error" is the end of the connection, since the web server and this side no longer agree on the state.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import { ByteWriter } from "../bytes/byte_writer.ts";
import { encodeLatin1 } from "../bytes/latin1.ts";
import { concat } from "../bytes/std.ts";
import { type MetaVariableLimits, toRequestHead } from "../cgi/meta_variables.ts";
import { formatResponseHead } from "../cgi/response_head.ts";
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
import type { HeaderPair, RequestHead } from "../http/request_head.ts";
import { plainBody, plainHead, type ResponseHead } from "../http/response.ts";
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";
import { decodeNameValuePairs, encodeNameValuePair, type NameValuePair, nameValuePairSize } from "./name_value.ts";

/** What the machine must be told. */
export interface FastCgiServerOptions extends MetaVariableLimits {
  maxParamsBytes: number;
  maxParamsCount: number;
  maxBufferedBytes: number;
  maxConnections: number;
  maxConcurrentRequests: number;
  /** Whether there is a handler for the Authorizer role. */
  acceptsAuthorizer: boolean;
  multiplex: boolean;
  /** Infinity for no limit. */
  maxRequestsPerConnection: number;
}

/** What a queued piece costs besides its bytes, so that a flood of one-byte records is bounded like any other. */
const PIECE_COST = 128;
/** How many times `maxBufferedBytes` a connection may hold where one request's stop would be that of others. */
const MULTIPLEXED_BUFFERS = 16;
/** The most that one `onBody()` joins from small pieces. */
const JOINED_PIECES = 65536;
/** A queued piece that is a smaller part than this of the chunk that it came in is copied, to let the chunk go. */
const MIN_PART = 1 / 8;
/** Any moment may bring room for another request. */
const RETRY_AFTER: HeaderPair = ["retry-after", "1"];

/** The application's side of one FastCGI connection. */
export class FastCgiServer implements ServerMachine {
  readonly protocol = "fastcgi";
  readonly output: ByteWriter = new ByteWriter();
  closing: Closing = "open";
  progress = 0;
  readonly options: FastCgiServerOptions;
  readonly #onRequest: OnRequest;
  readonly #onRejected: OnRejected;
  readonly #input = new ByteQueue();
  readonly #requests = new Map<number, FastCgiExchange>();
  /** Requests for which the web server must send something, those that have waited longest first. */
  readonly #waiting = new Set<FastCgiExchange>();
  /** Requests whose queue is over its bound. */
  readonly #full = new Set<FastCgiExchange>();
  /** The record that is being read; what is left of its content goes to `#receiver`, or nowhere. */
  #record: codec.RecordHeader | undefined;
  #begun = false;
  #contentLeft = 0;
  #paddingLeft = 0;
  #receiver: FastCgiExchange | undefined;
  /** Whether the web server has asked for multiplexing, or has begun a request while another ran. */
  #multiplexed = false;
  #keep = true;
  #draining = false;
  /** Requests that have ended before their STDIN did. */
  #unfinished = 0;
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
    for (const exchange of this.#full) queued += exchange.queued;
    return queued <= MULTIPLEXED_BUFFERS * this.options.maxBufferedBytes;
  }

  get waiting(): Waiting {
    // What is not read cannot be late.
    if (this.closing !== "open" || !this.wantsInput) return "nothing";
    const [first] = this.#waiting;
    if (first !== undefined) return first.state === "reading-params" ? "head" : "body";
    if (this.#requests.size > 0) return "nothing";
    // Nobody opens a FastCGI connection ahead of its first request.
    return this.#served === 0 || this.#record !== undefined || this.#input.length > 0 ? "head" : "request";
  }

  receive(chunk: Uint8Array): void {
    if (this.closing !== "open") return;
    this.#input.push(chunk);
    try {
      while (this.closing === "open" && this.#step());
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
    const { state } = first;
    const late = [...this.#waiting].filter((it) => it === first || (it.state === state && it.waitingSince < progress));
    for (const exchange of late) {
      if (!this.isActive(exchange)) continue;
      if (state === "reading-params") this.#reject(exchange.requestId, error, exchange !== first);
      else exchange.abort(error);
    }
    return error;
  }

  drain(): void {
    this.#keep = false;
    this.#draining = true;
    this.#closeIfIdle();
  }

  /** @returns whether it came any further */
  #step(): boolean {
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
      // Discrete records are taken whole, streams as they come.
      if (isDiscrete(record)) {
        if (input.length < record.contentLength) return false;
        this.#begun = true;
        this.#contentLeft = 0;
        this.#takeDiscrete(record, input.take(record.contentLength));
      } else {
        this.#begun = true;
        this.#receiver = this.#beginStreamRecord(record);
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
    // The rest of a body that nobody wanted may take its time.
    if (this.#requests.size === 0 && this.#served > 0) this.progress++;
    return true;
  }

  /** Checks the header of a record that is part of a stream, and returns the request that its content is for. */
  #beginStreamRecord(record: codec.RecordHeader): FastCgiExchange | undefined {
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
      if (type === wire.STDIN && record.contentLength === 0 && this.#unfinished > 0) this.#unfinished--;
      return undefined;
    }
    const { state } = exchange;
    switch (type) {
      case wire.PARAMS:
        if (state === "reading-params") return exchange;
        throw unexpected(type, state);
      case wire.STDIN:
        if (state === "reading-params" && record.contentLength > 0) throw unexpected(type, state);
        return exchange;
      case wire.DATA:
        if (state === "reading-params" && record.contentLength > 0) throw unexpected(type, state);
        return undefined;
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

  #takeDiscrete(record: codec.RecordHeader, content: Uint8Array): void {
    switch (record.type) {
      case wire.BEGIN_REQUEST:
        this.#begin(record.requestId, codec.decodeBeginRequest(content));
        break;
      case wire.ABORT_REQUEST:
        this.#requests.get(record.requestId)?.abortByPeer();
        break;
      default:
        this.#answerGetValues(content);
    }
  }

  #begin(requestId: number, { role, keepConn }: codec.BeginRequest): void {
    if (this.#requests.has(requestId)) {
      throw new ProtocolError("ERR_FASTCGI_RECORD", `Cannot begin request ${requestId}: it runs`);
    }
    this.#served++;
    if (this.#requests.size > 0) this.#multiplexed = true;
    if (!keepConn || this.#served >= this.options.maxRequestsPerConnection) this.#keep = false;
    if (role !== wire.ROLE_RESPONDER) {
      this.#unfinished++;
      codec.encodeEndRequest(this.output, requestId, { appStatus: 0, protocolStatus: wire.UNKNOWN_ROLE });
      this.#closeIfDone();
      return;
    }
    if (this.#requests.size >= this.options.maxConcurrentRequests) {
      this.#unfinished++;
      this.#reject(requestId, rejection(503, "Cannot take more requests at once on a connection", "ERR_OVERLOADED"));
      return;
    }
    if (this.#draining && this.#requests.size > 0) {
      // Requests that overlap would keep the connection for ever.
      this.#unfinished++;
      this.#reject(requestId, rejection(503, "Cannot take a request while the server ends", "ERR_SHUTDOWN"));
      return;
    }
    const exchange = new FastCgiExchange(this, requestId);
    this.#requests.set(requestId, exchange);
    this.waitFor(exchange);
  }

  /** Section 4.1: those of the names asked for that are known, with values that are true. */
  #answerGetValues(content: Uint8Array): void {
    const known: Record<string, string> = {
      [wire.MAX_CONNS_NAME]: String(this.options.maxConnections),
      // HAProxy takes it as the limit of this connection.
      [wire.MAX_REQS_NAME]: String(this.options.maxConcurrentRequests),
      [wire.MPXS_CONNS_NAME]: "1",
    };
    const pairs: NameValuePair[] = [];
    try {
      decodeNameValuePairs(content, Infinity, pairs);
    } catch {
      // A pair that runs over its record asks for nothing.
    }
    if (pairs.some(([name]) => name === wire.MPXS_CONNS_NAME)) this.#multiplexed = true;
    const asked = Object.keys(known).filter((known) => pairs.some(([name]) => name === known));
    let length = 0;
    for (const name of asked) length += nameValuePairSize(name, known[name]!);
    codec.encodeRecordHeader(this.output, wire.GET_VALUES_RESULT, wire.MANAGEMENT_ID, length);
    for (const name of asked) encodeNameValuePair(this.output, name, known[name]!);
  }

  #refuse(error: ProtocolError): void {
    this.closing = "destroy";
    this.#input.clear();
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

  /** Answers a request that the handler never sees. */
  #reject(requestId: number, error: ProtocolError, report = true): void {
    const body = plainBody(error.statusHint);
    const more: HeaderPair[] = error.statusHint === 503 ? [RETRY_AFTER] : [];
    this.writeHead(requestId, plainHead(error.statusHint, body.length, more));
    this.writeBody(requestId, body);
    this.#writeEnd(requestId, false);
    this.#forget(requestId);
    if (report) this.#onRejected(error);
  }

  #forget(requestId: number): void {
    const exchange = this.#requests.get(requestId);
    if (exchange !== undefined) {
      this.#requests.delete(requestId);
      this.#full.delete(exchange);
      if (!exchange.stdinEnded) this.#unfinished++;
      this.stopWaiting(exchange);
    }
    if (this.#receiver === exchange) this.#receiver = undefined;
    this.#closeIfDone();
  }

  /** Closes unless something runs or has begun to come in, which is then taken. */
  #closeIfIdle(): void {
    if (this.#record === undefined && this.#input.length === 0) this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#keep && this.#requests.size === 0 && this.closing === "open") {
      this.closing = this.#unfinished > 0 ? "linger" : "end";
    }
  }

  #writeEnd(requestId: number, stderrUsed: boolean): void {
    codec.encodeStreamEnd(this.output, wire.STDOUT, requestId);
    if (stderrUsed) codec.encodeStreamEnd(this.output, wire.STDERR, requestId);
    codec.encodeEndRequest(this.output, requestId, { appStatus: 0, protocolStatus: wire.REQUEST_COMPLETE });
  }

  // What an exchange does on its connection:

  isActive(exchange: FastCgiExchange): boolean {
    return this.closing === "open" && this.#requests.get(exchange.requestId) === exchange;
  }

  /** The variables of a request are whole. */
  start(exchange: FastCgiExchange, params: Uint8Array): void {
    this.stopWaiting(exchange);
    let head: RequestHead;
    try {
      head = toRequestHead(decodeNameValuePairs(params, this.options.maxParamsCount), this.options);
    } catch (error) {
      // The records are sound, so only this request is refused.
      this.#reject(exchange.requestId, error as ProtocolError);
      return;
    }
    exchange.begin(head);
    this.#onRequest(exchange);
  }

  reject(exchange: FastCgiExchange, error: ProtocolError): void {
    this.#reject(exchange.requestId, error);
  }

  /** The body of a request is not what it should be, which its handler is told. */
  report(error: ProtocolError): void {
    this.#onRejected(error);
  }

  waitFor(exchange: FastCgiExchange): void {
    if (this.#waiting.has(exchange)) return;
    this.#waiting.add(exchange);
    if (this.#waiting.size === 1) this.progress++;
    exchange.waitingSince = this.progress;
  }

  stopWaiting(exchange: FastCgiExchange): void {
    const [first] = this.#waiting;
    if (this.#waiting.delete(exchange) && first === exchange) this.progress++;
  }

  setFull(exchange: FastCgiExchange, full: boolean): void {
    if (full) this.#full.add(exchange);
    else this.#full.delete(exchange);
  }

  writeHead(requestId: number, head: ResponseHead): void {
    const text = formatResponseHead(head);
    if (text.length > wire.MAX_SENT_CONTENT) {
      codec.encodeStream(this.output, wire.STDOUT, requestId, encodeLatin1(text));
    } else {
      codec.encodeRecordHeader(this.output, wire.STDOUT, requestId, text.length);
      this.output.latin1(text);
    }
  }

  writeBody(requestId: number, chunk: Uint8Array): void {
    const most = this.#requests.size > 1 ? wire.SHARED_CONTENT : wire.MAX_SENT_CONTENT;
    codec.encodeStream(this.output, wire.STDOUT, requestId, chunk, most);
  }

  endExchange(exchange: FastCgiExchange, keep: boolean, stderrUsed: boolean): void {
    if (!keep) this.#keep = false;
    this.#writeEnd(exchange.requestId, stderrUsed);
    this.#forget(exchange.requestId);
  }

  /** END_REQUEST alone: after an abort, or for a response that broke while other requests share the connection. */
  endAborted(exchange: FastCgiExchange, appStatus: number): void {
    codec.encodeEndRequest(this.output, exchange.requestId, { appStatus, protocolStatus: wire.REQUEST_COMPLETE });
    this.#forget(exchange.requestId);
  }

  failExchange(exchange: FastCgiExchange): void {
    // Web servers ignore appStatus and would take the cut response for a whole one; only a closed connection says it.
    if (this.#requests.size === 1) {
      this.#requests.clear();
      this.closing = "end"; // not "destroy", which would lose what was said on STDERR
    } else {
      this.endAborted(exchange, 1);
    }
  }
}

type RequestState = "reading-params" | "reading-body" | "body-ended";

/** One request of a FastCGI connection. */
class FastCgiExchange implements Exchange {
  head!: RequestHead;
  events!: ExchangeEvents;
  readonly requestId: number;
  state: RequestState = "reading-params";
  stdinEnded = false;
  /** The machine's `progress` when it began to wait for this request. */
  waitingSince = 0;
  readonly #machine: FastCgiServer;
  /** PARAMS so far: a view while there is one piece, then a copy that grows. */
  #params: Uint8Array = EMPTY;
  #paramsLength = 0;
  #received = 0;
  #pieces: Uint8Array[] = [];
  /** What is held of the body, as it is counted. */
  queued = 0;
  #wanted = false;
  #discarded = false;
  #bodyEndTold = false;
  #aborted = false;
  #stderrUsed = false;

  constructor(machine: FastCgiServer, requestId: number) {
    this.#machine = machine;
    this.requestId = requestId;
  }

  pullBody(): void {
    if (!this.#machine.isActive(this) || this.#discarded) return;
    if (this.#pieces.length > 0) {
      this.#deliver();
    } else if (this.state === "reading-body") {
      this.#wanted = true;
      this.#machine.waitFor(this);
    }
  }

  discardBody(): void {
    this.#discarded = true;
    this.#wanted = false;
    this.#pieces = [];
    this.queued = 0;
    this.#machine.setFull(this, false);
    this.#machine.stopWaiting(this);
  }

  sendHead(head: ResponseHead): void {
    if (this.#machine.isActive(this)) this.#machine.writeHead(this.requestId, head);
  }

  sendBody(chunk: Uint8Array): void {
    if (this.#machine.isActive(this)) this.#machine.writeBody(this.requestId, chunk);
  }

  flush(): void {
    // A record is all that FastCGI has; whether it goes on at once is the web server's setting.
  }

  log(text: string): void {
    if (!this.#machine.isActive(this)) return;
    // Control characters could forge lines of the log, and so could a line that does not begin a record.
    for (const line of text.replace(/[^\P{Cc}\n\t]/gu, "?").match(/[^\n]+\n?/g) ?? []) {
      const bytes = new TextEncoder().encode(line);
      this.#stderrUsed = true;
      codec.encodeStream(this.#machine.output, wire.STDERR, this.requestId, bytes, wire.MAX_STDERR_CONTENT);
    }
  }

  end(keep = true): void {
    if (!this.#machine.isActive(this)) return;
    this.discardBody();
    this.#machine.endExchange(this, keep, this.#stderrUsed);
    this.events.onFinished();
  }

  fail(): void {
    if (this.#machine.isActive(this)) this.#machine.failExchange(this);
  }

  // What the machine tells its exchange:

  begin(head: RequestHead): void {
    this.head = head;
    this.state = head.contentLength === 0 ? "body-ended" : "reading-body";
    this.#params = EMPTY;
  }

  takeStream(type: number, piece: Uint8Array): void {
    if (type === wire.PARAMS) this.#takeParams(piece);
    else if (this.state === "reading-body") this.#takeBody(piece);
  }

  takeStreamEnd(type: number): void {
    if (type === wire.PARAMS) this.#machine.start(this, this.#params.subarray(0, this.#paramsLength));
    if (type !== wire.STDIN) return;
    this.stdinEnded = true;
    if (this.state === "reading-body") this.#takeBodyEnd();
  }

  abortByPeer(): void {
    this.#machine.endAborted(this, 0);
    this.abort(new ProtocolError("ERR_ABORTED", "The web server aborted the request"));
  }

  abort(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#aborted = true;
    const started = this.state !== "reading-params";
    this.discardBody();
    if (started) this.events.onAbort(error);
  }

  #takeParams(piece: Uint8Array): void {
    const length = this.#paramsLength + piece.length;
    const { maxParamsBytes } = this.#machine.options;
    if (length > maxParamsBytes) {
      const message = `Cannot take more than ${maxParamsBytes} bytes of variables`;
      this.#machine.reject(this, rejection(431, message, "ERR_HEADERS_TOO_LARGE"));
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

  #takeBody(piece: Uint8Array): void {
    const { contentLength } = this.head;
    const { maxBodyBytes, maxBufferedBytes } = this.#machine.options;
    // Bytes beyond CONTENT_LENGTH are not part of the body (RFC 3875 section 4.2).
    const room = (contentLength < 0 ? Infinity : contentLength) - this.#received;
    const data = piece.length <= room ? piece : piece.subarray(0, room);
    this.#received += data.length;
    if (this.#received > maxBodyBytes) {
      this.#refuseBody(rejection(413, `The body is longer than ${maxBodyBytes} bytes`, "ERR_BODY_TOO_LARGE"));
      return;
    }
    // The end of STDIN may be held back; CONTENT_LENGTH tells it as well.
    const ended = this.#received === contentLength;
    if (ended) this.state = "body-ended";
    if (this.#discarded) return;
    const whole = this.#wanted || data.length >= data.buffer.byteLength * MIN_PART;
    this.#pieces.push(whole ? data : data.slice());
    this.queued += data.length + PIECE_COST;
    if (this.#wanted) this.#deliver();
    else if (this.queued > maxBufferedBytes) this.#machine.setFull(this, true);
  }

  #takeBodyEnd(): void {
    const truncated = this.#received < this.head.contentLength;
    this.state = "body-ended";
    if (this.#discarded) return;
    if (truncated) {
      this.#refuseBody(rejection(400, "The body is shorter than its CONTENT_LENGTH", "ERR_BODY_TRUNCATED"));
    } else if (this.#pieces.length === 0) {
      this.#machine.stopWaiting(this);
      this.#tellBodyEnd();
    }
  }

  #refuseBody(error: ProtocolError): void {
    if (this.#aborted) return;
    this.#machine.report(error);
    this.abort(error);
  }

  #deliver(): void {
    this.#wanted = false;
    this.#machine.stopWaiting(this);
    let count = 1;
    let length = this.#pieces[0]!.length;
    while (count < this.#pieces.length && length + this.#pieces[count]!.length <= JOINED_PIECES) {
      length += this.#pieces[count++]!.length;
    }
    const pieces = this.#pieces.splice(0, count);
    this.queued -= length + count * PIECE_COST;
    if (this.queued <= this.#machine.options.maxBufferedBytes) this.#machine.setFull(this, false);
    this.events.onBody(count === 1 ? pieces[0]! : concat(pieces));
    if (this.#pieces.length === 0 && this.state === "body-ended" && !this.#discarded) this.#tellBodyEnd();
  }

  /** Once: a pull from within `onBody()` may have told it already. */
  #tellBodyEnd(): void {
    if (this.#bodyEndTold) return;
    this.#bodyEndTold = true;
    this.events.onBodyEnd();
  }
}

const EMPTY = new Uint8Array(0);

function isDiscrete({ type, requestId }: codec.RecordHeader): boolean {
  if (type === wire.GET_VALUES) return requestId === wire.MANAGEMENT_ID;
  return requestId !== wire.MANAGEMENT_ID && (type === wire.BEGIN_REQUEST || type === wire.ABORT_REQUEST);
}

function unexpected(type: number, state: RequestState): ProtocolError {
  return new ProtocolError("ERR_FASTCGI_UNEXPECTED_RECORD", `Cannot take a record of type ${type} while ${state}`);
}
