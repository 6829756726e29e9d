/**
 * GET_VALUES (FastCGI specification section 4.1): what a web server may ask of the application.
 *
 * @module
 */

import type { ByteWriter } from "../bytes/byte_writer.ts";
import * as codec from "./codec.ts";
import * as wire from "./constants.ts";
import { decodeNameValuePairs, encodeNameValuePair, type NameValuePair, nameValuePairSize } from "./name_value.ts";

/** What the answers are made of. */
export interface ValueLimits {
  readonly maxConnections: number;
  readonly maxConcurrentRequests: number;
  readonly maxActiveRequests: number;
  readonly maxRequestsPerConnection: number;
  readonly multiplex: boolean;
}

/** The largest number that every web server can read. */
const LARGEST = 0x7fffffff;

/** The names that are asked for. A pair that runs over its record asks for nothing. */
export function decodeNames(content: Uint8Array): Set<string> {
  const pairs: NameValuePair[] = [];
  try {
    decodeNameValuePairs(content, Infinity, pairs);
  } catch {
    // Those before it stand.
  }
  return new Set(pairs.map(([name]) => name));
}

/** Whether the answer may lead to requests that overlap. */
export function asksForMultiplexing(names: ReadonlySet<string>): boolean {
  return names.has(wire.MPXS_CONNS_NAME);
}

/** Answers those of the names that are known, with values that are true. */
export function answerValues(output: ByteWriter, names: ReadonlySet<string>, limits: ValueLimits): void {
  const known: Record<string, string> = {
    [wire.MAX_CONNS_NAME]: decimal(limits.maxConnections),
    // HAProxy takes it as the limit of this connection.
    [wire.MAX_REQS_NAME]: decimal(limits.multiplex ? mostRequests(limits) : 1),
    [wire.MPXS_CONNS_NAME]: limits.multiplex ? "1" : "0",
  };
  const asked = Object.keys(known).filter((name) => names.has(name));
  let length = 0;
  for (const name of asked) length += nameValuePairSize(name, known[name]!);
  codec.encodeRecordHeader(output, wire.GET_VALUES_RESULT, wire.MANAGEMENT_ID, length);
  for (const name of asked) encodeNameValuePair(output, name, known[name]!);
}

function mostRequests(limits: ValueLimits): number {
  const { maxConcurrentRequests, maxActiveRequests, maxRequestsPerConnection } = limits;
  return Math.min(maxConcurrentRequests, maxActiveRequests, maxRequestsPerConnection, wire.MAX_REQUEST_ID);
}

/** A limit may be Infinity, which is no number to a web server. */
function decimal(limit: number): string {
  return String(Math.min(limit, LARGEST));
}
