/**
 * One request from its head to the last byte of its response: Request → handler → Response → commands.
 *
 * | state       | handler answers | handler or its response fails | onAbort                              |
 * |-------------|-----------------|-------------------------------|--------------------------------------|
 * | "running"   | → "answering"   | 500, or what onError returns  | answered with its status, or nothing |
 * | "answering" |                 | the same                      | the same; what is held is lost       |
 * | "head-sent" |                 | exchange.fail()               | exchange.fail()                      |
 * | "over"      | body cancelled  | ignored                       |                                      |
 *
 * @module
 */

import type { Exchange, ExchangeEvents } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import type { HeaderPair } from "../http/request_head.ts";
import { buildRequest, requestMayHaveBody, type SignalSource } from "../http/request.ts";
import { type BodySource, RequestBody } from "../http/request_body.ts";
import { mayHaveBody, plainBody, plainHead, readResponseHead, type ResponseHead } from "../http/response.ts";
import { removeMount } from "../http/url.ts";
import type { Addr, Handler, ProtocolName } from "../types.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { RequestInfo } from "./handler_info.ts";
import { RequestData } from "./request_data.ts";
import type { Observer } from "./observe.ts";
import { badResponse, ResponseSender, type SenderContext, type SenderEvents } from "./response_sender.ts";
import type { Settings } from "./settings.ts";

/** What a request needs of its connection. */
export interface RequestContext extends SenderContext {
  readonly handler: Handler;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly protocol: ProtocolName;
  readonly peerAddr: Addr | undefined;
  /** Requests with a body, of which the connection may need to get rid. */
  readonly uploads: Set<ServedRequest>;
}

const OVERLOADED: Refusal = { status: 503, headers: [["retry-after", "1"]] };
const ALLOWED_METHODS: HeaderPair = ["allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"];

type State = "running" | "answering" | "over";

/** Runs the handler for one exchange. */
export class ServedRequest implements ExchangeEvents, BodySource, SignalSource, SenderEvents {
  readonly #context: RequestContext;
  readonly #exchange: Exchange;
  #state: State = "running";
  #body: RequestBody | undefined;
  #data: RequestData | undefined;
  #sender: ResponseSender | undefined;
  #controller: AbortController | undefined;
  #aborted: ProtocolError | undefined;
  #finished = false;
  #completed: Deferred<void> | undefined;
  /** Whether a response that needs no sender has been sent; its end may still be held back. */
  #answered = false;
  /** Whether onError has been asked. */
  #failed = false;

  constructor(exchange: Exchange, context: RequestContext) {
    this.#exchange = exchange;
    this.#context = context;
    exchange.events = this;
  }

