/**
 * Serves fetch handlers over AJP13, FastCGI and SCGI on Deno.
 *
 * @example
 * ```ts
 * import { serveFastCgi } from "isthmus/deno";
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
import { codeOf, listenError } from "./_listen_error.ts";
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
 * import { listen, serveConnection } from "isthmus/deno";
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
  // Deno.listen ignores a descriptor and opens a port of its own instead.
  if (fd !== undefined) return await listenNodeNet(options, onConnection, onFailure);
  if (path !== undefined) await makeWay({ ...options, path });

  const listener = new DenoListener(open(options), onConnection, onFailure);
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
 * import { serveAjp } from "isthmus/deno";
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
 * import { serveFastCgi } from "isthmus/deno";
 *
 * serveFastCgi({ path: "/run/app.sock", mode: 0o660 }, (request, info) => {
 *   return new Response(`${request.method} ${info.params.get("SCRIPT_NAME")}`);
 * });
 * ```
 */
export const serveFastCgi: ServeFunction<ServeFastCgiOptions> = bindServe("fastcgi", listen);

/**
 * An SCGI response ends with its connection, so nothing but a reset tells the web server that one broke, and Deno's own
 * connections cannot send any (2.9): `deno eval -p 'Object.getOwnPropertyNames(await Deno.connect({ port: 80 }).then(
 * Object.getPrototypeOf))'` prints constructor, setNoDelay, setKeepAlive. By node:net the reset arrives.
 */
const listenWithResets: Listen = listenNodeNet;

/**
 * Serves a handler over SCGI, as Apache's mod_proxy_scgi, nginx and lighttpd speak it. Listens on 127.0.0.1:4000 unless
 * told otherwise.
 *
 * @example
 * ```ts
 * import { serveScgi } from "isthmus/deno";
 *
 * serveScgi({ port: 4000 }, (request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * ```
 */
export const serveScgi: ServeFunction<ServeScgiOptions> = bindServe("scgi", listenWithResets);

/**
 * Serves a handler over AJP13, FastCGI and SCGI on one port: the first bytes of a connection tell which it is, and so
 * does `info.protocol`. Listens on 127.0.0.1:9000 unless told otherwise, and beyond loopback only with
 * `allowInsecure`: a stranger without the secret of AJP would speak another protocol.
 *
 * @example
 * ```ts
 * import { serve } from "isthmus/deno";
 *
 * serve({ port: 9000 }, (request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * ```
 */
export const serve: ServeFunction<ServeAnyOptions> = bindServe("any", listenWithResets);

/** What is used of Deno: written down here, so that the published types need no runtime's. */
interface DenoNamespace {
  listen(
    options: { hostname: string; port: number; tcpBacklog: number } | { transport: "unix"; path: string },
  ): DenoSocket;
}

interface DenoSocket {
  readonly addr: DenoAddr;
  accept(): Promise<DenoConn>;
  close(): void;
  ref(): void;
  unref(): void;
}

interface DenoConn {
  readonly remoteAddr: DenoAddr;
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  /** Of TCP only. */
  setNoDelay?(on: boolean): void;
}

type DenoAddr =
  | { readonly transport: "tcp"; readonly hostname: string; readonly port: number }
  | { readonly transport: "unix"; readonly path: string | null };

/** Connections that may wait to be accepted. */
const BACKLOG = 511;

/** Errors of accepting that pass once a connection is closed: too many open files. */
const FULL = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]);

/** Errors that are those of one connection, which was gone before it was accepted; another may wait behind it. */
const GONE = new Set(["ECONNABORTED", "ECONNRESET", "ENOTCONN", "EPROTO", "EINTR"]);

/** How long to wait where there are too many; until a connection is closed there is nothing better to do. */
const RETRY_MS = 100;

/** Unsent bytes of a connection above which a write is said to be under way. */
const HIGH_WATER_BYTES = 64 * 1024;

/** An idle connection holds a slab, so it starts small and grows only while reads fill it. */
const MIN_SLAB_BYTES = 4 * 1024;
const MAX_SLAB_BYTES = 64 * 1024;

/** Less than this at the end of a slab is not worth a read. */
const MIN_READ_BYTES = 1024;

function open(options: ListenOptions & { hostname: string; port: number }): DenoSocket {
  const { hostname, port, path } = options;
  // Only now, since the command line loads this file on every runtime.
  const { Deno } = globalThis as unknown as { Deno: DenoNamespace };
  try {
    return path === undefined
      ? Deno.listen({ hostname, port, tcpBacklog: BACKLOG })
      : Deno.listen({ transport: "unix", path });
  } catch (error) {
    throw listenError(options, error);
  }
}

class DenoListener implements Listener {
  readonly addr: Addr;
  readonly #socket: DenoSocket;
  readonly #accepting: Promise<void>;
  #closed = false;

