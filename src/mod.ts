/**
 * isthmus serves an ordinary fetch handler over the binary protocols that web servers speak to applications.
 *
 * This is the runtime-neutral core: it serves a connection over any pair of streams. To listen, import `isthmus/node`,
 * `isthmus/deno` or `isthmus/bun`, which export the same functions.
 *
 * @example
 * ```ts
 * import type { Handler } from "isthmus";
 *
 * const handler: Handler = (request, info) => new Response(`${info.remoteUser ?? "nobody"} asks for ${request.url}`);
 * export default handler;
 * ```
 *
 * @module
 */

export { ProtocolError } from "./errors.ts";
export type { Initiator, ProtocolErrorCode, ProtocolErrorOptions } from "./errors.ts";
export { allow } from "./http/authorize.ts";
export { serveConnection } from "./server/serve_connection.ts";
export { bindServe } from "./server/server.ts";
export { type DuplexStreams, webStreamsTransport } from "./transport/web_streams.ts";
export type {
  Addr,
  AjpOptions,
  CgiOptions,
  ConnectionOptions,
  FastCgiOptions,
  FilterData,
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
  Role,
  ScgiOptions,
  ServeAjpOptions,
  ServeAnyOptions,
  ServedConnection,
  ServeFastCgiOptions,
  ServeFunction,
  ServeOptions,
  Server,
  ServerStats,
  ServeScgiOptions,
  ServeSpawnedOptions,
  TlsInfo,
  Transport,
  UnixAddr,
} from "./types.ts";
