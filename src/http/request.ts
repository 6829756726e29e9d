import { rejection } from "../errors.ts";
import type { RequestHead } from "./request_head.ts";

/** Where a request's signal comes from, made on first touch. */
export interface SignalSource {
  readonly signal: AbortSignal;
}

/**
 * A real Request whose `signal` is made only when somebody looks at it: on Node an AbortSignal costs more than the
 * Request itself. As the internal slots are real, `instanceof`, `clone()` and `new Request(request)` work as ever; only
 * the `signal` of a `new Request(request)` does not follow this one on Node and Deno, and on Bun its `method` is GET where
 * Bun does not know the method.
 */
class IncomingRequest extends Request {
  readonly #source: SignalSource;

  constructor(url: string, init: RequestInit, source: SignalSource) {
    super(url, init);
    this.#source = source;
  }

  override get signal(): AbortSignal {
    return this.#source.signal;
  }

  override clone(): Request {
    return asCopy(super.clone(), this.method, this.#source);
  }
}

/**
 * Makes the Request that the handler gets.
 *
 * @param target path and query as the handler is to see them
 * @throws {ProtocolError} with status 400 when the runtime cannot make a Request of it
 */
export function buildRequest(
  head: RequestHead,
  target: string,
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  source: SignalSource,
): Request {
  const { method } = head;
  const init: RequestInit & { duplex?: "half" } = { method, headers: head.headers };
  if (body !== null) {
    init.body = body;
    init.duplex = "half";
  }
  let request: Request;
  try {
    request = new IncomingRequest(`${head.scheme}://${head.authority}${target}`, init, source);
  } catch (cause) {
    const error = rejection(400, "Cannot make a Request of what the web server sent");
    error.cause = cause;
    throw error;
  }
  // Bun reads a method that it does not know as GET.
  if (request.method !== method && request.method !== method.toUpperCase()) keepMethod(request, method);
  return request;
}

/** Whether a Request with this method can have a body (Fetch standard, section 5.4). */
export function requestMayHaveBody(method: string): boolean {
  const upper = method.toUpperCase();
  return upper !== "GET" && upper !== "HEAD";
}

/** What a runtime's `clone()` returns is a plain Request; it and its own clones are to be like the first. */
function asCopy(copy: Request, method: string, source: SignalSource): Request {
  Object.defineProperty(copy, "signal", { configurable: true, get: () => source.signal });
  Object.defineProperty(copy, "clone", {
    configurable: true,
    value: () => asCopy(Request.prototype.clone.call(copy), method, source),
  });
  if (copy.method !== method) keepMethod(copy, method);
  return copy;
}

function keepMethod(request: Request, method: string): void {
  Object.defineProperty(request, "method", { configurable: true, enumerable: true, value: method });
}
