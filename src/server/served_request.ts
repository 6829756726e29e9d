/**
 * One request from its head to the last byte of its response: Request → handler → Response → commands.
 *
 * | state       | handler answers         | handler fails        | onAbort                              |
 * |-------------|-------------------------|----------------------|--------------------------------------|
 * | "running"   | → answering             | 500 by onError       | answered with its status, or nothing |
 * | "answering" |                         | 500 by onError       | the same; the held response is lost  |
 * | "head-sent" |                         | exchange.fail()      | exchange.fail()                      |
 * | "over"      | body cancelled          | ignored              |                                      |
 *
 * A response whose body is at hand leaves in one write, with its length, even if the handler did not give it: what has
 * been produced is held until the next piece turns out to be slow, or there is enough to send.
 *
 * @module
 */

import type { Exchange, ExchangeEvents } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import type { HeaderPair } from "../http/request_head.ts";
import { buildRequest, requestMayHaveBody, type SignalSource } from "../http/request.ts";
import { type BodySource, RequestBody } from "../http/request_body.ts";
import {
  isTypelessStringBody,
  mayHaveBody,
  plainBody,
  plainHead,
  readResponseHead,
  type ResponseHead,
  TEXT_PLAIN,
} from "../http/response.ts";
import { removeMount } from "../http/url.ts";
import type { Addr, Handler, ProtocolName } from "../types.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { RequestInfo } from "./handler_info.ts";
import type { Observer } from "./observe.ts";
import type { Settings } from "./settings.ts";
import type { Soon, Waiter } from "./soon.ts";

/** What a request needs of its connection. */
export interface RequestContext {
  readonly handler: Handler;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly soon: Soon;
  readonly protocol: ProtocolName;
  readonly peerAddr: Addr | undefined;
  /** Sends what the machine has to send. */
  flush(): void;
  /** A promise while the web server does not take what was sent; rejects when the connection breaks. */
  readonly blocked: Promise<void> | undefined;
}

/** Produced bytes beyond this are sent even though more may follow at once. */
const HELD_BYTES = 65536;
/** The most that is given to the connection at once, so that a slow reader is seen to read on. */
const SLICE_BYTES = 262144;
const ALLOWED_METHODS: HeaderPair = ["allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"];

type BodyReader = ReadableStreamDefaultReader<Uint8Array>;
type State = "running" | "answering" | "head-sent" | "over";

/** Runs the handler for one exchange. */
export class ServedRequest implements ExchangeEvents, BodySource, SignalSource, Waiter {
  readonly #context: RequestContext;
  readonly #exchange: Exchange;
  #state: State = "running";
  #body: RequestBody | undefined;
  #controller: AbortController | undefined;
  #aborted: ProtocolError | undefined;
  #finished = false;
  #completed: Deferred<void> | undefined;
  #failed = false;
  /** The response that is being sent, and what of it is held. */
  #reader: BodyReader | undefined;
  #head: ResponseHead | undefined;
  #held: Uint8Array[] = [];
  #heldLength = 0;
  #produced = 0;
  /** The sending of what was held while the next piece was slow. */
  #draining: Promise<void> | undefined;

  constructor(exchange: Exchange, context: RequestContext) {
    this.#exchange = exchange;
    this.#context = context;
    exchange.events = this;
  }

