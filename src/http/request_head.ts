/**
 * The head of a request, the same whatever protocol carried it. Types only.
 *
 * @module
 */

import type { NetAddr, Role, TlsInfo } from "../types.ts";

/** A header's name and value. The name's case is not fixed; each character of the value is one byte (ISO-8859-1). */
export type HeaderPair = [name: string, value: string];

/** What the web server says of a request besides HTTP itself. Worked out on first touch. */
export interface RequestMeta {
  readonly remoteAddr: NetAddr;
  readonly remoteUser: string | undefined;
  readonly authType: string | undefined;
  readonly ssl: TlsInfo | undefined;
  readonly params: ReadonlyMap<string, string>;
}

/** A request that has been checked: nothing in it can make `new Request` read something else than was meant. */
export interface RequestHead {
  readonly role: Role;
  readonly method: string;
  readonly scheme: "http" | "https";
  /** `host` or `host:port`, checked. */
  readonly authority: string;
  /** Percent-encoded path and query, beginning with "/"; or "*". */
  readonly target: string;
  /** Without the hop-by-hop headers. */
  readonly headers: HeaderPair[];
  /** Bytes of the body; 0 for none, -1 when only its end will tell. */
  readonly contentLength: number;
  readonly meta: RequestMeta;
}
