/**
 * Serves fetch handlers over AJP13, FastCGI and SCGI on Node.
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
import type {
  Listen,
  ServeAjpOptions,
  ServeAnyOptions,
  ServeFastCgiOptions,
  ServeFunction,
  ServeScgiOptions,
} from "../src/mod.ts";
import { listenNodeNet } from "./_node_net.ts";

export type * from "../src/mod.ts";
export { allow, ProtocolError, serveConnection, webStreamsTransport } from "../src/mod.ts";
export { serveSpawned } from "./_spawned.ts";

/**
 * Listens on a TCP port, a unix socket or an inherited descriptor, and gives each connection away as a `Transport`.
 * The serve functions stand on it; on its own it is for those who drive connections themselves.
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

/**
 * Serves a handler over SCGI, as Apache's mod_proxy_scgi, nginx and lighttpd speak it. Listens on 127.0.0.1:4000 unless
 * told otherwise.
 *
 * @example
 * ```ts
 * import { serveScgi } from "isthmus/node";
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
 * import { serve } from "isthmus/node";
 *
 * serve({ port: 9000 }, (request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * ```
 */
export const serve: ServeFunction<ServeAnyOptions> = bindServe("any", listen);
