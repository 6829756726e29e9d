import { type MetaVariableLimits, toRequestHead } from "../cgi/meta_variables.ts";
import { SingleRequestServer } from "../cgi/single_request.ts";
import type { OnRejected, OnRequest } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import { parseContentLength } from "../http/header_rules.ts";
import type { RequestHead } from "../http/request_head.ts";
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
    this.#check(headers);
    return toRequestHead(headers, this.#options);
  }

  #readLength(): boolean {
    const { input } = this;
    const most = Math.min(input.length, codec.MAX_LENGTH_DIGITS + 1);
    let digits = 0;
    while (digits < most && input.peek(digits) !== COLON) digits++;
    if (digits === most) {
      // What cannot become a length is not waited for.
      if (digits > codec.MAX_LENGTH_DIGITS) throw codec.brokenNetstring("its length has too many digits");
      if (digits > 0) codec.decodeNetstringLength(peekAll(input, digits));
      return false;
    }
    this.#length = codec.decodeNetstringLength(input.take(digits));
    input.skip(1);
    const { maxParamsBytes } = this.#options;
    if (this.#length > maxParamsBytes) {
      throw new ProtocolError("ERR_HEADERS_TOO_LARGE", `Cannot take more than ${maxParamsBytes} bytes of variables`, {
        statusHint: 431,
      });
    }
    return true;
  }

  #check(headers: codec.HeaderPair[]): void {
    const [first] = headers;
    if (first?.[0] !== "CONTENT_LENGTH") throw codec.badHeaders("CONTENT_LENGTH is not the first");
    if (parseContentLength(first[1]) < 0) throw codec.badHeaders("CONTENT_LENGTH is not a number");
    let version: string | undefined;
    for (const [i, [name, value]] of headers.entries()) {
      if (name === "CONTENT_LENGTH" && i > 0) throw codec.badHeaders("CONTENT_LENGTH stands there twice");
      if (name === "SCGI") version = value;
    }
    if (version !== "1") throw codec.badHeaders("SCGI is not 1");
  }
}

function peekAll(input: { peek(index: number): number }, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => input.peek(i));
}
