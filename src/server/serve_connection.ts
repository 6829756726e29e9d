/**
 * The one driver: moves bytes between a transport and a protocol's machine, and gives each request to the handler.
 *
 * Reading and writing are independent of each other: a web server that does not read stops the responses, not the
 * requests, and the other way round. Three things bound what a connection can hold: the machine's `wantsInput`, the
 * transport's backpressure, and the time limits.
 *
 * @module
 */

import type { Closing, ServerMachine, Waiting } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import { type Protocol, PROTOCOLS } from "../protocols.ts";
import { type DuplexStreams, webStreamsTransport } from "../transport/web_streams.ts";
import type {
  Addr,
  AjpOptions,
  CgiOptions,
  FastCgiOptions,
  Handler,
  HandlerObject,
  ProtocolName,
  ServedConnection,
  Transport,
} from "../types.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { Observer } from "./observe.ts";
import { type RequestContext, ServedRequest } from "./served_request.ts";
import { resolveSettings, type Settings } from "./settings.ts";
import { Soon } from "./soon.ts";

/** Output that may wait for a web server that does not read, before its input is no longer read either. */
const MAX_WAITING_OUTPUT = 65536;
/** How long without a byte, and for how many, a connection that has been answered for good is read on. */
const LINGER_TIME = 2000;
/** How long in all, in milliseconds: one byte now and then does not keep a connection for ever. */
const MAX_LINGER_TIME = 30_000;
const LINGER_BYTES = 64 * 1024 * 1024;

/** What all connections of a server share. */
export interface Shared {
  readonly protocol: Protocol;
  readonly handler: Handler;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly deadlines: Deadlines;
  readonly soon: Soon;
}

/**
 * Serves one connection over any pair of streams, or over a Transport of your own.
 *
 * @param connection what connects to the web server
 * @param options the protocol that the web server speaks, or "any" to see by what it sends, and that protocol's options
 * @param handler a fetch handler, or an object with one
 * @throws {RangeError} or {TypeError} for options that make no sense
 *
 * @example
 * ```ts
 * import { serveConnection } from "isthmus";
 *
 * // Any two streams will do; these two are joined to nothing, so that the connection ends at once.
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const connection = serveConnection({ readable, writable }, { protocol: "fastcgi" }, () => new Response("hi"));
 * connection.close();
 * await connection.finished;
 * ```
 */
export function serveConnection(
  connection: DuplexStreams | Transport,
  options: { protocol: ProtocolName | "any" } & AjpOptions & FastCgiOptions & CgiOptions,
  handler: Handler | HandlerObject,
): ServedConnection {
  const transport = "readable" in connection ? webStreamsTransport(connection) : connection;
  return new ConnectionDriver(transport, createShared(PROTOCOLS[options.protocol], options, handler));
}

/** Checks the options and makes what the connections of one server share. */
export function createShared(
  protocol: Protocol | undefined,
  options: AjpOptions & FastCgiOptions & CgiOptions,
  handler: Handler | HandlerObject,
): Shared {
  if (protocol === undefined) {
    throw new TypeError(`Cannot serve this protocol: it must be one of ${Object.keys(PROTOCOLS).join(", ")}`);
  }
  const settings = resolveSettings(options, (name) => observer.ignoredAttribute(name));
  const observer = new Observer(settings.logger);
  return {
    protocol,
    handler: toHandler(handler),
    settings,
    observer,
    deadlines: new Deadlines(),
    soon: new Soon(),
  };
}

function toHandler(handler: Handler | HandlerObject): Handler {
  if (typeof handler === "function") return handler;
  if (typeof handler?.fetch === "function") return (request, info) => handler.fetch(request, info);
  throw new TypeError("Cannot serve without a handler: it must be a function, or an object with a fetch function");
}

