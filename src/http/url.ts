/**
 * From the parts that a web server sends to a URL that means the same.
 *
 * The URL is put together as a string: with `new URL(path, base)` a path such as `//evil.example/x` would become the
 * host. Strings here are ISO-8859-1, so a character above U+007F is one byte of the wire and is escaped as that byte.
 *
 * @module
 */

import { rejection } from "../errors.ts";

/** What a URL parser would read as something else, or silently drop. */
const ESCAPED_IN_PATH = escapeTable('"<>`{}?#\\');
const ESCAPED_IN_QUERY = escapeTable('"<>#');
/** What stands in a decoded path as a character and would be syntax in an encoded one; "/" and ";" keep their meaning. */
const ESCAPED_IN_DECODED_PATH = escapeTable('"<>`{}?#\\%[]^|');

/** Characters of a host name or an IPv4 address (RFC 3986 section 3.2.2), without "%". */
const HOST_CHARACTERS = characterTable("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=");
const IPV6_CHARACTERS = characterTable("0123456789abcdefABCDEF:.");
const TOKEN_CHARACTERS = characterTable(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~",
);

/** Escapes a path that is percent-encoded already, but perhaps carelessly. Throws a 400 for NUL. */
export function encodePath(path: string): string {
  return escapeWith(ESCAPED_IN_PATH, path);
}

/** Escapes a path of plain characters, as SCRIPT_NAME and PATH_INFO are (RFC 3875 section 4.1.5). */
export function encodeDecodedPath(path: string): string {
  return escapeWith(ESCAPED_IN_DECODED_PATH, path);
}

/** Escapes a raw query. Throws a 400 for NUL. */
export function encodeQuery(query: string): string {
  return escapeWith(ESCAPED_IN_QUERY, query);
}

/** Whether `text` is a token (RFC 9110 section 5.6.2), as a method and a header name must be. */
export function isToken(text: string): boolean {
  return text !== "" && consistsOf(text, TOKEN_CHARACTERS, 0, text.length);
}

/** The authority checked last that was right: a web server sends the same few all day. */
let lastAuthority = "localhost";

/**
 * Checks `host` or `host:port` (RFC 9110 section 7.2): no user, no path, nothing that a URL parser reads in another
 * way. Returns it without an empty port.
 *
 * @throws {ProtocolError} with status 400
 */
export function checkAuthority(authority: string): string {
  if (authority === lastAuthority) return authority;
  let hostEnd: number;
  let valid: boolean;
  if (authority.startsWith("[")) {
    hostEnd = authority.indexOf("]") + 1;
    valid = hostEnd > 2 && consistsOf(authority, IPV6_CHARACTERS, 1, hostEnd - 1);
  } else {
    hostEnd = authority.indexOf(":");
    if (hostEnd < 0) hostEnd = authority.length;
    valid = hostEnd > 0 && consistsOf(authority, HOST_CHARACTERS, 0, hostEnd);
  }
  let checked = authority;
  if (valid && hostEnd < authority.length) {
    const port = authority.slice(hostEnd + 1);
    valid = authority[hostEnd] === ":" && (port === "" || (/^\d{1,5}$/.test(port) && Number(port) <= 65535));
    if (port === "") checked = authority.slice(0, hostEnd);
  }
  if (!valid) throw rejection(400, `Cannot use "${printable(authority)}" as a host`);
  lastAuthority = checked;
  return checked;
}

/** Puts a host and a port together, with the brackets that IPv6 needs and without the scheme's own port. */
export function authorityOf(host: string, port: number, scheme: "http" | "https"): string {
  const bracketed = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const standard = port === 0 || port === (scheme === "https" ? 443 : 80);
  return checkAuthority(standard ? bracketed : `${bracketed}:${port}`);
}

/**
 * Takes `mount` off the path of `target` as a URL parser sees it, or returns undefined where the path is not under it.
 * `mount` has no slash at its end.
 */
export function removeMount(target: string, mount: string): string | undefined {
  let path = target;
  if (!startsWithSegment(path, mount) || DOTS.test(path)) {
    // The path may spell the mount with escapes or dots; what counts is what the handler's URL would say.
    let url: URL;
    try {
      url = new URL(`http://localhost${target}`);
    } catch {
      return undefined;
    }
    path = normalizeEscapes(url.pathname) + url.search;
    if (!startsWithSegment(path, mount)) return undefined;
  }
  const rest = path.slice(mount.length);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

const DOTS = /\/(?:\.|%2e)/i;

function startsWithSegment(path: string, mount: string): boolean {
  if (!path.startsWith(mount)) return false;
  const next = path[mount.length];
  return next === undefined || next === "/" || next === "?";
}

/**
 * RFC 3986 section 6.2.2: unreserved characters unescaped, though not behind a stray "%", with which they would make an
 * escape that was none (`%2%65`), and the digits of all other escapes in upper case.
 */
export function normalizeEscapes(path: string): string {
  return path.replace(
    /(?<!%[\da-fA-F]?)%(?:2[dD]|3\d|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE]|2[eE])/g,
    decodeURIComponent,
  ).replace(/%[\da-fA-F]{2}/g, (escape) => escape.toUpperCase());
}

/** Text from a peer, safe to show in a message: short and without control characters. */
export function printable(text: string): string {
  const clean = text.slice(0, 80).replace(/[^\x20-\x7e]/g, "?");
  return text.length > 80 ? `${clean}…` : clean;
}

function escapeTable(more: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let code = 0; code < 256; code++) {
    if (code <= 0x20 || code >= 0x7f || more.includes(String.fromCharCode(code))) table[code] = 1;
  }
  return table;
}

function characterTable(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let i = 0; i < characters.length; i++) table[characters.charCodeAt(i)] = 1;
  return table;
}

function consistsOf(text: string, table: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (table[text.charCodeAt(i)] !== 1) return false;
  return true;
}

function escapeWith(table: Uint8Array, text: string): string {
  let escaped = "";
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (table[code] === 0) continue;
    if (code === 0) throw rejection(400, "Cannot use a URL with a NUL");
    escaped += text.slice(from, i) + (code < 16 ? "%0" : "%") + code.toString(16).toUpperCase();
    from = i + 1;
  }
  return from === 0 ? text : escaped + text.slice(from);
}
