/**
 * From CGI meta-variables (RFC 3875 section 4.1) to the head of a request, whatever protocol carried them.
 *
 * The URL is taken from REQUEST_URI, the only variable that every web server sends raw; SCRIPT_NAME and PATH_INFO are
 * decoded, differ from server to server, and serve only where there is nothing else.
 *
 * @module
 */

import { latin1ToUtf8 } from "../bytes/latin1.ts";
import { rejection } from "../errors.ts";
import { hasControlCharacter, isHopByHopRequestHeader, parseContentLength } from "../http/header_rules.ts";
import type { HeaderPair, RequestHead, RequestMeta } from "../http/request_head.ts";
import {
  authorityOf,
  checkAuthority,
  encodeDecodedPath,
  encodePath,
  encodeQuery,
  isToken,
  printable,
} from "../http/url.ts";
import type { NetAddr, TlsInfo } from "../types.ts";

/** What decides over the head of a request. */
export interface MetaVariableLimits {
  maxHeaderBytes: number;
  maxHeaderCount: number;
  maxBodyBytes: number;
}

type Variables = ReadonlyMap<string, string>;

/**
 * Checks the variables of a request and makes its head. An empty variable is an absent one (RFC 3875 section 4.1); of
 * two with the same name the last counts, but two different CONTENT_LENGTH are refused.
 *
 * @throws {ProtocolError} with the status that answers it
 */
export function toRequestHead(pairs: Iterable<[string, string]>, limits: MetaVariableLimits): RequestHead {
  const variables = toVariables(pairs);
  const method = variables.get("REQUEST_METHOD") ?? "";
  if (!isToken(method)) throw rejection(400, `Cannot take "${printable(method)}" as a method`);
  const contentLength = readContentLength(variables, limits.maxBodyBytes);
  const headers = readHeaders(variables, limits);
  const contentType = variables.get("CONTENT_TYPE");
  if (contentType) {
    if (hasControlCharacter(contentType)) throw rejection(400, "Cannot take CONTENT_TYPE: it has a control character");
    headers.push(["content-type", contentType]);
  }
  if (contentLength >= 0 && variables.get("CONTENT_LENGTH")) headers.push(["content-length", String(contentLength)]);
  const scheme = readScheme(variables);
  const { target, authority } = readTarget(variables, method);
  return {
    role: "responder",
    method,
    scheme,
    authority: readAuthority(variables, scheme, authority),
    target,
    headers,
    contentLength,
    meta: new CgiMeta(variables),
  };
}

function toVariables(pairs: Iterable<[string, string]>): Variables {
  const variables = new Map<string, string>();
  for (const [name, value] of pairs) {
    // A "Proxy" header must never pass for the setting of that name (httpoxy); nginx sends it on.
    if (name === "" || (name.length === 10 && name.toUpperCase() === "HTTP_PROXY")) continue;
    if (name === "CONTENT_LENGTH") {
      const other = variables.get(name);
      if (other !== undefined && other !== value) throw rejection(400, "Cannot take two different CONTENT_LENGTH");
    }
    variables.set(name, value);
  }
  return variables;
}

/** A negative length is how some web servers say "unknown". */
function readContentLength(variables: Variables, maxBodyBytes: number): number {
  const text = variables.get("CONTENT_LENGTH");
  if (!text) return -1;
  const length = parseContentLength(text);
  if (length < 0) {
    if (/^-\d+$/.test(text)) return -1;
    throw rejection(400, `Cannot take "${printable(text)}" as a CONTENT_LENGTH`);
  }
  if (length > maxBodyBytes) throw rejection(413, `Cannot take a body of ${length} bytes`, "ERR_BODY_TOO_LARGE");
  return length;
}

/** The header names of the variables met so far; a web server sends the same ones all day. */
const headerNames = new Map<string, string>();
const MAX_HEADER_NAMES = 500;
const MAX_NAME_LENGTH = 64;

function headerName(variable: string): string {
  let name = headerNames.get(variable);
  if (name === undefined) {
    name = variable.slice(5).toLowerCase().replaceAll("_", "-");
    // The un-prefixed CONTENT_ variables count: nginx and Caddy send both.
    const dropped = !isToken(name) || isHopByHopRequestHeader(name) || name === "content-length" ||
      name === "content-type";
    if (dropped) name = "";
    if (headerNames.size < MAX_HEADER_NAMES && variable.length <= MAX_NAME_LENGTH) headerNames.set(variable, name);
  }
  return name;
}

function readHeaders(variables: Variables, limits: MetaVariableLimits): HeaderPair[] {
  const headers: HeaderPair[] = [];
  let bytes = 0;
  let count = 0;
  for (const [variable, value] of variables) {
    if (!variable.startsWith("HTTP_") || value === "") continue;
    count++;
    bytes += variable.length - 5 + value.length;
    const name = headerName(variable);
    if (name === "") continue;
    if (hasControlCharacter(value)) throw rejection(400, `Cannot take header ${name}: it has a control character`);
    headers.push([name, value]);
  }
  if (count > limits.maxHeaderCount || bytes > limits.maxHeaderBytes) {
    throw rejection(431, `Cannot take ${count} headers of ${bytes} bytes in all`, "ERR_HEADERS_TOO_LARGE");
  }
  return headers;
}

/** "HTTPS is set" would be wrong: IIS sends `off`. */
function readScheme(variables: Variables): "http" | "https" {
  const https = (variables.get("HTTPS") ?? "").toLowerCase();
  if (["on", "1", "true", "yes", "https"].includes(https)) return "https";
  const secure = variables.get("REQUEST_SCHEME")?.toLowerCase() === "https" ||
    variables.get("SERVER_PORT_SECURE") === "1";
  return secure ? "https" : "http";
}

