import type { ProtocolError } from "../errors.ts";
import { printable } from "../http/url.ts";
import type { Logger, ServerStats } from "../types.ts";

/** A peer that sends nonsense must not fill the log: each kind of error is logged once in this time (milliseconds). */
const LOG_INTERVAL = 60_000;
const MAX_ATTRIBUTE_NAMES = 100;

/** Counts what happens, and tells the operator what he should know. */
export class Observer {
  readonly stats: { -readonly [Name in keyof ServerStats]: ServerStats[Name] } = {
    connections: 0,
    activeRequests: 0,
    totalConnections: 0,
    refusedConnections: 0,
    totalRequests: 0,
    protocolErrors: 0,
    handlerErrors: 0,
    bytesReceived: 0,
    bytesSent: 0,
  };
  readonly #logger: Logger;
  readonly #logged = new Map<string, { since: number; more: number }>();
  readonly #attributes = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** A web server, or somebody behind it, broke a rule. */
  protocolError(error: ProtocolError): void {
    this.stats.protocolErrors++;
    const now = Date.now();
    const logged = this.#logged.get(error.code);
    if (logged !== undefined && now - logged.since < LOG_INTERVAL) {
      logged.more++;
      return;
    }
    this.#logged.set(error.code, { since: now, more: 0 });
    const more = logged !== undefined && logged.more > 0 ? ` (and ${logged.more} more since)` : "";
    this.#logger.warn(`isthmus: ${error.message} [${error.code}]${more}`);
  }

  /** A handler threw, or its response could not be sent whole. */
  handlerError(error: unknown, logged: boolean): void {
    this.stats.handlerErrors++;
    if (!logged) this.#logger.error("isthmus: the handler failed:", error);
  }

  /** A request attribute was dropped: said once for each name, as single sign-on may depend on it. */
  ignoredAttribute(name: string): void {
    if (this.#attributes.has(name) || this.#attributes.size >= MAX_ATTRIBUTE_NAMES) return;
    this.#attributes.add(name);
    this.#logger.warn(`isthmus: AJP request attribute ${printable(name)} is dropped; allowedAttributes lets it in`);
  }
}
