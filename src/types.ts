/**
 * The whole public contract, in one place: what a handler is given, what a server is, and what an adapter provides.
 *
 * This module holds types only and knows no runtime.
 *
 * @module
 */

import type { ProtocolError } from "./errors.ts";

/** The address of one end of a TCP connection. */
export interface NetAddr {
  readonly transport: "tcp";
  /** An IP address as text; IPv6 without brackets. Empty where nobody said it. */
  readonly hostname: string;
  /** The port, or 0 where nobody said it. */
  readonly port: number;
}

/** The address of one end of a unix socket connection. */
export interface UnixAddr {
  readonly transport: "unix";
  /** The path of the socket file. Empty for an inherited descriptor whose path no runtime tells. */
  readonly path: string;
}

/** The address of a socket, in the shape of `Deno.Addr`. */
export type Addr = NetAddr | UnixAddr;

/** What the web server says of the TLS connection between the browser and itself. */
export interface TlsInfo {
  /** Protocol version such as `TLSv1.3`. */
  readonly protocol: string | undefined;
  /** Name of the cipher suite. */
  readonly cipher: string | undefined;
  /** Key size of the cipher in bits. */
  readonly keySize: number | undefined;
  /** Session id in hexadecimal. Often absent with TLS 1.3. */
  readonly sessionId: string | undefined;
  /** The client's certificate, and its chain where the web server sends it, as PEM text, leaf first. Not verified here. */
  readonly clientCert: string | undefined;
}

/**
 * What is known of a request besides the `Request` itself. Hono gets it as `c.env`.
 *
 * Everything in it was said by the web server over the connector, so it is as trustworthy as the web server, and no
 * browser can set it by sending a header.
 */
export interface HandlerInfo {
  /** The protocol that carried the request. */
  readonly protocol: ProtocolName;
  /** What the web server wants; anything but "responder" only over FastCGI. */
  readonly role: Role;
  /** For a filter: the file to filter. The body of the request is the browser's, as ever. */
  readonly data: FilterData | undefined;
  /** The HTTP client as the web server tells it. */
  readonly remoteAddr: NetAddr;
  /** The web server's own end of the connection; undefined where the runtime does not tell it (unix sockets). */
  readonly peerAddr: Addr | undefined;
  /** The user whom the web server has authenticated (REMOTE_USER); undefined where nobody logged in. */
  readonly remoteUser: string | undefined;
  /** How the user was authenticated (AUTH_TYPE), for example `Basic`. */
  readonly authType: string | undefined;
  /** TLS details; undefined for a request that reached the web server in clear. */
  readonly ssl: TlsInfo | undefined;
  /**
   * Every CGI meta-variable, or for AJP every attribute under its CGI name (REMOTE_USER, AUTH_TYPE, SSL_CIPHER, …);
   * AJP request attributes that `allowedAttributes` lets in stand under their own names.
   */
  readonly params: ReadonlyMap<string, string>;
  /** Resolves when the response has been handed to the web server whole; rejects when it could not be. */
  readonly completed: Promise<void>;
}

/** An ordinary fetch handler. */
export type Handler = (request: Request, info: HandlerInfo) => Response | Promise<Response>;

/** Any object with such a `fetch`, for example a Hono app. */
export interface HandlerObject {
  fetch(request: Request, info: HandlerInfo): Response | Promise<Response>;
}

/** The protocols that a web server can speak to an application here. */
export type ProtocolName = "ajp" | "fastcgi" | "scgi" | "cgi";

/** What a FastCGI web server wants of a request (FastCGI specification section 6). All other protocols know the first. */
export type Role = "responder" | "authorizer" | "filter";

/** The file that a FastCGI filter is to filter. */
export interface FilterData {
  /** Its bytes; asked for only as fast as they are read. Fails if fewer come than `length` says. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Its length in bytes (FCGI_DATA_LENGTH); undefined where the web server did not say it. */
  readonly length: number | undefined;
  /** When it was last changed (FCGI_DATA_LAST_MOD); undefined where the web server did not say it. */
  readonly lastModified: Date | undefined;
}

/** Where the library writes what an operator should know. `console` is one. */
export interface Logger {
  error(...data: unknown[]): void;
  warn(...data: unknown[]): void;
}

