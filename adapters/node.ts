/**
 * Serves fetch handlers over AJP13 and FastCGI on Node.
 *
 * @example
 * ```ts
 * import { serveFastCgi } from "isthmus/node";
 *
 * serveFastCgi({ port: 9000 }, (request) => new Response(`You asked for ${request.url}`));
 * ```
 *
 * @module
 */

import { bindServe } from "../src/mod.ts";
import type { Listen, ServeAjpOptions, ServeFastCgiOptions, ServeFunction } from "../src/mod.ts";
import { listenNodeNet } from "./_node_net.ts";

export type {
  Addr,
  AjpOptions,
  ConnectionOptions,
  FastCgiOptions,
  Handler,
  HandlerInfo,
  HandlerObject,
  Limits,
  Listen,
  Listener,
  ListenOptions,
  Logger,
  NetAddr,
  ProtocolName,
  ServeAjpOptions,
  ServedConnection,
  ServeFastCgiOptions,
  ServeFunction,
  ServeOptions,
  Server,
  ServerStats,
  TlsInfo,
  Transport,
  UnixAddr,
} from "../src/mod.ts";
export { ProtocolError, serveConnection, webStreamsTransport } from "../src/mod.ts";

/**
 * Listens on a TCP port, a unix socket or an inherited descriptor, and gives each connection away as a `Transport`.
 * {@linkcode serveAjp} and {@linkcode serveFastCgi} stand on it; on its own it is for those who drive connections
 * themselves.
 *
 * @example
 * ```ts
 * import { listen, serveConnection } from "isthmus/node";
 *
 * const listener = await listen(
 *   { hostname: "127.0.0.1", port: 9000 },
 *   (transport) => serveConnection(transport, { protocol: "fastcgi" }, () => new Response("Hello")),
 *   (error) => console.error(error),
 * );
 * console.log(listener.addr);
 * ```
 */
export const listen: Listen = listenNodeNet;

/**
 * Serves a handler over AJP13, the protocol of Apache's mod_proxy_ajp and mod_jk. Listens on 127.0.0.1:8009 unless
 * told otherwise.
 *
 * @example
 * ```ts
 * import { serveAjp } from "isthmus/node";
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
 * import { serveFastCgi } from "isthmus/node";
 *
 * serveFastCgi({ path: "/run/app.sock", mode: 0o660 }, (request, info) => {
 *   return new Response(`${request.method} ${info.params.get("SCRIPT_NAME")}`);
 * });
 * ```
 */
export const serveFastCgi: ServeFunction<ServeFastCgiOptions> = bindServe("fastcgi", listen);
