/**
 * The records of a response. Every web server accepts this order: STDERR and its end where there is something to log,
 * STDOUT, the end of STDOUT, END_REQUEST; nothing may come after it, or the connection is not used again.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import { encodeLatin1 } from "../bytes/latin1.ts";
import { formatResponseHead } from "../cgi/response_head.ts";
import type { HeaderPair } from "../http/request_head.ts";
import { plainBody, plainHead } from "../http/response.ts";
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";

/** Any moment may bring room for another request. */
const RETRY_AFTER: HeaderPair = ["retry-after", "1"];

/** Writes the head of a response, one character a byte. */
export function writeResponseHead(output: ByteWriter, requestId: number, text: string): void {
  if (text.length > wire.MAX_SENT_CONTENT) {
    codec.encodeStream(output, wire.STDOUT, requestId, encodeLatin1(text));
  } else {
    codec.encodeRecordHeader(output, wire.STDOUT, requestId, text.length);
    output.latin1(text);
  }
}

/** Writes the end of a response that is whole. */
export function writeResponseEnd(output: ByteWriter, requestId: number): void {
  codec.encodeStreamEnd(output, wire.STDOUT, requestId);
  codec.encodeEndRequest(output, requestId, { appStatus: 0, protocolStatus: wire.REQUEST_COMPLETE });
}

/** Writes the whole response to a request that the handler never sees. */
export function writePlainResponse(output: ByteWriter, requestId: number, status: number): void {
  writePlainBody(output, requestId, status);
  writeResponseEnd(output, requestId);
}

/** Writes the same but for its end. */
export function writePlainBody(output: ByteWriter, requestId: number, status: number): void {
  const body = plainBody(status);
  const more: HeaderPair[] = status === 503 ? [RETRY_AFTER] : [];
  writeResponseHead(output, requestId, formatResponseHead(plainHead(status, body.length, more)));
  codec.encodeStream(output, wire.STDOUT, requestId, body);
}

/**
 * Writes lines for the web server's error log. Control characters could forge lines of it, and so could a line that does
 * not begin a record. The empty record at the end is more than good form: HAProxy 2.6 crashes where a STDERR record is
 * the last thing that it has read.
 */
export function writeLog(output: ByteWriter, requestId: number, text: string): void {
  const lines = text.replace(/[^\P{Cc}\n\t]/gu, "?").match(/[^\n]+\n?/g) ?? [];
  for (const line of lines) {
    codec.encodeStream(output, wire.STDERR, requestId, new TextEncoder().encode(line), wire.MAX_STDERR_CONTENT);
  }
  if (lines.length > 0) codec.encodeStreamEnd(output, wire.STDERR, requestId);
}

/**
 * Writes what no web server takes for the end of a whole response. Without END_REQUEST most see the end of the
 * connection for what it is, but nginx, unless told to keep connections, takes it for the end of the response. A record
 * of a version that there is not makes it, and all others, give the response up.
 */
export function writeBrokenEnd(output: ByteWriter, requestId: number): void {
  output.uint8(0);
  output.uint8(wire.STDERR);
  output.uint16(requestId);
  output.uint32(0);
}