/** How much a peer may ask for. Each has a default that suits a web server on the same machine. */
export interface Limits {
  /** Most bytes of all header names and values of a request. Default 65536 (64 KiB). Over it: 431. */
  maxHeaderBytes?: number;
  /** Most headers of a request. Default 100. Over it: 431. */
  maxHeaderCount?: number;
  /** FastCGI and SCGI: most bytes of all variables of a request. Default 262144 (256 KiB). Over it: 431. */
  maxParamsBytes?: number;
  /** FastCGI and SCGI: most variables of a request. Default 1024. Over it: 431. */
  maxParamsCount?: number;
  /** Most bytes of a request body. Default 1073741824 (1 GiB), as Apache's LimitRequestBody. Over it: 413. */
  maxBodyBytes?: number;
  /**
   * FastCGI: bytes of a request's body held for a slow handler before the socket is no longer read. Default 1048576. On
   * a connection that the web server multiplexes, 16 times as much for all requests together.
   */
  maxBufferedBytes?: number;
  /** Most open connections; further ones are closed at once. Default 16384. */
  maxConnections?: number;
  /** FastCGI: most requests in progress on one connection. Default 32. Over it: 503. */
  maxConcurrentRequests?: number;
  /** Most requests in progress in all. Default 16384. Over it: 503. */
  maxActiveRequests?: number;
  /** Requests after which a connection is closed, 0 for no limit. Default 0. */
  maxRequestsPerConnection?: number;
  /** Milliseconds from the first byte of a request's head to its last; SCGI: from the accept. Default 30000. 0 for no limit, here and below. */
  headTimeout?: number;
  /** Milliseconds that the web server may take for the next piece of a body that was asked for. Default 60000. */
  bodyTimeout?: number;
  /** Milliseconds that a write may stand still because the web server does not read. Default 300000. */
  writeTimeout?: number;
  /**
   * Milliseconds after which an idle kept-alive connection is closed. Default 0: never, since a web server that reuses a
   * connection just as it is closed loses a request.
   */
  idleTimeout?: number;
  /** Milliseconds that `shutdown()` waits for the requests that run before it cuts them off. Default 10000. */
  shutdownTimeout?: number;
}

/** What is the same for every protocol and every runtime. */
export interface ConnectionOptions extends Limits {
  /**
   * Called with what a handler threw; its Response is sent instead. The default writes the error to `logger` and answers
   * a plain 500. An error after the head has been sent is reported here too; what is returned is then ignored.
   */
  onError?: (error: unknown) => Response | Promise<Response>;
  /** Where errors go. Default `console`. */
  logger?: Logger;
  /** Path prefix that is taken off the URL that the handler sees, as `ProxyPass /test ajp://…/test` needs. */
  mount?: string;
}

/** What only AJP has. */
export interface AjpOptions extends ConnectionOptions {
  /** Shared secret that every request must carry (`secret=` of mod_proxy_ajp and mod_jk). Empty or undefined: none. */
  secret?: string | undefined;
  /**
   * Largest packet in bytes, 8192 to 65536, the same as the web server's `ProxyIOBufferSize` or `max_packet_size`.
   * Default 8192.
   */
  packetSize?: number;
  /** Which request attributes reach `info.params`: a RegExp that matches the whole name, or a predicate. Default none. */
  allowedAttributes?: RegExp | ((name: string) => boolean);
  /** What happens to a request with any other attribute: it is dropped, or the request refused with 403. Default "ignore". */
  unknownAttributes?: "ignore" | "reject";
  /** Listen beyond loopback without a secret. Default false: that is an error. */
  allowInsecure?: boolean;
}

/** What only FastCGI has. */
export interface FastCgiOptions extends ConnectionOptions {
  /**
   * Answers the requests of the Authorizer role: a 200 lets the request in, any other response is sent instead of what
   * was asked for. Without it the role is refused.
   */
  authorize?: Handler;
  /** Whether a connection may carry several requests at once. Default true. */
  multiplex?: boolean;
}

/** What only SCGI has: nothing. */
export type ScgiOptions = ConnectionOptions;

/** What only plain CGI has. */
export interface CgiOptions extends ConnectionOptions {
  /** The variables of the request, the program's environment, each character of a value one byte. */
  variables?: Iterable<[name: string, value: string]>;
}

/** Where to listen: `hostname` and `port`, or `path`, or `fd`. */
export interface ListenOptions {
  /** Address to listen on. Default "127.0.0.1". */
  hostname?: string;
  /** Port to listen on; 0 lets the system choose. Default 8009 for AJP, 9000 for FastCGI, 4000 for SCGI, 9000 for any. */
  port?: number;
  /** Path of a unix socket instead. A socket file on which nothing listens any more is replaced. */
  path?: string;
  /** Permissions of the socket file, for example 0o660. Default: what the umask leaves. */
  mode?: number;
  /** Number of an inherited listening descriptor instead, TCP or unix. */
  fd?: number;
  /** IP addresses that may connect over TCP. Default: whoever can. */
  allowedAddresses?: readonly string[];
}

/** What the serve functions take besides a protocol's own options. */
export interface ServeOptions extends ListenOptions {
  /** Aborting it ends the server and its connections at once; for a gentle end use `shutdown()`. */
  signal?: AbortSignal;
  /** Called once the server listens. The default says nothing. */
  onListen?: (addr: Addr) => void;
}

/** Options of `serveAjp`. */
export interface ServeAjpOptions extends ServeOptions, AjpOptions {}

/** Options of `serveFastCgi`. */
export interface ServeFastCgiOptions extends ServeOptions, FastCgiOptions {}