  constructor(
    socket: DenoSocket,
    onConnection: (transport: Transport) => void,
    onFailure: (error: unknown) => void,
  ) {
    this.#socket = socket;
    const { addr } = socket;
    this.addr = addr.transport === "tcp"
      ? { transport: "tcp", hostname: addr.hostname, port: addr.port }
      : { transport: "unix", path: addr.path ?? "" };
    this.#accepting = this.#accept(onConnection, onFailure);
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#socket.close();
    }
    // The port is taken and the file is there until the accept under way has noticed.
    await this.#accepting;
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  async #accept(onConnection: (transport: Transport) => void, onFailure: (error: unknown) => void): Promise<void> {
    while (!this.#closed) {
      let conn: DenoConn;
      try {
        conn = await this.#socket.accept();
      } catch (error) {
        if (this.#closed) return;
        const code = codeOf(error) ?? "";
        if (GONE.has(code)) continue;
        if (!FULL.has(code)) return onFailure(error);
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        continue;
      }
      onConnection(new DenoTransport(conn));
    }
  }
}

class DenoTransport implements Transport {
  readonly peerAddr: Addr | undefined;
  readonly #conn: DenoConn;
  #slab: Uint8Array = new Uint8Array(MIN_SLAB_BYTES);
  /** Where the part of the slab begins that was not given away. */
  #offset = 0;
  #ended = false;
  #closed = false;
  #writeClosed = false;
  #error: unknown;
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #sending: Promise<void> | undefined;
  #drained: { resolve(): void; reject(error: unknown): void } | undefined;

  constructor(conn: DenoConn) {
    this.#conn = conn;
    const { remoteAddr } = conn;
    this.peerAddr = remoteAddr.transport === "tcp"
      ? { transport: "tcp", hostname: remoteAddr.hostname, port: remoteAddr.port }
      : undefined;
    try {
      conn.setNoDelay?.(true);
    } catch {
      // The connection is gone already, which the first read will tell.
    }
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#error !== undefined) throw this.#error;
    if (this.#ended || this.#closed) return null;
    const offset = this.#offset;
    const room = offset === 0 ? this.#slab : this.#slab.subarray(offset);
    let count: number | null;
    try {
      count = await this.#conn.read(room);
    } catch (error) {
      this.#fail(error);
      if (this.#error !== undefined) throw this.#error;
      return null;
    }
    if (count === null) {
      this.#ended = true;
      return null;
    }
    if (room.length - count < MIN_READ_BYTES) this.#renewSlab(count === room.length);
    else this.#offset = offset + count;
    return room.subarray(0, count);
  }

  write(chunks: Uint8Array[]): Promise<void> | undefined {
    if (this.#closed || this.#writeClosed) return Promise.reject(this.#error ?? closedError());
    for (const chunk of chunks) {
      // An empty write would wait for ever, having sent nothing.
      if (chunk.length === 0) continue;
      this.#unsent.push(chunk);
      this.#unsentBytes += chunk.length;
    }
    if (this.#unsentBytes === 0) return undefined;
    this.#sending ??= this.#send();
    if (this.#unsentBytes <= HIGH_WATER_BYTES) return undefined;
    return new Promise((resolve, reject) => this.#drained = { resolve, reject });
  }

  async closeWrite(): Promise<void> {
    this.#writeClosed = true;
    await this.#sending;
    if (this.#closed) return;
    try {
      await this.#conn.closeWrite();
    } catch {
      // The connection is broken, which a read tells.
    }
  }

  close(): void {
    this.#fail(undefined);
  }

  /** Sends until nothing is left. Never rejects. */
  async #send(): Promise<void> {
    try {
      while (this.#unsent.length > 0) {
        const chunks = gather(this.#unsent);
        this.#unsent = [];
        for (const chunk of chunks) {
          let sent = await this.#conn.write(chunk);
          this.#unsentBytes -= sent;
          while (sent < chunk.length) {
            const count = await this.#conn.write(chunk.subarray(sent));
            this.#unsentBytes -= count;
            sent += count;
          }
        }
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#sending = undefined;
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** Closes, for a reason or because it was asked to; then the errors of what was under way mean nothing. */
  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#unsent = [];
    this.#drained?.reject(error ?? closedError());
    this.#drained = undefined;
    this.#conn.close();
  }

  #renewSlab(filled: boolean): void {
    const { length } = this.#slab;
    this.#slab = new Uint8Array(
      filled ? Math.min(length * 4, MAX_SLAB_BYTES) : Math.max(length / 4, MIN_SLAB_BYTES),
    );
    this.#offset = 0;
  }
}

function closedError(): Error {
  return new Error("Cannot write: the connection is closed");
}
