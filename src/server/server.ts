import { type Protocol, PROTOCOLS } from "../protocols.ts";
import type {
  Addr,
  AjpOptions,
  FastCgiOptions,
  Handler,
  HandlerObject,
  Listen,
  Listener,
  ProtocolName,
  ServeFunction,
  ServeOptions,
  Server,
  ServerStats,
  Transport,
} from "../types.ts";
import { checkAccess, parseAddresses, plainAddress } from "./access.ts";
import { type Deferred, deferred } from "./deferred.ts";
import { ConnectionDriver, createShared, type Shared } from "./serve_connection.ts";

type AnyOptions = ServeOptions & AjpOptions & FastCgiOptions;

/**
 * Makes the serve function of one protocol, or of "any" that arrives, from a runtime's way to listen. For adapters.
 *
 * @example
 * ```ts
 * import { bindServe, type Listen, type ServeAjpOptions, type ServeFunction } from "isthmus";
 *
 * const listen: Listen = () => Promise.reject(new Error("Cannot listen here"));
 * export const serveAjp: ServeFunction<ServeAjpOptions> = bindServe("ajp", listen);
 * ```
 */
export function bindServe<Options extends ServeOptions>(
  protocol: ProtocolName | "any",
  listen: Listen,
): ServeFunction<Options> {
  return (first: unknown, second?: Handler | HandlerObject): Server => {
    const { options, handler } = readArguments(first, second);
    return new ListeningServer(PROTOCOLS[protocol], options, handler, listen);
  };
}

/** The three ways to call: (handler), (options, handler), ({ ...options, handler }). */
function readArguments(
  first: unknown,
  second: Handler | HandlerObject | undefined,
): { options: AnyOptions; handler: Handler | HandlerObject } {
  if (second !== undefined) return { options: first as AnyOptions, handler: second };
  if (typeof first === "function") return { options: {}, handler: first as Handler };
  if (typeof first !== "object" || first === null) {
    throw new TypeError("Cannot serve without a handler: give a function, or options with `handler`");
  }
  if ("handler" in first) return { options: first as AnyOptions, handler: first.handler as Handler };
  return { options: {}, handler: first as HandlerObject };
}

class ListeningServer implements Server {
  readonly #shared: Shared;
  readonly #options: AnyOptions;
  readonly #connections = new Set<ConnectionDriver>();
  readonly #allowed: ReadonlySet<string> | undefined;
  readonly #ready: Deferred<Addr> = deferred();
  readonly #finished: Deferred<void> = deferred();
  #listener: Listener | undefined;
  #state: "starting" | "listening" | "stopping" | "finished" = "starting";
  #stopped: Promise<void> | undefined;
  #referenced = true;
  /** Whether somebody waits for a promise of ours, and so is told when listening fails. */
  #watched = false;