/** Options of `serveScgi`. */
export interface ServeScgiOptions extends ServeOptions, ScgiOptions {}

/** Options of `serve`, which speaks them all. */
export interface ServeAnyOptions extends ServeOptions, AjpOptions, FastCgiOptions, ScgiOptions {}

/** Options of `serveSpawned`. */
export interface ServeSpawnedOptions extends FastCgiOptions {
  /** What the web server expects of this process. Default: what the environment and descriptor 0 say. */
  protocol?: "cgi" | "fastcgi";
  /** IP addresses that may connect over TCP. Default: the variable FCGI_WEB_SERVER_ADDRS; without it, whoever can. */
  allowedAddresses?: readonly string[];
  /** Milliseconds that `shutdown()` waits for the requests that run. Default 2500: mod_fcgid kills after 3 seconds. */
  shutdownTimeout?: number;
  /** Aborting it ends the server and its connections at once; for a gentle end use `shutdown()`. */
  signal?: AbortSignal;
  /** Called once the server listens. Over plain CGI the address is a unix socket without a path. */
  onListen?: (addr: Addr) => void;
}

/** A snapshot of a server's counters. */
export interface ServerStats {
  /** Connections open now. */
  readonly connections: number;
  /** Requests in progress now. */
  readonly activeRequests: number;
  /** Connections accepted since the start. */
  readonly totalConnections: number;
  /** Connections closed at once since `maxConnections` was reached. */
  readonly refusedConnections: number;
  /** Requests given to the handler since the start. */
  readonly totalRequests: number;
  /** Requests and connections that were malformed or over a limit. */
  readonly protocolErrors: number;
  /** Handlers that threw, or whose response broke. */
  readonly handlerErrors: number;
  /** Bytes read from web servers. */
  readonly bytesReceived: number;
  /** Bytes written to web servers. */
  readonly bytesSent: number;
}

/** A running server, in the shape of `Deno.HttpServer`. */
export interface Server extends AsyncDisposable {
  /** Where the server listens. Throws an Error until `ready` has resolved. */
  readonly addr: Addr;
  /** Resolves with the address once the server listens; rejects when it cannot. */
  readonly ready: Promise<Addr>;
  /** Resolves when the server has ended; rejects when it could not listen. */
  readonly finished: Promise<void>;
  /** The counters, read now. */
  readonly stats: ServerStats;
  /** Stops accepting, closes idle connections, finishes the requests that run, and cuts off what `shutdownTimeout` leaves. */
  shutdown(): Promise<void>;
  /** Keeps the process alive while the server runs (the default). */
  ref(): void;
  /** Lets the process end although the server runs. */
  unref(): void;
}

/** The three ways to call a serve function, as with `Deno.serve`. */
export interface ServeFunction<Options extends ServeOptions> {
  (handler: Handler | HandlerObject): Server;
  (options: Options, handler: Handler | HandlerObject): Server;
  (options: Options & { handler: Handler | HandlerObject }): Server;
}

/**
 * One connection to a web server, as the core uses it. An adapter makes one of a runtime's socket; `webStreamsTransport`
 * makes one of any `{ readable, writable }` pair.
 */
export interface Transport {
  /** The other end, where the runtime tells it. */
  readonly peerAddr: Addr | undefined;
  /**
   * The next bytes, or null once the other end has sent its last. The bytes are the caller's: they are never written
   * over. Only one read is under way at a time. Rejects when the connection breaks.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Takes all of the chunks, in order, without copying where it can; they must not change until they are written.
   * Returns undefined where the caller may go on at once, or a promise that resolves when it may (backpressure) and
   * rejects when the connection breaks. Not called again before that promise is settled.
   */
  write(chunks: Uint8Array[]): Promise<void> | undefined;
  /** Sends what was written and then FIN; reading goes on. Resolves when that is done, and never rejects. */
  closeWrite(): Promise<void>;
  /**
   * Drops the connection at once in both directions. Never throws.
   *
   * @param reset whether the other end must see that something is missing: a TCP connection is then reset, as it is
   * where unsent or unread bytes are left
   */
  close(reset?: boolean): void;
}

/** A listening socket, as an adapter gives it to the core. */
export interface Listener {
  readonly addr: Addr;
  /** Stops accepting, and removes a socket file that it made. Connections stay open. */
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

/**
 * All that an adapter does: listen, and give each accepted connection away as a Transport. `onFailure` is told when
 * accepting ends for a reason other than `close()`.
 */
export type Listen = (
  options: ListenOptions & { port: number; hostname: string },
  onConnection: (transport: Transport) => void,
  onFailure: (error: unknown) => void,
) => Promise<Listener>;

/** What `serveConnection` returns: one connection that is being served. */
export interface ServedConnection {
  /** Resolves when the connection has ended, however it ended. */
  readonly finished: Promise<void>;
  /** Finishes the requests that run, then closes. */
  shutdown(): Promise<void>;
  /** Closes at once. */
  close(): void;
}

export type { ProtocolError };