  /** Begins; the connection sends what this puts in the machine's output. */
  start(): void {
    const { settings, observer, handler, protocol, peerAddr } = this.#context;
    const { head } = this.#exchange;
    observer.stats.activeRequests++;
    const refused = refusal(head.method, head.target);
    if (refused !== undefined) {
      this.#exchange.discardBody();
      this.#answerPlain(refused.status, refused.headers);
      return;
    }
    const target = settings.mount === "" ? head.target : removeMount(head.target, settings.mount);
    const hasBody = requestMayHaveBody(head.method) && head.contentLength !== 0 && target !== undefined;
    if (hasBody) this.#body = new RequestBody(this);
    else this.#exchange.discardBody();
    if (target === undefined) {
      this.#answerPlain(404);
      return;
    }
    let result: Response | Promise<Response>;
    try {
      const request = buildRequest(head, target, this.#body?.stream ?? null, this);
      observer.stats.totalRequests++;
      result = handler(
        request,
        new RequestInfo(protocol, peerAddr, head.meta, () => this.#whenCompleted()),
      );
    } catch (error) {
      if (isRejection(error)) {
        observer.protocolError(error);
        this.#answerPlain(error.statusHint, [], false);
      } else {
        this.#fail(error);
      }
      return;
    }
    if (isPromise(result)) {
      result.then(
        (response) => {
          this.#respond(response);
          this.#context.flush();
        },
        (error) => this.#fail(error),
      );
    } else {
      this.#respond(result);
    }
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  /** What the handler reads may have to be asked for, or may make room for more. */
  pullBody(): void {
    this.#exchange.pullBody();
    this.#context.flush();
  }

  discardBody(): void {
    this.#exchange.discardBody();
    this.#context.flush();
  }

  onBody(chunk: Uint8Array): void {
    this.#body?.push(chunk);
  }

  onBodyEnd(): void {
    this.#body?.end();
  }

  onAbort(error: ProtocolError): void {
    if (this.#state === "over") return;
    const answerable = this.#state !== "head-sent" && error.statusHint !== 0;
    this.#aborted = error;
    this.#body?.fail(error);
    this.#dropResponse(error);
    if (answerable) {
      this.#answerPlain(error.statusHint);
    } else {
      this.#exchange.fail();
      this.#finish(error);
    }
    this.#controller?.abort(error);
  }

  onFinished(): void {
    this.#finish(undefined);
  }

  /** The next piece of the response is slow: what there is goes now. */
  onWaiting(): void {
    if (this.#reader === undefined || this.#draining !== undefined) return;
    if (this.#heldLength > SLICE_BYTES) {
      this.#draining = this.#drain(this.#reader).then(ignore, ignore).finally(() => {
        this.#draining = undefined;
      });
    } else if (this.#sendHeld()) {
      this.#exchange.flush();
      this.#context.flush();
    }
  }

  #respond(response: Response): void {
    if (this.#state === "over") {
      cancelBody(response);
      return;
    }
    this.#state = "answering";
    const { method } = this.#exchange.head;
    let head: ResponseHead;
    let body: ReadableStream<Uint8Array> | null;
    try {
      head = readResponseHead(response);
      body = response.body;
      if (body !== null && mayHaveBody(method, head.status)) {
        this.#reader = body.getReader();
        this.#head = head;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#reader !== undefined) {
      this.#send(this.#reader, head, response);
      return;
    }
    cancelBody(response);
    if (method !== "HEAD" && head.status !== 304) {
      // There is no body, whatever a Content-Length of the handler's says; 204 has none at all (RFC 9110 8.6).
      head = { ...head, contentLength: head.status === 204 ? -1 : 0 };
    }
    if (this.#sendHead(head)) this.#exchange.end();
  }

  async #send(reader: BodyReader, head: ResponseHead, response: Response): Promise<void> {
    const { soon } = this.#context;
    try {
      for (;;) {
        soon.add(this);
        const { done, value } = await reader.read();
        soon.delete(this);
        if (this.#draining !== undefined) await this.#draining;
        if (this.#reader !== reader) return;
        if (done) {
          this.#measure(head, response);
          if (this.#heldLength <= SLICE_BYTES ? this.#sendHeld() : await this.#drain(reader)) this.#exchange.end();
          this.#context.flush();
          return;
        }
        if (!(value instanceof Uint8Array)) {
          throw badResponse("Cannot send the response: its body has a chunk that is not a Uint8Array");
        }
        if (!this.#take(value, head)) {
          reader.cancel(new Error("The body is longer than its Content-Length")).catch(ignore);
          if (await this.#drain(reader)) this.#exchange.end(false);
          this.#context.flush();
          return;
        }
        // One chunk alone may be the whole body, whose length is then known.
        const enough = this.#heldLength >= HELD_BYTES && (this.#state === "head-sent" || this.#held.length > 1);
        if (enough) {
          if (!await this.#drain(reader)) return;
          this.#context.flush();
        }
        if (this.#context.blocked !== undefined && !await this.#unblocked(reader)) return;
      }
    } catch (error) {
      soon.delete(this);
      if (this.#reader !== reader) return;
      this.#fail(error);
    }
  }

  /** Sends what is held, no faster than the web server takes it. @returns false when the response is over instead */
  async #drain(reader: BodyReader): Promise<boolean> {
    while (this.#heldLength > SLICE_BYTES) {
      const held = this.#held;
      const first = held[0]!;
      this.#held = [first.subarray(0, SLICE_BYTES)];
      this.#heldLength -= this.#held[0]!.length;
      const left = this.#heldLength;
      if (!this.#sendHeld()) return false;
      this.#held = first.length > SLICE_BYTES ? [first.subarray(SLICE_BYTES), ...held.slice(1)] : held.slice(1);
      this.#heldLength = left;
      this.#context.flush();
      if (!await this.#unblocked(reader)) return false;
    }
    return this.#reader === reader && this.#sendHeld();
  }

  /** Waits until the web server takes more. @returns false when the response is over instead */
  async #unblocked(reader: BodyReader): Promise<boolean> {
    while (this.#context.blocked !== undefined) await this.#context.blocked;
    return this.#reader === reader;
  }

  /** @returns false when the body is longer than its Content-Length, and so is cut there */
  #take(chunk: Uint8Array, head: ResponseHead): boolean {
    if (chunk.length === 0) return true;
    const room = head.contentLength < 0 ? Infinity : head.contentLength - this.#produced;
    const piece = chunk.length <= room ? chunk : chunk.subarray(0, room);
    this.#produced += piece.length;
    if (piece.length > 0) {
      this.#held.push(piece);
      this.#heldLength += piece.length;
    }
    if (chunk.length <= room) return true;
    this.#context.observer.handlerError(
      badResponse(`The response body is longer than its Content-Length of ${head.contentLength} and was cut`),
      false,
    );
    return false;
  }

  /** The body has ended: what its length was to be, or now is. */
  #measure(head: ResponseHead, response: Response): void {
    if (head.contentLength >= 0 && this.#produced < head.contentLength) {
      throw badResponse(
        `The response body has ${this.#produced} bytes, less than its Content-Length of ${head.contentLength}`,
      );
    }
    if (this.#state !== "answering") return;
    let { headers } = head;
    if (isTypelessStringBody(response, this.#held)) headers = [...headers, TEXT_PLAIN];
    this.#head = { ...head, headers, contentLength: this.#produced };
  }

  /** Sends the head if it has not been sent, and what is held. @returns false when the request is over instead */
  #sendHeld(): boolean {
    if (this.#state === "answering" && !this.#sendHead(this.#head!)) return false;
    const held = this.#held;
    this.#held = [];
    this.#heldLength = 0;
    for (const chunk of held) this.#exchange.sendBody(chunk);
    return true;
  }

  #sendHead(head: ResponseHead): boolean {
    try {
      this.#exchange.sendHead(head);
    } catch (error) {
      this.#fail(error);
      return false;
    }
    this.#state = "head-sent";
    return true;
  }

  /** The handler threw, or its response cannot be sent. */
  #fail(error: unknown): void {
    if (this.#state === "over") return;
    const { settings, observer } = this.#context;
    const { onError } = settings;
    const headSent = this.#state === "head-sent";
    observer.handlerError(error, onError !== undefined);
    this.#exchange.log(describe(error));
    this.#dropResponse(error);
    if (headSent) {
      this.#exchange.fail();
      this.#finish(toProtocolError(error));
      if (onError !== undefined) attempt(onError, error).catch(ignore);
    } else if (onError === undefined || this.#failed) {
      this.#answerPlain(500);
    } else {
      // What onError returns may fail in its turn, once.
      this.#failed = true;
      this.#state = "running";
      attempt(onError, error).then((response) => {
        this.#respond(response);
        this.#context.flush();
      }, (second) => this.#fail(second));
    }
    this.#context.flush();
  }

  /** Gives up the response that is being sent. */
  #dropResponse(reason: unknown): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#held = [];
    this.#heldLength = this.#produced = 0;
    reader?.cancel(reason).catch(ignore);
  }

  #answerPlain(status: number, headers: HeaderPair[] = [], keep = true): void {
    const body = status === 200 ? EMPTY : plainBody(status);
    this.#state = "head-sent";
    this.#exchange.sendHead(plainHead(status, body.length, headers));
    if (body.length > 0 && this.#exchange.head.method !== "HEAD") this.#exchange.sendBody(body);
    this.#exchange.end(keep);
  }

  #finish(error: unknown): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#state = "over";
    this.#reader = undefined;
    this.#aborted ??= error === undefined ? undefined : toProtocolError(error);
    this.#context.observer.stats.activeRequests--;
    if (error === undefined) {
      this.#body?.fail(new ProtocolError("ERR_ABORTED", "The response has been sent", { initiator: "handler" }));
    } else {
      this.#body?.fail(error);
    }
    if (this.#completed !== undefined) this.#settle(this.#completed);
  }

  #whenCompleted(): Promise<void> {
    if (this.#completed === undefined) {
      this.#completed = deferred();
      // Who does not wait for it need not handle its failure.
      this.#completed.promise.catch(ignore);
      if (this.#finished) this.#settle(this.#completed);
    }
    return this.#completed.promise;
  }

  #settle(completed: Deferred<void>): void {
    if (this.#aborted !== undefined) {
      completed.reject(this.#aborted);
      return;
    }
    // The flush that hands the end over follows in the same turn.
    queueMicrotask(() => {
      const { blocked } = this.#context;
      if (blocked === undefined) completed.resolve();
      else blocked.then(() => completed.resolve(), (error) => completed.reject(error));
    });
  }
}

const EMPTY = new Uint8Array(0);

/** Requests that no handler is asked: a Request cannot have these methods, and "*" is no path. */
function refusal(method: string, target: string): { status: number; headers: HeaderPair[] } | undefined {
  switch (method.toUpperCase()) {
    case "TRACE":
    case "TRACK":
      return { status: 405, headers: [ALLOWED_METHODS] };
    case "CONNECT":
      return { status: 501, headers: [] };
    default:
      return target === "*" ? { status: 200, headers: [ALLOWED_METHODS] } : undefined;
  }
}

function isRejection(error: unknown): error is ProtocolError {
  return error instanceof ProtocolError && error.initiator === "peer" && error.statusHint !== 0;
}

function isPromise(value: Response | Promise<Response>): value is Promise<Response> {
  return typeof (value as Partial<Promise<Response>> | null | undefined)?.then === "function";
}

async function attempt(onError: (error: unknown) => Response | Promise<Response>, error: unknown): Promise<Response> {
  return await onError(error);
}

function cancelBody(response: Response): void {
  if (response?.body && !response.body.locked) response.body.cancel().catch(ignore);
}

function badResponse(message: string): ProtocolError {
  return new ProtocolError("ERR_BAD_RESPONSE", message, { initiator: "handler" });
}

function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  return new ProtocolError("ERR_BAD_RESPONSE", "The response broke", { initiator: "handler", cause: error });
}

function describe(error: unknown): string {
  try {
    return error instanceof Error ? error.stack ?? `${error.name}: ${error.message}` : String(error);
  } catch {
    return "The handler threw something that cannot be shown"; // an object without a prototype, for one
  }
}

function ignore(): void {
  // A stream that is given up may well fail; nobody is interested any more.
}
