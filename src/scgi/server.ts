/**
 * SCGI from the application's side, as a machine without I/O. A request is a netstring of variables and then its body;
 * what comes after the variables is the same as for plain CGI and stands in `cgi/single_request.ts`.
 *
 * | read so far  | next            | else                                                      |
 * |--------------|-----------------|-----------------------------------------------------------|
 * | nothing      | digits, ":"     | closed: this is no SCGI                                   |
 * | the length   | so many bytes   | 431 at once where `maxParamsBytes` is less                |
 * | the bytes    | ","             | closed: the length lied                                   |
 * | the ","      | the body        | 400 where what stands between is not what SCGI asks for   |
 *
 * @module
 */

import { type MetaVariableLimits, toRequestHead } from "../cgi/meta_variables.ts";
import { SingleRequestServer } from "../cgi/single_request.ts";
import type { OnRejected, OnRequest } from "../connection/machine.ts";
import { rejection } from "../errors.ts";
import { parseContentLength } from "../http/header_rules.ts";
import type { RequestHead } from "../http/request_head.ts";
import { printable } from "../http/url.ts";
import * as codec from "./codec.ts";

/** What the machine must be told. */
export interface ScgiServerOptions extends MetaVariableLimits {
  maxParamsBytes: number;
  maxParamsCount: number;
}

const COLON = 0x3a;
const COMMA = 0x2c;

/** The application's side of one SCGI connection. */
export class ScgiServer extends SingleRequestServer {
  readonly protocol = "scgi";
  protected readonly readsBeyondBody = true;
  readonly #options: ScgiServerOptions;
  /** Length of the headers, once it is known. */
  #length = -1;

  constructor(options: ScgiServerOptions, onRequest: OnRequest, onRejected: OnRejected) {
    super(onRequest, onRejected);
    this.#options = options;
  }

  protected readHead(): RequestHead | undefined {
    if (this.#length < 0 && !this.#readLength()) return undefined;
    const { input } = this;
    if (input.length <= this.#length) return undefined;
    if (input.peek(this.#length) !== COMMA) throw codec.brokenNetstring("it is not closed where its length says");
    const headers = codec.decodeHeaders(input.take(this.#length), this.#options.maxParamsCount);
    input.skip(1);
    check(headers);
    return toRequestHead(headers, this.#options);
  }

  #readLength(): boolean {
    const { input } = this;
    const digits: number[] = [];
    while (digits.length < input.length && digits.length <= codec.MAX_LENGTH_DIGITS) {
      const byte = input.peek(digits.length);
      if (byte === COLON) break;
      digits.push(byte);
    }
    if (input.length === 0) return false;
    // What cannot become a length is not waited for.
    const length = codec.decodeNetstringLength(Uint8Array.from(digits));
    if (digits.length === input.length) return false;
    this.#length = length;
    input.skip(digits.length + 1);
    const { maxParamsBytes } = this.#options;
    if (length > maxParamsBytes) {
      throw rejection(431, `Cannot take more than ${maxParamsBytes} bytes of variables`, "ERR_HEADERS_TOO_LARGE");
    }
    return true;
  }
}

/** What SCGI asks for besides pairs. */
function check(headers: codec.HeaderPair[]): void {
  const [first] = headers;
  if (first?.[0] !== "CONTENT_LENGTH") throw codec.badHeaders("CONTENT_LENGTH is not the first");
  if (parseContentLength(first[1]) < 0) throw codec.badHeaders("CONTENT_LENGTH is not a number");
  const names = new Set<string>();
  let version: string | undefined;
  for (const [name, value] of headers) {
    if (name === "SCGI") version = value;
    // nginx before 1.29.6, without request buffering, says how much it has so far; the browser's own header says it all.
    if (name === "HTTP_CONTENT_LENGTH" && value !== "" && value !== first[1]) {
      throw codec.badHeaders("CONTENT_LENGTH is not what the browser said");
    }
    // nginx before 1.23 sends a header that the browser repeats as often as it came.
    if (names.has(name) && !name.startsWith("HTTP_")) {
      throw codec.badHeaders(`${printable(name)} stands there twice`);
    }
    names.add(name);
  }
  if (version !== "1") throw codec.badHeaders("SCGI is not 1");
}
