/**
 * Serves fetch handlers over AJP13, FastCGI and SCGI on Bun.
 *
 * @example
 * ```ts
 * import { serveFastCgi } from "isthmus/bun";
 *
 * serveFastCgi({ port: 9000 }, (request) => new Response(`You asked for ${request.url}`));
 * ```
 *
 * @module
 */

import { bindServe } from "../src/mod.ts";
import type {
  Addr,
  Listen,
  Listener,
  ListenOptions,
  ServeAjpOptions,
  ServeAnyOptions,
  ServeFastCgiOptions,
  ServeFunction,
  ServeScgiOptions,
  Transport,
} from "../src/mod.ts";
import { gather } from "./_gather.ts";
import { Inbox } from "./_inbox.ts";
import { listenError } from "./_listen_error.ts";
import { listenNodeNet } from "./_node_net.ts";
import { makeWay, setMode } from "./_socket_file.ts";

export type * from "../src/mod.ts";
export { allow, ProtocolError, serveConnection, webStreamsTransport } from "../src/mod.ts";
export { serveSpawned } from "./_spawned.ts";

/**
 * Listens on a TCP port, a unix socket or an inherited descriptor, and gives each connection away as a `Transport`.
 * The serve functions stand on it; on its own it is for those who drive connections themselves.
 *
 * @example
 * ```ts
 * import { listen, serveConnection } from "isthmus/bun";
 *
 * const listener = await listen(
 *   { hostname: "127.0.0.1", port: 9000 },
 *   (transport) => serveConnection(transport, { protocol: "fastcgi" }, () => new Response("Hello")),
 *   (error) => console.error(error),
 * );
 * console.log(listener.addr);
 * ```
 */
export const listen: Listen = async (options, onConnection, onFailure) => {
  const { path, fd } = options;
  // Bun.listen takes no descriptor.
  if (fd !== undefined) return await listenNodeNet(options, onConnection, onFailure);
  if (path !== undefined) await makeWay({ ...options, path });

  const listener = new BunListener(open(options, onConnection), options);
  if (path !== undefined) {
    try {
      await setMode({ ...options, path });
    } catch (error) {
      await listener.close();
      throw error;
    }
  }
  return listener;
};

/**
 * Serves a handler over AJP13, the protocol of Apache's mod_proxy_ajp and mod_jk. Listens on 127.0.0.1:8009 unless
 * told otherwise.
 *
 * @example
 * ```ts
 * import { serveAjp } from "isthmus/bun";
 *
 * const server = serveAjp({ port: 8009, secret: "s3cret" }, (request, info) => {
 *   return new Response(`Hello ${info.remoteUser ?? info.remoteAddr.hostname}`);
 * });
 * await server.ready;
 * ```
 */
export const serveAjp: ServeFunction<ServeAjpOptions> = bindServe("ajp", listen);

/**
 * Serves a handler over FastCGI, as nginx, Apache, lighttpd, Caddy and others speak it. Listens on 127.0.0.1:9000
 * unless told otherwise.
 *
 * @example
 * ```ts
 * import { serveFastCgi } from "isthmus/bun";
 *
 * serveFastCgi({ path: "/run/app.sock", mode: 0o660 }, (request, info) => {
 *   return new Response(`${request.method} ${info.params.get("SCRIPT_NAME")}`);
 * });
 * ```
 */
export const serveFastCgi: ServeFunction<ServeFastCgiOptions> = bindServe("fastcgi", listen);

/**
 * Serves a handler over SCGI, as Apache's mod_proxy_scgi, nginx and lighttpd speak it. Listens on 127.0.0.1:4000 unless
 * told otherwise.
 *
 * @example
 * ```ts
 * import { serveScgi } from "isthmus/bun";
 *
 * serveScgi({ port: 4000 }, (request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * ```
 */
export const serveScgi: ServeFunction<ServeScgiOptions> = bindServe("scgi", listen);

/**
 * Serves a handler over AJP13, FastCGI and SCGI on one port: the first bytes of a connection tell which it is, and so
 * does `info.protocol`. Listens on 127.0.0.1:9000 unless told otherwise, and beyond loopback only with
 * `allowInsecure`: a stranger without the secret of AJP would speak another protocol.
 *
 * @example
 * ```ts
 * import { serve } from "isthmus/bun";
 *
 * serve({ port: 9000 }, (request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * ```
 */
export const serve: ServeFunction<ServeAnyOptions> = bindServe("any", listen);

/** What is used of Bun: written down here, so that the published types need no runtime's. */
interface BunNamespace {
  listen(
    options: ({ hostname: string; port: number } | { unix: string }) & {
      allowHalfOpen: boolean;
      socket: BunSocketHandler;
    },
  ): BunListeningSocket;
}

interface BunListeningSocket {
  readonly hostname: string;
  readonly port: number;
  stop(closeActiveConnections?: boolean): void;
  ref(): void;
  unref(): void;
}

interface BunSocketHandler {
  binaryType: "uint8array";
  open(socket: BunSocket): void;
  data(socket: BunSocket, bytes: Uint8Array): void;
  drain(socket: BunSocket): void;
  end(socket: BunSocket): void;
  close(socket: BunSocket, error?: Error): void;
  error(socket: BunSocket, error: Error): void;
}