function readAuthority(variables: Variables, scheme: "http" | "https", fromTarget: string | undefined): string {
  const host = variables.get("HTTP_HOST") || fromTarget;
  if (host) return checkAuthority(host);
  const name = variables.get("SERVER_NAME") || variables.get("SERVER_ADDR");
  if (!name) return "localhost";
  // HAProxy's SERVER_NAME has the port already; more than one colon is an IPv6 address.
  if (/^[^:]+:\d+$/.test(name) || /^\[.*\]:\d+$/.test(name)) return checkAuthority(name);
  const port = Number(variables.get("SERVER_PORT") || 0);
  return authorityOf(name, Number.isInteger(port) ? port : 0, scheme);
}

function readTarget(variables: Variables, method: string): { target: string; authority?: string } {
  const uri = variables.get("REQUEST_URI");
  if (!uri) {
    const path = (variables.get("SCRIPT_NAME") ?? "") + (variables.get("PATH_INFO") ?? "");
    if (path !== "" && !path.startsWith("/")) throw rejection(400, `Cannot take "${printable(path)}" as a path`);
    const query = variables.get("QUERY_STRING");
    return { target: encodeDecodedPath(path || "/") + (query ? `?${encodeQuery(query)}` : "") };
  }
  if (hasControlCharacter(uri) || uri.includes("\t")) {
    throw rejection(400, "Cannot take a REQUEST_URI with a control character");
  }
  if (uri.startsWith("/")) return { target: encodeTarget(uri) };
  if (uri === "*" && method === "OPTIONS") return { target: uri };
  // Apache hands the absolute form of a request line on as it is.
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/([^/?]*)/i.exec(uri);
  if (absolute === null) throw rejection(400, `Cannot take "${printable(uri)}" as a REQUEST_URI`);
  const rest = uri.slice(absolute[0].length);
  return { target: encodeTarget(rest.startsWith("/") ? rest : `/${rest}`), authority: absolute[1]! };
}

function encodeTarget(target: string): string {
  const mark = target.indexOf("?");
  if (mark < 0) return encodePath(target);
  return `${encodePath(target.slice(0, mark))}?${encodeQuery(target.slice(mark + 1))}`;
}

/** What the web server says besides HTTP. */
class CgiMeta implements RequestMeta {
  readonly #variables: Variables;
  #params: Variables | undefined;

  constructor(variables: Variables) {
    this.#variables = variables;
  }

  /** Headers stay bytes, as in the Request; what the web server says itself is commonly UTF-8. */
  get params(): Variables {
    if (this.#params === undefined) {
      const params = new Map<string, string>();
      for (const [name, value] of this.#variables) {
        params.set(name, name.startsWith("HTTP_") ? value : latin1ToUtf8(value));
      }
      const file = params.get("SCRIPT_FILENAME");
      if (file !== undefined) params.set("SCRIPT_FILENAME", withoutProxy(file, params.get("QUERY_STRING") ?? ""));
      this.#params = params;
    }
    return this.#params;
  }

  get remoteAddr(): NetAddr {
    const port = Number(this.#variables.get("REMOTE_PORT") || 0);
    return {
      transport: "tcp",
      hostname: this.#variables.get("REMOTE_ADDR") ?? "",
      port: Number.isInteger(port) && port >= 0 && port <= 65535 ? port : 0,
    };
  }

  get remoteUser(): string | undefined {
    const user = this.#variables.get("REMOTE_USER");
    return user ? latin1ToUtf8(user) : undefined;
  }

  get authType(): string | undefined {
    return this.#variables.get("AUTH_TYPE") || undefined;
  }

  get ssl(): TlsInfo | undefined {
    if (readScheme(this.#variables) !== "https") return undefined;
    const keySize = Number(this.#variables.get("SSL_CIPHER_USEKEYSIZE"));
    return {
      protocol: this.#variables.get("SSL_PROTOCOL") || undefined,
      cipher: this.#variables.get("SSL_CIPHER") || undefined,
      keySize: Number.isInteger(keySize) && keySize > 0 ? keySize : undefined,
      sessionId: this.#variables.get("SSL_SESSION_ID") || undefined,
      clientCert: this.#clientCert,
    };
  }

  /** The leaf and, from mod_ssl, the certificates that the client sent with it. */
  get #clientCert(): string | undefined {
    let chain = this.#variables.get("SSL_CLIENT_CERT");
    if (!chain) return undefined;
    for (let n = 0;; n++) {
      const next = this.#variables.get(`SSL_CLIENT_CERT_CHAIN_${n}`);
      if (!next) return chain;
      chain += chain.endsWith("\n") ? next : `\n${next}`;
    }
  }
}

/** What Apache's mod_proxy puts before the path of a request that goes to an application. */
const PROXY_PREFIX = /^proxy:(?:fcgi|scgi|balancer):\/\/[^/]*(?=\/)/i;

/**
 * A file name as a file name: mod_proxy_fcgi passes its own notation on, in which a rewritten URL ends in its query too.
 */
function withoutProxy(file: string, query: string): string {
  const prefix = PROXY_PREFIX.exec(file);
  if (prefix === null) return file;
  const path = file.slice(prefix[0].length);
  return query !== "" && path.endsWith(`?${query}`) ? path.slice(0, -query.length - 1) : path;
}
