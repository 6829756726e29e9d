import { decodeLatin1 } from "../bytes/latin1.ts";
import { encodePath, normalizeEscapes } from "../http/url.ts";
import { type MachineOptions, resolveAjpOptions } from "../protocols.ts";
import type { AjpOptions, CgiOptions, ConnectionOptions, FastCgiOptions, Handler, Limits, Logger } from "../types.ts";

/** All options of a connection, checked and with their defaults. */
export interface Settings extends Required<Limits>, MachineOptions {
  authorize: Handler | undefined;
  onError: NonNullable<ConnectionOptions["onError"]> | undefined;
  logger: Logger;
  /** Without a slash at its end; empty for none. */
  mount: string;
}

/** The defaults, each with its reason. */
export const DEFAULT_LIMITS: Readonly<Required<Limits>> = {
  // Kerberos tickets and client certificates take tens of KiB; Apache's own limit is 100 fields of 8 KiB.
  maxHeaderBytes: 65536,
  // As Tomcat and Apache (LimitRequestFields).
  maxHeaderCount: 100,
  // nginx, lighttpd and mod_fcgid cannot send more than 64 KiB; mod_proxy_fcgi can.
  maxParamsBytes: 262144,
  maxParamsCount: 1024,
  // As Apache's LimitRequestBody.
  maxBodyBytes: 1073741824,
  // Enough to keep a fast handler busy, and little enough for hundreds of slow ones.
  maxBufferedBytes: 1048576,
  // More than the workers of any one web server, each of which may keep a connection.
  maxConnections: 16384,
  // HAProxy, the one that multiplexes, has places for 32 answers on a connection and fails further requests by itself.
  maxConcurrentRequests: 32,
  // As many as connections, each of which carries one request in all protocols but FastCGI.
  maxActiveRequests: 16384,
  maxRequestsPerConnection: 0,
  // Web servers have the whole head before they send it, so only a broken one is slow.
  headTimeout: 30_000,
  // As Apache's Timeout: longer than it waits for its own client.
  bodyTimeout: 60_000,
  // A web server stops reading while its own client is slow, which may last several of its time limits.
  writeTimeout: 300_000,
  idleTimeout: 0,
  // As the time that systemd, Docker and Kubernetes leave before SIGKILL, or less.
  shutdownTimeout: 10_000,
};

/**
 * Checks options and adds the defaults.
 *
 * @throws {RangeError} for a number that makes no sense
 * @throws {TypeError} for a value of a wrong type
 */
export function resolveSettings(
  options: AjpOptions & FastCgiOptions & CgiOptions,
  onIgnoredAttribute: (name: string) => void,
): Settings {
  const limits = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(DEFAULT_LIMITS) as (keyof Limits)[]) {
    const value = options[name];
    if (value === undefined) continue;
    if (typeof value !== "number" || !(value >= 0) || (!Number.isInteger(value) && value !== Infinity)) {
      throw new RangeError(`Cannot use ${name} ${String(value)}: it must be a whole number of 0 or more`);
    }
    limits[name] = value;
  }
  if (limits.maxRequestsPerConnection === 0) limits.maxRequestsPerConnection = Infinity;
  // FastCGI would tell the web server that it may send nothing at all.
  for (const name of ["maxConnections", "maxConcurrentRequests", "maxActiveRequests"] as const) {
    if (limits[name] === 0) throw new RangeError(`Cannot use ${name} 0: it must be 1 or more`);
  }
  const { onError, logger = console, mount = "", authorize, multiplex = true } = options;
  if (authorize !== undefined && typeof authorize !== "function") {
    throw new TypeError("Cannot use authorize: it must be a function");
  }
  if (onError !== undefined && typeof onError !== "function") {
    throw new TypeError("Cannot use onError: it must be a function");
  }
  if (typeof logger?.error !== "function" || typeof logger.warn !== "function") {
    throw new TypeError("Cannot use logger: it must have the functions error and warn");
  }
  return {
    ...limits,
    ...resolveAjpOptions(options, onIgnoredAttribute),
    authorize,
    acceptsAuthorizer: authorize !== undefined,
    multiplex,
    variables: options.variables ?? [],
    onError,
    logger: guarded(logger),
    mount: normalizeMount(mount),
  };
}

/** A logger that throws must not cost anybody his response. */
function guarded(logger: Logger): Logger {
  function guard(write: (...data: unknown[]) => void): (...data: unknown[]) => void {
    return (...data) => {
      try {
        write.apply(logger, data);
      } catch {
        // There is nobody left to tell.
      }
    };
  }
  return { error: guard(logger.error), warn: guard(logger.warn) };
}

function normalizeMount(mount: string): string {
  const path = mount.replace(/\/+$/, "");
  if (path !== "" && !path.startsWith("/")) {
    throw new TypeError(`Cannot use mount "${mount}": it must begin with "/"`);
  }
  // Web servers escape the bytes of UTF-8.
  return normalizeEscapes(encodePath(decodeLatin1(new TextEncoder().encode(path))));
}
