/**
 * The environment of a program that a web server has started.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import process from "node:process";

/**
 * All variables, each character of a value one byte. All runtimes decode them as UTF-8 and lose what is none; Linux has
 * the bytes still.
 */
export function environmentBytes(): [name: string, value: string][] {
  let block: Buffer;
  try {
    block = readFileSync("/proc/self/environ");
  } catch {
    // No Linux, or Deno without the permission.
    const variables = Object.entries(process.env).filter(([, value]) => value !== undefined);
    block = Buffer.from(variables.map(([name, value]) => `${name}=${value}\0`).join(""), "utf8");
  }
  return parseEnvironment(block);
}

/** Takes a block of `name=value` apart, each ended by NUL. */
export function parseEnvironment(block: Uint8Array): [name: string, value: string][] {
  const variables: [string, string][] = [];
  // Buffer's "latin1" is a character for each byte, which TextDecoder's is not.
  const text = Buffer.from(block.buffer, block.byteOffset, block.length).toString("latin1");
  for (const entry of text.split("\0")) {
    const equals = entry.indexOf("=");
    if (equals > 0) variables.push([entry.slice(0, equals), entry.slice(equals + 1)]);
  }
  return variables;
}

/**
 * Removes HTTP_PROXY where the environment is that of a CGI request: it is then the browser's `Proxy` header, and not
 * what programs that look for a proxy take it for (httpoxy).
 */
export function dropProxyHeader(): void {
  if (process.env["REQUEST_METHOD"] !== undefined) delete process.env["HTTP_PROXY"];
}

/**
 * The addresses that may connect by FCGI_WEB_SERVER_ADDRS (FastCGI specification section 3.2); undefined for anybody.
 *
 * @throws {TypeError} for one that is no IP address, as leaving it out would not be what was meant
 */
export function webServerAddresses(list: string | undefined): string[] | undefined {
  const addresses = (list ?? "").split(",").map((address) => address.trim()).filter((address) => address !== "");
  for (const address of addresses) {
    if (isIP(address) === 0) {
      throw new TypeError(`Cannot use "${address}" of FCGI_WEB_SERVER_ADDRS: it must be an IP address`);
    }
  }
  return addresses.length === 0 ? undefined : addresses;
}