  /** Begins; the connection sends what this puts in the machine's output. */
  start(): void {
    const { settings, observer, protocol, peerAddr } = this.#context;
    const { head, data } = this.#exchange;
    const refused = ++observer.stats.activeRequests > settings.maxActiveRequests
      ? OVERLOADED
      : refusal(head.method, head.target);
    if (refused !== undefined) {
      this.#exchange.discardBody();
      data?.discardBody();
      this.#answerPlain(refused.status, refused.headers);
      return;
    }
    const target = settings.mount === "" ? head.target : removeMount(head.target, settings.mount);
    const hasBody = requestMayHaveBody(head.method) && head.contentLength !== 0 && target !== undefined;
    if (hasBody) {
      this.#body = new RequestBody(this);
    } else {
      this.#exchange.discardBody();
    }
    if (target === undefined) {
      data?.discardBody();
      this.#answerPlain(404);
      return;
    }
    if (data !== undefined) this.#data = new RequestData(data, this.#context);
    if (hasBody || data !== undefined) this.#context.uploads.add(this);
    // A machine takes an authorizer's request only where there is one.
    const handler = head.role === "authorizer" ? settings.authorize! : this.#context.handler;
    try {
      const request = buildRequest(head, target, this.#body?.stream ?? null, this);
      observer.stats.totalRequests++;
      const result = handler(request, new RequestInfo(protocol, peerAddr, head, this.#data, this));
      if (!isPromise(result)) {
        this.#respond(result);
        return;
      }
      // Not `result.then()`: a foreign one may throw.
      Promise.resolve(result).then((response) => {
        this.#respond(response);
        this.#context.flush();
      }, (error) => this.#fail(error));
    } catch (error) {
      if (!isRejection(error)) {
        this.#fail(error);
        return;
      }
      observer.protocolError(error);
      this.#answerPlain(error.statusHint, [], false);
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
    const answerable = !this.#headSent && error.statusHint !== 0;
    this.#aborted = error;
    this.#failBodies(error);
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

  /**
   * The web server cannot be read, as what it sends fills its queue. Where it does not take the response either, it may
   * be one that reads nothing before it has sent everything; what the handler has not asked for by now is given up. So is
   * the body of a filter's request where the handler waits for the file, which comes after it.
   */
  relieve(): void {
    const answering = this.#state === "answering" && this.#context.blocked !== undefined;
    if ((answering || this.#data?.wanted) && this.#body?.open && !this.#body.touched) {
      this.#body.fail(unread());
      this.#exchange.discardBody();
    }
    if (answering && this.#data?.touched === false) this.#data.giveUp(unread());
  }

  onCut(error: ProtocolError): void {
    this.#context.observer.handlerError(error, false);
  }

  onSent(keep: boolean): void {
    this.#exchange.end(keep);
    this.#context.flush();
  }

  onFailed(error: unknown): void {
    this.#fail(error);
  }

  #respond(response: Response): void {
    if (this.#state === "over") {
      cancelBody(response);
      return;
    }
    this.#state = "answering";
    const { method, role } = this.#exchange.head;
    try {
      const head = readResponseHead(response);
      const { body } = response;
      // What lets a request in has no body of its own, so that none is waited for.
      const letsIn = role === "authorizer" && head.status === 200;
      if (letsIn && this.#failed) {
        cancelBody(response);
        throw badResponse("Cannot let a request in after its authorizer has failed");
      }
      if (body !== null && !letsIn && mayHaveBody(method, head.status)) {
        this.#sender = new ResponseSender(this.#exchange, this.#context, this, response, body, head);
        this.#sender.start();
      } else {
        cancelBody(response);
        this.#exchange.sendHead(withoutBody(head, method));
        this.#answered = true;
        this.#exchange.end();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The handler threw, or its response cannot be sent. */
  #fail(error: unknown): void {
    if (this.#state === "over") return;
    const { settings, observer } = this.#context;
    const { onError } = settings;
    const headSent = this.#headSent;
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

  get #headSent(): boolean {
    return this.#answered || (this.#sender?.headSent ?? false);
  }

  /** Gives up the response that is being sent. */
  #dropResponse(reason: unknown): void {
    this.#sender?.cancel(reason);
    this.#sender = undefined;
  }

  #answerPlain(status: number, headers: HeaderPair[] = [], keep = true): void {
    const body = status === 200 ? EMPTY : plainBody(status);
    this.#state = "answering";
    this.#exchange.sendHead(plainHead(status, body.length, headers));
    this.#answered = true;
    if (body.length > 0 && this.#exchange.head.method !== "HEAD") this.#exchange.sendBody(body);
    this.#exchange.end(keep);
  }

  /** @param error why it is over, unless the response has been sent whole */
  #finish(error: ProtocolError | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#state = "over";
    this.#sender = undefined;
    this.#aborted ??= error;
    this.#context.uploads.delete(this);
    this.#context.observer.stats.activeRequests--;
    if (this.#body?.open || this.#data !== undefined) this.#failBodies(error ?? responseSent());
    if (this.#completed !== undefined) this.#settle(this.#completed);
  }

  /** Whoever still reads the request must not take what has come for the whole. */
  #failBodies(error: ProtocolError): void {
    this.#body?.fail(error);
    this.#data?.fail(error);
  }

  /** For `info.completed`. */
  whenCompleted(): Promise<void> {
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

function unread(): ProtocolError {
  return new ProtocolError("ERR_ABORTED", "The body was not read before the response began, or before the file");
}

interface Refusal {
  status: number;
  headers: HeaderPair[];
}

/** Requests that no handler is asked: a Request cannot have these methods, and "*" is no path. */
function refusal(method: string, target: string): Refusal | undefined {
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

/** The head of a response that has no body, whatever a Content-Length of the handler's says. */
function withoutBody(head: ResponseHead, method: string): ResponseHead {
  // Of these two the length is that of the body that another request would get (RFC 9110 section 8.6).
  if (method === "HEAD" || head.status === 304) return head;
  return { ...head, contentLength: head.status === 204 ? -1 : 0 };
}

function responseSent(): ProtocolError {
  return new ProtocolError("ERR_ABORTED", "The response has been sent", { initiator: "handler" });
}

function toProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  return badResponse("The response broke", { cause: error });
}

function describe(error: unknown): string {
  try {
    const stack: unknown = error instanceof Error ? error.stack : undefined;
    return typeof stack === "string" ? stack : String(error);
  } catch {
    return "The handler threw something that cannot be shown"; // an object without a prototype, for one
  }
}

function ignore(): void {
  // A stream that is given up may well fail; nobody is interested any more.
}
