/**
 * What the three roles make of the same variables (FastCGI specification section 6), and of a response.
 *
 * | role       | request body | DATA      | response                                                                    |
 * |------------|--------------|-----------|-----------------------------------------------------------------------------|
 * | responder  | STDIN        |           | as CGI has it                                                               |
 * | authorizer | none         |           | 200: lets in, and sets variables; any other is sent instead of the resource |
 * | filter     | STDIN        | the file  | as CGI has it                                                               |
 *
 * @module
 */

import { toRequestHead } from "../cgi/meta_variables.ts";
import type { MetaVariableLimits } from "../cgi/meta_variables.ts";
import { formatResponseHead } from "../cgi/response_head.ts";
import { rejection } from "../errors.ts";
import { parseContentLength } from "../http/header_rules.ts";
import type { RequestHead } from "../http/request_head.ts";
import type { ResponseHead } from "../http/response.ts";
import { printable } from "../http/url.ts";
import type { Role } from "../types.ts";
import * as wire from "./constants.ts";
import type { NameValuePair } from "./name_value.ts";

/** A request in whatever role. */
export interface RoleRequest {
  readonly head: RequestHead;
  /** Only for a filter. */
  readonly file: FileAbout | undefined;
}

/** What a filter is told of its file. Both are -1 where the web server did not say them. */
export interface FileAbout {
  readonly length: number;
  /** Seconds since 1970. */
  readonly lastModified: number;
}

/** The last second that a Date can be. */
const LAST_SECOND = 8.64e12;
const VARIABLE = "variable-";

/** The role of a BEGIN_REQUEST; undefined for one that is not served. */
export function roleOf(code: number, acceptsAuthorizer: boolean): Role | undefined {
  switch (code) {
    case wire.ROLE_RESPONDER:
      return "responder";
    case wire.ROLE_AUTHORIZER:
      return acceptsAuthorizer ? "authorizer" : undefined;
    case wire.ROLE_FILTER:
      return "filter";
    default:
      return undefined;
  }
}

/**
 * Makes the request of its variables.
 *
 * @throws {ProtocolError} with the status that answers it
 */
export function toRoleRequest(role: Role, pairs: NameValuePair[], limits: MetaVariableLimits): RoleRequest {
  switch (role) {
    case "responder":
      return { head: toRequestHead(pairs, limits), file: undefined };
    case "authorizer":
      return { head: toAuthorizerHead(pairs, limits), file: undefined };
    case "filter":
      return { head: { ...toRequestHead(pairs, limits), role }, file: readFile(pairs) };
  }
}

/**
 * An authorizer has no body, whatever the browser's request has: the web server keeps it, and should not even say how
 * long it is.
 */
function toAuthorizerHead(pairs: NameValuePair[], limits: MetaVariableLimits): RequestHead {
  const hasMethod = pairs.some(([name, value]) => name === "REQUEST_METHOD" && value !== "");
  const about = pairs.filter(([name]) => name !== "CONTENT_LENGTH");
  const head = toRequestHead(hasMethod ? about : [...about, ["REQUEST_METHOD", "GET"]], limits);
  // The library's own answer to "OPTIONS *" is a 200, which here would let the request in unasked.
  return { ...head, role: "authorizer", contentLength: 0, target: head.target === "*" ? "/" : head.target };
}

function readFile(pairs: NameValuePair[]): FileAbout {
  let length = "";
  let lastModified = "";
  for (const [name, value] of pairs) {
    if (name === "FCGI_DATA_LENGTH") length = value;
    else if (name === "FCGI_DATA_LAST_MOD") lastModified = value;
  }
  if (length !== "" && parseContentLength(length) < 0) {
    throw rejection(400, `Cannot take "${printable(length)}" as a FCGI_DATA_LENGTH`);
  }
  const seconds = parseContentLength(lastModified);
  return { length: parseContentLength(length), lastModified: seconds > LAST_SECOND ? -1 : seconds };
}

/** Whether a response of an authorizer lets the request in; it has no body then. */
export function letsIn(role: Role, status: number): boolean {
  return role === "authorizer" && status === 200;
}

/**
 * The head of a response as CGI has it. Of one that lets a request in only the variables count (specification section
 * 6.3); Apache would take some of the other headers for those of the resource. In all others variables are left out, as
 * they would reach the browser.
 */
export function formatRoleHead(role: Role, head: ResponseHead): string {
  if (!letsIn(role, head.status)) return formatResponseHead(head);
  let text = `Status: 200 ${head.reason}\r\n`;
  for (const [name, value] of head.headers) {
    // Headers makes names lower-case, and web servers keep the case of a variable.
    if (name.startsWith(VARIABLE)) text += `Variable-${name.slice(VARIABLE.length).toUpperCase()}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}