interface BunSocket {
  data: BunTransport;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  setNoDelay(on: boolean): boolean;
  /** How many bytes were taken, or -1 when the socket is closed. Nothing else is kept. */
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Sends FIN. */
  shutdown(): void;
  /** Closes; the system still sends what it took. */
  end(): void;
  /** Resets. */
  terminate(): void;
}

/** After so many bytes that the system took at once, the other connections have their turn. */
const TURN_BYTES = 1024 * 1024;

function open(
  options: ListenOptions & { hostname: string; port: number },
  onConnection: (transport: Transport) => void,
): BunListeningSocket {
  const { hostname, port, path } = options;
  // Only now, since the command line loads this file on every runtime.
  const { Bun } = globalThis as unknown as { Bun: BunNamespace };
  const socket: BunSocketHandler = {
    binaryType: "uint8array",
    open(socket) {
      socket.data = new BunTransport(socket);
      onConnection(socket.data);
    },
    data: (socket, bytes) => socket.data.onData(bytes),
    drain: (socket) => socket.data.onDrain(),
    end: (socket) => socket.data.onEnd(),
    close: (socket, error) => socket.data.onClose(error),
    error: (socket, error) => socket.data.onClose(error),
  };
  try {
    return Bun.listen({ ...(path === undefined ? { hostname, port } : { unix: path }), allowHalfOpen: true, socket });
  } catch (error) {
    throw listenError(options, error);
  }
}

class BunListener implements Listener {
  readonly addr: Addr;
  readonly #socket: BunListeningSocket;

  constructor(socket: BunListeningSocket, { path }: ListenOptions) {
    this.#socket = socket;
    this.addr = path === undefined
      ? { transport: "tcp", hostname: socket.hostname, port: socket.port }
      : { transport: "unix", path };
  }

  close(): Promise<void> {
    this.#socket.stop();
    return Promise.resolve();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}

class BunTransport implements Transport {
  readonly peerAddr: Addr | undefined;
  readonly #socket: BunSocket;
  readonly #inbox: Inbox;
  /** What the system did not take yet. While there is any, a write is under way. */
  #unsent: Uint8Array[] = [];
  #drained: { resolve(): void; reject(error: unknown): void } | undefined;
  #writeClosed: (() => void) | undefined;
  #closingWrite = false;
  #closed = false;
  #error: unknown;
  #bytesThisTurn = 0;

  constructor(socket: BunSocket) {
    this.#socket = socket;
    this.#inbox = new Inbox(socket);
    const { remoteAddress, remotePort } = socket;
    this.peerAddr = remoteAddress === undefined || remotePort === undefined
      ? undefined
      : { transport: "tcp", hostname: remoteAddress, port: remotePort };
    socket.setNoDelay(true);
  }

  read(): Promise<Uint8Array | null> {
    return this.#inbox.read();
  }

  write(chunks: Uint8Array[]): Promise<void> | undefined {
    if (this.#closed || this.#closingWrite) return Promise.reject(this.#error ?? closedError());
    for (const chunk of gather(chunks)) this.#send(chunk);
    if (this.#unsent.length > 0) return new Promise((resolve, reject) => this.#drained = { resolve, reject });
    if (this.#bytesThisTurn > TURN_BYTES) {
      this.#bytesThisTurn = 0;
      return new Promise((resolve) => void setImmediate(resolve));
    }
    return undefined;
  }

  closeWrite(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closingWrite = true;
    if (this.#unsent.length === 0) {
      this.#socket.shutdown();
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#writeClosed = resolve);
  }

  close(reset = false): void {
    if (this.#closed) return;
    const lost = reset || this.#unsent.length > 0 || this.#inbox.unread;
    this.onClose(undefined);
    this.#inbox.discard();
    if (lost) this.#socket.terminate();
    else this.#socket.end();
  }

  onData(bytes: Uint8Array): void {
    this.#inbox.push(bytes);
  }

  onEnd(): void {
    this.#inbox.end();
  }

  onDrain(): void {
    if (this.#closed || this.#unsent.length === 0) return;
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const chunk of unsent) this.#send(chunk);
    if (this.#unsent.length > 0) return;
    this.#drained?.resolve();
    this.#drained = undefined;
    if (this.#closingWrite) this.#socket.shutdown();
    this.#writeClosed?.();
  }

  onClose(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#unsent = [];
    this.#inbox.end(error);
    this.#drained?.reject(error ?? closedError());
    this.#drained = undefined;
    this.#writeClosed?.();
  }

  #send(chunk: Uint8Array): void {
    if (this.#unsent.length > 0) {
      this.#unsent.push(chunk);
      return;
    }
    const sent = Math.max(this.#socket.write(chunk), 0);
    this.#bytesThisTurn += sent;
    // A socket that is closed takes nothing; its error comes by `close`.
    if (sent < chunk.length) this.#unsent.push(sent === 0 ? chunk : chunk.subarray(sent));
  }
}

function closedError(): Error {
  return new Error("Cannot write: the connection is closed");
}
