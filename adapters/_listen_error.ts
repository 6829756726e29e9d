/**
 * What an adapter says when it cannot listen: the same words on every runtime, whatever the runtime itself says.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { dirname } from "node:path";
import type { ListenOptions } from "../src/mod.ts";

/** An error of the system: what all runtimes put `code` on. */
interface SystemError extends Error {
  code?: string;
}

/** Where `options` ask to listen, for people. */
export function describeAddress(options: ListenOptions): string {
  if (options.fd !== undefined) return `file descriptor ${options.fd}`;
  if (options.path !== undefined) return options.path.replace(/^\0/, "@");
  const hostname = options.hostname ?? "";
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${options.port}`;
}

/** The `code` of an error, where it has one. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as SystemError | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/** `cause`, in words that name the address and what to do about it. Keeps its `code`. */
export function listenError(options: ListenOptions, cause: unknown): Error {
  return cannotListen(options, reason(options, cause), cause);
}

/** An error that says why it is not possible to listen where `options` ask to. */
export function cannotListen(options: ListenOptions, why: string, cause?: unknown): Error {
  const error: SystemError = new Error(
    `Cannot listen on ${describeAddress(options)}: ${why}`,
    cause === undefined ? undefined : { cause },
  );
  const code = codeOf(cause);
  if (code !== undefined) error.code = code;
  return error;
}

function reason(options: ListenOptions, cause: unknown): string {
  const { fd, path } = options;
  if (fd !== undefined) return fdReason(cause);
  // Node says EACCES for a directory that does not exist.
  if (path !== undefined && !path.startsWith("\0") && !existsSync(dirname(path))) {
    return "its directory does not exist";
  }
  switch (codeOf(cause)) {
    case "EADDRINUSE":
      return "the address is in use";
    case "EADDRNOTAVAIL":
      return "this machine does not have that address";
    case "EACCES":
    case "EPERM":
      return path === undefined
        ? "permission denied; a port below 1024 usually needs privileges"
        : "permission denied; the directory must be writable";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the host name is not known";
    case "ENOTDIR":
      return "a part of its directory is not a directory";
  }
  // Deno and Bun have no code for this one.
  if (path === undefined && codeOf(cause) === undefined && isIP(options.hostname ?? "") === 0) {
    return "the host name is not known";
  }
  return cause instanceof Error ? cause.message : String(cause);
}

function fdReason(cause: unknown): string {
  switch (codeOf(cause)) {
    case "EADDRINUSE":
    case "EEXIST":
      return "the descriptor is in use in this process already";
    case "EINVAL":
    case "EBADF":
    case "ENOTSOCK":
    case "EOPNOTSUPP":
    case "ENOTSUP":
      return "it is not a listening socket; let the process that starts this one bind a socket and pass it on";
  }
  return cause instanceof Error ? cause.message : String(cause);
}