/** Drives one connection until it has ended. */
export class ConnectionDriver implements ServedConnection, RequestContext {
  readonly finished: Promise<void>;
  readonly handler: Handler;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly soon: Soon;
  readonly peerAddr: Addr | undefined;
  blocked: Promise<void> | undefined;
  readonly uploads: Set<ServedRequest> = new Set();
  readonly #transport: Transport;
  readonly #machine: ServerMachine;
  readonly #readLimit: Deadline;
  readonly #writeLimit: Deadline;
  /** What `#readLimit` was set for. */
  #waiting: Waiting = "nothing";
  #progress = -1;
  #receiving = false;
  #readable: Deferred<void> | undefined;
  #lingering = false;
  #lingerUntil: number | undefined;
  /** Whether FIN has been sent. */
  #writeClosed = false;
  #inputEnded = false;
  #closed = false;

  constructor(transport: Transport, shared: Shared) {
    this.handler = shared.handler;
    this.settings = shared.settings;
    this.observer = shared.observer;
    this.soon = shared.soon;
    this.peerAddr = transport.peerAddr;
    this.#transport = transport;
    this.#readLimit = shared.deadlines.create(() => this.#onReadLimit());
    this.#writeLimit = shared.deadlines.create(() => this.#break(timedOut("read the response")));
    this.#machine = shared.protocol.createServer(
      shared.settings,
      (exchange) => new ServedRequest(exchange, this).start(),
      (error) => this.observer.protocolError(error),
    );
    this.observer.stats.connections++;
    this.observer.stats.totalConnections++;
    this.#watch();
    this.finished = this.#run();
  }

  get protocol(): ProtocolName {
    return this.#machine.protocol;
  }

  shutdown(): Promise<void> {
    this.#machine.drain();
    this.flush();
    return this.finished;
  }

  close(): void {
    this.#break(new ProtocolError("ERR_SHUTDOWN", "The server was ended", { initiator: "local" }));
  }

  /** Sends what the machine has to send, and does what its state asks for. */
  flush(): void {
    if (this.#receiving || this.#closed) return; // comes at the end of the receiving
    const machine = this.#machine;
    if (this.blocked === undefined && machine.output.length > 0 && !isLost(machine.closing)) this.#write();
    this.#watch();
    if (machine.closing === "destroy") this.#close();
    else if (machine.closing === "reset") this.#close(true);
    else if (machine.closing !== "open" && this.blocked === undefined) this.#closeWrite();
    if (!machine.wantsInput) { for (const upload of this.uploads) upload.relieve(); }
    if (this.#readable !== undefined && this.#mayRead) {
      this.#readable.resolve();
      this.#readable = undefined;
    }
  }

  async #run(): Promise<void> {
    const { stats } = this.observer;
    let lingered = 0;
    try {
      this.#receive(NOTHING); // a request may be there without any input (CGI)
      while (!this.#closed) {
        if (!this.#mayRead) {
          this.#readable = deferred();
          await this.#readable.promise;
          continue;
        }
        const chunk = await this.#transport.read();
        if (chunk === null) {
          // With FIN both ways there is nothing left to wait for.
          if (!this.#machine.receiveFin() || this.#writeClosed) break;
          this.#inputEnded = true;
          this.flush();
          continue;
        }
        stats.bytesReceived += chunk.length;
        if (this.#machine.closing === "open") {
          this.#receive(chunk);
        } else {
          lingered += chunk.length;
          if (lingered > LINGER_BYTES) break;
          if (this.#writeClosed) this.#lingerOn();
        }
      }
      this.#break(new ProtocolError("ERR_ABORTED", "The web server closed the connection"));
    } catch (cause) {
      if (this.#receiving) this.settings.logger.error("isthmus: a connection failed:", cause);
      this.#break(new ProtocolError("ERR_ABORTED", "The connection to the web server broke", { cause }));
    }
    stats.connections--;
  }

  #receive(chunk: Uint8Array): void {
    this.#receiving = true;
    try {
      this.#machine.receive(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error; // a mistake of ours: the connection ends, and it is said
      this.observer.protocolError(error);
    }
    this.#receiving = false;
    this.flush();
  }

  get #mayRead(): boolean {
    if (this.#closed) return true;
    if (this.#inputEnded) return false;
    if (this.#machine.closing !== "open") return true;
    return this.#machine.wantsInput &&
      (this.blocked === undefined || this.#machine.output.length <= MAX_WAITING_OUTPUT);
  }

  #write(): void {
    const chunks = this.#machine.output.take();
    for (const chunk of chunks) this.observer.stats.bytesSent += chunk.length;
    let blocked: Promise<void> | undefined;
    try {
      blocked = this.#transport.write(chunks);
    } catch (cause) {
      blocked = Promise.reject(cause);
    }
    if (blocked === undefined) return;
    this.blocked = blocked;
    this.#writeLimit.start(this.settings.writeTimeout);
    blocked.then(() => {
      this.blocked = undefined;
      this.#writeLimit.stop();
      this.flush();
    }, (cause) => {
      this.#break(new ProtocolError("ERR_ABORTED", "The connection to the web server broke", { cause }));
    });
  }

  /** Starts the time limit anew that fits what the machine waits for. */
  #watch(): void {
    const { waiting, progress } = this.#machine;
    if (waiting === this.#waiting && progress === this.#progress) return;
    this.#waiting = waiting;
    this.#progress = progress;
    if (!this.#lingering) this.#readLimit.start(this.#timeoutFor(waiting));
  }

  #timeoutFor(waiting: Waiting): number {
    switch (waiting) {
      case "head":
        return this.settings.headTimeout;
      case "body":
        return this.settings.bodyTimeout;
      case "request":
        return this.settings.idleTimeout;
      default:
        return 0;
    }
  }

  #onReadLimit(): void {
    if (this.#lingering) {
      this.#close();
      return;
    }
    const idle = this.#waiting === "request";
    this.#progress = -1;
    const error = this.#machine.timeout();
    if (error !== undefined && !idle) this.observer.protocolError(error);
    this.flush();
  }

  /**
   * Sends FIN, and reads on for a while where something may still come: closing a socket with unread input resets it,
   * and a reset may overtake the response.
   */
  #closeWrite(): void {
    if (this.#lingering) return;
    this.#lingering = true;
    this.#readLimit.stop();
    // What the transport still holds may take as long as any other write.
    this.#writeLimit.start(this.settings.writeTimeout);
    const done = (): void => {
      this.#writeLimit.stop();
      this.#writeClosed = true;
      if (this.#closed) return;
      if (this.#machine.closing === "linger" && !this.#inputEnded) this.#lingerOn();
      else this.#close();
    };
    this.#transport.closeWrite().then(done, done);
  }

  /** Something came, or may still come, although the answer has been given. */
  #lingerOn(): void {
    const now = performance.now();
    this.#lingerUntil ??= now + MAX_LINGER_TIME;
    // A limit of 0 would be none.
    this.#readLimit.start(Math.max(1, Math.min(LINGER_TIME, this.#lingerUntil - now)));
  }

  /** The connection is of no use any more. */
  #break(error: ProtocolError): void {
    if (this.#closed) return;
    this.#receiving = true; // what the aborted requests do sends nothing
    this.#machine.receiveEnd(error);
    this.#receiving = false;
    this.#close();
  }

  #close(reset = false): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readLimit.stop();
    this.#writeLimit.stop();
    this.#transport.close(reset);
    this.#readable?.resolve();
    this.#readable = undefined;
  }
}

const NOTHING = new Uint8Array(0);

/** Whether what stands in the output is not to be sent any more. */
function isLost(closing: Closing): boolean {
  return closing === "destroy" || closing === "reset";
}

function timedOut(what: string): ProtocolError {
  return new ProtocolError("ERR_TIMEOUT", `The web server did not ${what} in time`);
}
