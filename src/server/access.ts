import type { Protocol } from "../protocols.ts";
import type { Addr, AjpOptions, ListenOptions } from "../types.ts";

/**
 * Refuses to listen where strangers could connect to a protocol that believes whoever connects.
 *
 * @throws {Error} that names the options
 */
export function checkAccess(
  protocol: Protocol,
  options: ListenOptions & Pick<AjpOptions, "secret" | "allowInsecure"> & { addr?: Addr },
): void {
  if (!protocol.needsSecret || options.allowInsecure) return;
  // On a port for all, a stranger without the secret of AJP would speak another protocol.
  const secretHelps = protocol.name !== "any";
  if (secretHelps && options.secret) return;
  let hostname: string;
  if (options.addr !== undefined) {
    if (options.addr.transport === "unix") return;
    hostname = options.addr.hostname;
  } else {
    // A socket file has permissions of its own; what a descriptor is shows only later.
    if (options.path !== undefined || options.fd !== undefined) return;
    hostname = options.hostname ?? "127.0.0.1";
  }
  if (isLoopback(hostname)) return;
  const why = "whoever connects could claim to be any user";
  const insecure = "`allowInsecure: true` if nobody but the web server can reach it";
  throw new Error(
    secretHelps
      ? `Cannot listen on ${hostname} for ${protocol.title} without a secret, as ${why}: set \`secret\`, or ${insecure}`
      : `Cannot listen on ${hostname} for ${protocol.title}, as ${why}: set ${insecure}`,
  );
}

function isLoopback(hostname: string): boolean {
  if (hostname === "localhost" || hostname === "::1" || hostname === "[::1]") return true;
  // Digits to its end: `127.example.com` is a name, of whatever address.
  return /^(?:::ffff:)?127\.[\d.]+$/i.test(hostname);
}

/**
 * Reads a list of addresses that may connect.
 *
 * @throws {TypeError} for one that is no IP address
 */
export function parseAddresses(addresses: readonly string[]): ReadonlySet<string> {
  return new Set(addresses.map((address) => {
    if (!/^[\da-f:.]+$/i.test(address)) {
      throw new TypeError(`Cannot allow "${address}" to connect: it must be an IP address`);
    }
    return plainAddress(address);
  }));
}

/** An address in the one form in which it is compared: IPv4 as such, even where it is mapped into IPv6. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1]!;
  if (!address.includes(":")) return address;
  // The URL parser knows the shortest form of IPv6 (RFC 5952).
  try {
    return new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return address;
  }
}