  constructor(protocol: Protocol, options: AnyOptions, handler: Handler | HandlerObject, listen: Listen) {
    this.#shared = createShared(protocol, options, handler);
    this.#options = options;
    checkAccess(protocol, options);
    this.#allowed = options.allowedAddresses && parseAddresses(options.allowedAddresses);
    this.#ready.promise.catch(ignore);
    this.#finished.promise.catch(ignore);
    const { signal } = options;
    if (signal?.aborted) {
      this.#state = "stopping";
      this.#end();
      return;
    }
    signal?.addEventListener("abort", this.#onSignal, { once: true });
    this.#start(protocol, listen);
  }

  get addr(): Addr {
    if (this.#listener === undefined) throw new Error("Cannot tell the address yet: await `ready` first");
    return this.#listener.addr;
  }

  get ready(): Promise<Addr> {
    this.#watched = true;
    return this.#ready.promise;
  }

  get finished(): Promise<void> {
    this.#watched = true;
    return this.#finished.promise;
  }

  get stats(): ServerStats {
    return { ...this.#shared.observer.stats };
  }

  shutdown(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  ref(): void {
    this.#referenced = true;
    this.#listener?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#listener?.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #start(protocol: Protocol, listen: Listen): Promise<void> {
    const { hostname = "127.0.0.1", port = protocol.defaultPort, path, mode, fd, onListen } = this.#options;
    try {
      const listener = await listen(
        {
          hostname,
          port,
          ...(path === undefined ? {} : { path }),
          ...(mode === undefined ? {} : { mode }),
          ...(fd === undefined ? {} : { fd }),
        },
        (transport) => this.#accept(transport),
        (error) => this.#fail(error),
      );
      this.#listener = listener;
      if (this.#state !== "starting") {
        await listener.close();
        this.#end();
        return;
      }
      // An inherited descriptor tells its address only now.
      checkAccess(protocol, { ...this.#options, addr: listener.addr });
      if (!this.#referenced) listener.unref();
      this.#state = "listening";
      this.#ready.resolve(listener.addr);
      onListen?.(listener.addr);
    } catch (error) {
      await this.#listener?.close();
      this.#fail(error);
    }
  }

  /** Listening failed, at the start or later. */
  #fail(error: unknown): void {
    const starting = this.#state === "starting";
    this.#options.signal?.removeEventListener("abort", this.#onSignal);
    this.#state = "finished";
    for (const connection of this.#connections) connection.close();
    this.#ready.reject(error);
    this.#finished.reject(error);
    // Who watches neither promise is told as of any other failure that nobody handles.
    if (!this.#watched) Promise.reject(error);
    else if (!starting) this.#shared.settings.logger.error("isthmus: the server ended:", error);
  }

  #accept(transport: Transport): void {
    const { settings, observer } = this.#shared;
    if (this.#state === "stopping" || this.#state === "finished") {
      transport.close();
      return;
    }
    if (!this.#allows(transport) || this.#connections.size >= settings.maxConnections) {
      observer.stats.refusedConnections++;
      transport.close();
      return;
    }
    const connection = new ConnectionDriver(transport, this.#shared);
    this.#connections.add(connection);
    connection.finished.then(() => this.#connections.delete(connection));
  }

  /** Who can open a socket file is a matter of its permissions. */
  #allows({ peerAddr }: Transport): boolean {
    if (this.#allowed === undefined || this.#listener?.addr.transport === "unix") return true;
    // A connection that is reset as it is accepted has no address any more, but what it sent is still there.
    return peerAddr?.transport === "tcp" && this.#allowed.has(plainAddress(peerAddr.hostname));
  }

  async #stop(): Promise<void> {
    if (this.#state === "finished") return;
    const wasListening = this.#state === "listening";
    this.#state = "stopping";
    if (!wasListening) {
      // Listening is under way, and `#start` ends it.
      await this.#finished.promise;
      return;
    }
    const closed = this.#listener?.close();
    const { shutdownTimeout } = this.#shared.settings;
    const cutOff = shutdownTimeout === 0 || shutdownTimeout === Infinity
      ? undefined
      : setTimeout(() => this.#closeConnections(), shutdownTimeout);
    // A connection that was accepted while others ended must end as well.
    while (this.#connections.size > 0) {
      await Promise.all(Array.from(this.#connections, (connection) => connection.shutdown()));
    }
    clearTimeout(cutOff);
    await closed;
    this.#end();
  }

  readonly #onSignal = (): void => {
    this.shutdown().catch(ignore); // that listening failed is told by `ready` and `finished`
    this.#closeConnections();
  };

  #closeConnections(): void {
    for (const connection of this.#connections) connection.close();
  }

  #end(): void {
    if (this.#state === "finished") return;
    this.#state = "finished";
    this.#options.signal?.removeEventListener("abort", this.#onSignal);
    this.#ready.reject(new Error("The server was ended before it listened"));
    this.#finished.resolve();
  }
}

function ignore(): void {
  // Told through the promise that the user holds, or through `#fail`.
}
