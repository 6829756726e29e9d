import { ProtocolError } from "../errors.ts";
import { hasControlCharacter, isHopByHopResponseHeader, parseContentLength } from "./header_rules.ts";
import type { HeaderPair } from "./request_head.ts";
import { isNullBodyStatus, reasonPhrase } from "./status.ts";
import { isToken } from "./url.ts";

/** The head of a response, ready for any protocol: nothing in it can break out of its field. */
export interface ResponseHead {
  readonly status: number;
  /** Never empty. */
  readonly reason: string;
  /** Without Content-Length and the hop-by-hop headers; each Set-Cookie is a pair of its own. */
  readonly headers: HeaderPair[];
  /** Bytes of the body as the Content-Length header is to say it, or -1 for no such header. */
  readonly contentLength: number;
}

/**
 * Reads the head of a handler's Response, which is not changed.
 *
 * @throws {ProtocolError} ERR_BAD_RESPONSE for something that is no Response, or one that cannot be sent: an error
 * response, an interim one, a body that has been used.
 */
export function readResponseHead(response: Response): ResponseHead {
  if (typeof response !== "object" || response === null || typeof response.status !== "number") {
    throw new ProtocolError("ERR_BAD_RESPONSE", "Cannot send what the handler returned: it is not a Response", {
      initiator: "handler",
    });
  }
  const { status } = response;
  if (!(status >= 200 && status <= 599)) {
    // Interim responses cannot be carried: both AJP and CGI know one head a request.
    throw new ProtocolError("ERR_BAD_RESPONSE", `Cannot send a response with status ${status}`, {
      initiator: "handler",
    });
  }
  if (response.bodyUsed) {
    throw new ProtocolError("ERR_BAD_RESPONSE", "Cannot send the response: its body has been used already", {
      initiator: "handler",
    });
  }
  const headers: HeaderPair[] = [];
  let contentLength = -1;
  for (const [name, value] of response.headers) {
    if (name === "content-length") contentLength = parseContentLength(value);
    else if (isHopByHopResponseHeader(name) || !isToken(name)) continue;
    else if (isLatin1(value)) headers.push([name, hasControlCharacter(value) ? withoutControls(value) : value]);
  }
  return { status, reason: readReason(response), headers, contentLength };
}

/** Whether a response to `method` with this status has a body on the wire (RFC 9110 section 6.4.1). */
export function mayHaveBody(method: string, status: number): boolean {
  return method !== "HEAD" && !isNullBodyStatus(status);
}

/** The head of a plain response that the library gives by itself. */
export function plainHead(status: number, contentLength: number, more: HeaderPair[] = []): ResponseHead {
  return {
    status,
    reason: reasonPhrase(status),
    headers: [["content-type", "text/plain;charset=UTF-8"], ...more],
    contentLength,
  };
}

/** The body of a plain response: the status in words and nothing that an attacker could use. */
export function plainBody(status: number): Uint8Array {
  return new TextEncoder().encode(`${status} ${reasonPhrase(status)}\n`);
}

function readReason(response: Response): string {
  const text = response.statusText;
  // Bun lets CR and LF into statusText, which would be a header of the attacker's on the wire.
  if (typeof text !== "string" || text === "" || hasControlCharacter(text) || !isLatin1(text)) {
    return reasonPhrase(response.status);
  }
  return text;
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

function withoutControls(value: string): string {
  return value.replace(/[^\P{Cc}\t\x80-\x9f]/gu, " ");
}

/** What a string body is. */
export const TEXT_PLAIN: HeaderPair = ["content-type", "text/plain;charset=UTF-8"];

/** Bun leaves the content-type of `new Response("text")` to its own server (oven-sh/bun#8530). */
const STRINGS_HAVE_NO_TYPE = new Response("").headers.get("content-type") === null;

/**
 * Whether the runtime owes the response the type that the Fetch standard gives a string body. Whether the body was a
 * string cannot be seen any more, so text is taken for one.
 *
 * @param body the whole body
 */
export function isTypelessStringBody(response: Response, body: Uint8Array[]): boolean {
  if (!STRINGS_HAVE_NO_TYPE || body.length !== 1 || response.headers.has("content-type")) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(body[0]);
    return true;
  } catch {
    return false;
  }
}
