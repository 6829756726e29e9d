/**
 * A program that a web server starts: over FastCGI on the listening socket that it finds as descriptor 0, or for one
 * request of plain CGI.
 *
 * @module
 */

import process from "node:process";
import { bindServe } from "../src/mod.ts";
import type {
  CgiOptions,
  Handler,
  HandlerObject,
  ServeFastCgiOptions,
  ServeFunction,
  ServeOptions,
  Server,
  ServeSpawnedOptions,
} from "../src/mod.ts";
import { kindOfDescriptor } from "./_descriptor.ts";
import { dropProxyHeader, environmentBytes, webServerAddresses } from "./_environment.ts";
import { listenNodeNet } from "./_node_net.ts";
import { listenStdio, turnStdoutToStderr } from "./_stdio.ts";

/** mod_fcgid and others send SIGKILL three seconds after SIGTERM. */
const SHUTDOWN_TIMEOUT = 2500;

const NOT_SPAWNED =
  "Cannot tell what to serve: descriptor 0 is not a listening socket, and there is no CGI request in the environment. " +
  "Let a web server or spawn-fcgi start this program";

const serveFastCgi: ServeFunction<ServeFastCgiOptions> = bindServe("fastcgi", listenNodeNet);
const serveNothing: ServeFunction<ServeOptions> = bindServe("fastcgi", () => Promise.reject(new Error(NOT_SPAWNED)));

/** What the web server expects of this process; undefined where no web server has started it. */
export function spawnedFor(environment: Record<string, string | undefined>): "cgi" | "fastcgi" | undefined {
  // First of all, since under mod_cgid descriptor 0 is a socket too.
  if (environment["GATEWAY_INTERFACE"]?.startsWith("CGI/") && environment["REQUEST_METHOD"]) return "cgi";
  if (/^y/i.test(environment["FCGI_FORCE_CGI"] ?? "")) return "cgi";
  const kind = kindOfDescriptor(0);
  // Where it cannot be told, listening will.
  return kind === "listening" || kind === "socket" ? "fastcgi" : undefined;
}

/**
 * Serves a handler to the web server that has started this program, whichever way it did: over FastCGI if descriptor 0
 * is a listening socket, as mod_fcgid, lighttpd, spawn-fcgi and systemd pass it; else the one request of plain CGI
 * that is in the environment, as mod_cgi, mod_cgid and all others have it.
 *
 * Over plain CGI `finished` resolves when the response is out, and the program should then end. Only the response goes
 * to stdout: from the call on, `console.log` writes to stderr, which is the web server's error log. A variable
 * HTTP_PROXY, which is then a header of the browser's, is removed from `process.env`.
 *
 * @example
 * ```ts
 * import { serveSpawned } from "isthmus/node";
 *
 * const server = serveSpawned((request, info) => new Response(`${info.protocol} asks for ${request.url}`));
 * await server.finished;
 * process.exit(); // timers and connections of your own would keep it alive
 * ```
 */
export const serveSpawned: ServeFunction<ServeSpawnedOptions> = (
  first: unknown,
  second?: Handler | HandlerObject,
): Server => {
  const { options, handler } = readArguments(first, second);
  switch (options.protocol ?? spawnedFor(process.env)) {
    case "cgi":
      return serveCgi(options, handler);
    case "fastcgi": {
      const allowedAddresses = options.allowedAddresses ?? webServerAddresses(process.env["FCGI_WEB_SERVER_ADDRS"]);
      return serveFastCgi({
        shutdownTimeout: SHUTDOWN_TIMEOUT,
        ...options,
        ...(allowedAddresses !== undefined && { allowedAddresses }),
        fd: 0,
      }, handler);
    }
    case undefined:
      return serveNothing(options, handler);
    default:
      throw new TypeError(`Cannot serve "${options.protocol}" here: protocol must be "cgi" or "fastcgi"`);
  }
};

function serveCgi(options: ServeSpawnedOptions, handler: Handler | HandlerObject): Server {
  prepareCgi();
  const variables = environmentBytes();
  const serve: ServeFunction<ServeOptions & CgiOptions> = bindServe(
    "cgi",
    listenStdio(bodyLength(variables), () => {
      server.shutdown().catch(() => {}); // what failed is told by `ready` and `finished`
    }),
  );
  const server = serve({ shutdownTimeout: SHUTDOWN_TIMEOUT, ...options, variables }, handler);
  return server;
}

/** How much there is to be read. A length that makes no sense is refused with the head of the request. */
function bodyLength(variables: [name: string, value: string][]): number {
  const value = (wanted: string) => variables.find(([name]) => name === wanted)?.[1] ?? "";
  const length = value("CONTENT_LENGTH");
  // A body that came in chunks, which is refused, and yet must be read where stdin is a socket: Apache ends it.
  if (length === "") return value("HTTP_TRANSFER_ENCODING") === "" ? 0 : Infinity;
  return /^\d{1,15}$/.test(length) ? Number(length) : 0;
}

/** Makes the process fit for plain CGI; best before the application's modules are loaded. */
export function prepareCgi(): void {
  dropProxyHeader();
  turnStdoutToStderr();
}

function readArguments(
  first: unknown,
  second: Handler | HandlerObject | undefined,
): { options: ServeSpawnedOptions; handler: Handler | HandlerObject } {
  if (second !== undefined) return { options: first as ServeSpawnedOptions, handler: second };
  if (typeof first === "object" && first !== null && "handler" in first) {
    return { options: first as ServeSpawnedOptions, handler: first.handler as Handler };
  }
  return { options: {}, handler: first as Handler | HandlerObject };
}
