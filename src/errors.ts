/**
 * The errors that can come out of the core, each with a stable `code`.
 *
 * @module
 */

/** Every code that a {@linkcode ProtocolError} can have. */
export type ProtocolErrorCode =
  /** The first bytes of a packet are not 12 34. */
  | "ERR_AJP_MAGIC"
  /** A packet is longer than `packetSize`. */
  | "ERR_AJP_PACKET_TOO_LONG"
  /** A field of a packet is truncated, unterminated or unknown. */
  | "ERR_AJP_MALFORMED"
  /** A packet of a type that has no place here. */
  | "ERR_AJP_UNEXPECTED_PACKET"
  /** The secret is missing or wrong. */
  | "ERR_AJP_SECRET"
  /** A request attribute that is not allowed. */
  | "ERR_AJP_ATTRIBUTE"
  /** The response headers do not fit in one packet. */
  | "ERR_AJP_HEADERS_TOO_LONG"
  /** The version byte of a record is not 1. */
  | "ERR_FASTCGI_VERSION"
  /** A record of a wrong length, with a wrong id or of a wrong type. */
  | "ERR_FASTCGI_RECORD"
  /** A record that the state of its request does not allow. */
  | "ERR_FASTCGI_UNEXPECTED_RECORD"
  /** The name-value pairs of a request are cut off. */
  | "ERR_FASTCGI_PARAMS"
  /** The first bytes are no netstring. */
  | "ERR_SCGI_NETSTRING"
  /** The headers are not pairs, or lack what SCGI demands. */
  | "ERR_SCGI_HEADERS"
  /** The first bytes are those of no protocol spoken here. */
  | "ERR_UNKNOWN_PROTOCOL"
  /** More requests on a connection than allowed, at once or in all. */
  | "ERR_OVERLOADED"
  /** A header name or value, a method, a URL or a Host that HTTP does not allow. */
  | "ERR_BAD_REQUEST"
  /** More headers, or more bytes of them, than allowed. */
  | "ERR_HEADERS_TOO_LARGE"
  /** A body over `maxBodyBytes`. */
  | "ERR_BODY_TOO_LARGE"
  /** A body shorter than its content-length. */
  | "ERR_BODY_TRUNCATED"
  /** A body longer than its content-length. */
  | "ERR_BODY_OVERRUN"
  /** The web server took longer than a time limit. */
  | "ERR_TIMEOUT"
  /** The web server closed the connection, or aborted the request. */
  | "ERR_ABORTED"
  /** The response broke the rules of HTTP: a wrong length, a used body. */
  | "ERR_BAD_RESPONSE"
  /** The server was ended while the request ran. */
  | "ERR_SHUTDOWN";

/** Who broke the rules: the web server at the other end, the handler, or this side (a shutdown). */
export type Initiator = "peer" | "handler" | "local";

/** What {@linkcode ProtocolError} takes besides its code and message. */
export interface ProtocolErrorOptions extends ErrorOptions {
  /** Default "peer". */
  initiator?: Initiator;
  /** Default 0: no answer. */
  statusHint?: number;
}

/**
 * A broken rule of a protocol, by either side. It is the only error that a protocol's machine throws, and the reason
 * of `request.signal` and of a failed request body.
 *
 * @example
 * ```ts
 * import { ProtocolError } from "isthmus";
 *
 * async function handler(request: Request): Promise<Response> {
 *   try {
 *     return new Response(await request.text());
 *   } catch (error) {
 *     if (error instanceof ProtocolError) console.log(error.code);
 *     throw error;
 *   }
 * }
 * ```
 */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  /** A stable code, for programs. */
  readonly code: ProtocolErrorCode;
  /** Who broke the rule. */
  readonly initiator: Initiator;
  /** The HTTP status that answers it, or 0 where no answer is possible. */
  readonly statusHint: number;

  constructor(code: ProtocolErrorCode, message: string, options: ProtocolErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.initiator = options.initiator ?? "peer";
    this.statusHint = options.statusHint ?? 0;
  }
}

/** A request that is answered with `status` and not given to the handler. */
export function rejection(
  status: number,
  message: string,
  code: ProtocolErrorCode = "ERR_BAD_REQUEST",
): ProtocolError {
  return new ProtocolError(code, message, { statusHint: status });
}
