import type { OnRejected, OnRequest } from "../connection/machine.ts";
import { rejection } from "../errors.ts";
import type { RequestHead } from "../http/request_head.ts";
import { type MetaVariableLimits, toRequestHead } from "./meta_variables.ts";
import { SingleRequestServer } from "./single_request.ts";

/** What the machine must be told. */
export interface CgiServerOptions extends MetaVariableLimits {
  /** The environment, one character a byte. */
  variables: Iterable<[string, string]>;
}

/** The program's side of plain CGI (RFC 3875): variables from the environment, body from stdin, response to stdout. */
export class CgiServer extends SingleRequestServer {
  readonly protocol = "cgi";
  /** A program must not read beyond the body (RFC 3875 section 4.2). */
  protected readonly readsBeyondBody = false;
  readonly #options: CgiServerOptions;

  constructor(options: CgiServerOptions, onRequest: OnRequest, onRejected: OnRejected) {
    super(onRequest, onRejected);
    this.#options = options;
  }

  protected readHead(): RequestHead {
    const head = toRequestHead(this.#options.variables, this.#options);
    if (head.contentLength >= 0) return head;
    for (const [name, value] of this.#options.variables) {
      if (name === "CONTENT_LENGTH" && value !== "") throw rejection(400, "Cannot take a negative CONTENT_LENGTH");
    }
    // Apache passes a body that came in chunks on without a length, and ends stdin after it: also when the browser left
    // in the middle, so that nothing would tell a short body from a whole one.
    if (hasUnknownLength(this.#options.variables)) throw rejection(411, "Cannot take a body without a length in CGI");
    // Otherwise there is no body without a length; the end of stdin need not come.
    return { ...head, contentLength: 0 };
  }
}

function hasUnknownLength(variables: Iterable<[string, string]>): boolean {
  for (const [name, value] of variables) if (name === "HTTP_TRANSFER_ENCODING" && value !== "") return true;
  return false;
}
