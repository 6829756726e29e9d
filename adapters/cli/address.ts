// The ADDR of --ajp, --fastcgi, --scgi and --any.
import type { Addr, ListenOptions } from "../../src/mod.ts";
import { usageError } from "./errors.ts";

const FORMS = "8009, 127.0.0.1:8009, [::1]:8009, unix:/run/app.sock, fd:3";
const MAX_PORT = 65535;
const DEFAULT_HOSTNAME = "127.0.0.1";

/** Reads an address; `option` is the option that it was given to, for the error. */
export function parseAddress(text: string, option: string): ListenOptions {
  function refuse(reason: string): never {
    throw usageError(`Cannot use "${text}" for ${option}: ${reason}. Accepted forms: ${FORMS}`);
  }

  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    return path === "" ? refuse("no path follows unix:") : { path };
  }
  if (text.startsWith("fd:")) {
    const fd = text.slice("fd:".length);
    return /^\d{1,6}$/.test(fd) ? { fd: Number(fd) } : refuse("no descriptor number follows fd:");
  }
  if (text.includes("/")) refuse("a path needs unix: before it");
  if (/^\d+$/.test(text)) return { hostname: DEFAULT_HOSTNAME, port: readPort(text, refuse) };

  const bracketed = /^\[([0-9a-fA-F:.]+(?:%\w+)?)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) return { hostname: bracketed[1]!, port: readPort(bracketed[2], refuse) };
  if (text.split(":").length > 2) refuse("an IPv6 address needs brackets");
  const [hostname, port] = text.split(":");
  if (!/^[\w.-]+$/.test(hostname!)) refuse("it is no address");
  return { hostname: hostname!, port: readPort(port, refuse) };
}

/** The address in the form that `parseAddress` reads. */
export function formatAddress(addr: Addr): string {
  if (addr.transport === "unix") return `unix:${addr.path}`;
  return addr.hostname.includes(":") ? `[${addr.hostname}]:${addr.port}` : `${addr.hostname}:${addr.port}`;
}

function readPort(text: string | undefined, refuse: (reason: string) => never): number {
  if (text === undefined) return refuse("it has no port");
  return /^\d{1,5}$/.test(text) && Number(text) <= MAX_PORT
    ? Number(text)
    : refuse(`a port is a number from 0 to ${MAX_PORT}`);
}
