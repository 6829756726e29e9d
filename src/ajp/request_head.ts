import { latin1ToUtf8 } from "../bytes/latin1.ts";
import { ProtocolError, rejection } from "../errors.ts";
import { hasControlCharacter, isHopByHopRequestHeader, parseContentLength, trimBlanks } from "../http/header_rules.ts";
import type { HeaderPair, RequestHead, RequestMeta } from "../http/request_head.ts";
import { authorityOf, checkAuthority, encodePath, encodeQuery, isToken, printable } from "../http/url.ts";
import type { NetAddr, TlsInfo } from "../types.ts";
import type { ForwardRequest, NameValue } from "./codec.ts";

/** What decides over the head of a request. */
export interface RequestHeadOptions {
  maxHeaderBytes: number;
  maxBodyBytes: number;
  /** Whether a request attribute that no connector sends by itself may reach the handler. */
  allowsAttribute: (name: string) => boolean;
  rejectsUnknownAttributes: boolean;
  /** Told of each attribute that was dropped. */
  onIgnoredAttribute: (name: string) => void;
}

/** Attributes that connectors send by themselves, with the CGI name of those that have one. */
const KNOWN_ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ["AJP_REMOTE_PORT", "REMOTE_PORT"],
  ["AJP_LOCAL_ADDR", "SERVER_ADDR"],
  ["AJP_SSL_PROTOCOL", "SSL_PROTOCOL"],
  ["JK_LB_ACTIVATION", "JK_LB_ACTIVATION"],
]);

/** The CGI names of what a Forward Request says in fields of its own. */
const CONNECTOR_PARAMS: ReadonlySet<string> = new Set([
  "REQUEST_METHOD",
  "REQUEST_URI",
  "QUERY_STRING",
  "SERVER_PROTOCOL",
  "SERVER_NAME",
  "SERVER_PORT",
  "SERVER_ADDR",
  "REMOTE_ADDR",
  "REMOTE_HOST",
  "REMOTE_PORT",
  "REMOTE_USER",
  "AUTH_TYPE",
  "HTTPS",
  "REQUEST_SCHEME",
  "JVM_ROUTE",
  "CONTEXT_PATH",
  "SERVLET_PATH",
  "SSL_PROTOCOL",
  "SSL_CIPHER",
  "SSL_SESSION_ID",
  "SSL_CIPHER_USEKEYSIZE",
  "SSL_CLIENT_CERT",
]);

/**
 * Checks a Forward Request and makes the head of it.
 *
 * @throws {ProtocolError} with the status that answers it
 */
export function toRequestHead(request: ForwardRequest, options: RequestHeadOptions): RequestHead {
  if (!isToken(request.method)) throw rejection(400, `Cannot take "${printable(request.method)}" as a method`);
  filterAttributes(request, options);

  const headers: HeaderPair[] = [];
  let bytes = 0;
  let host: string | undefined;
  let contentLength = -1;
  let chunked = false;
  let cookie: HeaderPair | undefined;
  for (const [rawName, rawValue] of request.headers) {
    bytes += rawName.length + rawValue.length;
    const name = rawName.toLowerCase();
    if (!isToken(name)) throw rejection(400, `Cannot take "${printable(rawName)}" as a header name`);
    const value = trimBlanks(rawValue);
    if (hasControlCharacter(value)) throw rejection(400, `Cannot take header ${name}: it has a control character`);
    switch (name) {
      case "host":
        if (host !== undefined) throw rejection(400, "Cannot take two Host headers");
        host = value;
        break;
      case "content-length":
        // Refused even where both say the same: a correct web server sends one (RFC 9112 section 6.3).
        if (contentLength >= 0) throw rejection(400, "Cannot take two Content-Length headers");
        contentLength = parseContentLength(value);
        if (contentLength < 0) throw rejection(400, `Cannot take "${printable(value)}" as a Content-Length`);
        break;
      case "transfer-encoding":
        if (chunked || value.toLowerCase() !== "chunked") {
          throw rejection(400, "Cannot take a Transfer-Encoding other than one chunked");
        }
        chunked = true;
        continue;
      case "cookie":
        if (cookie !== undefined) {
          // Joined here, as runtimes disagree on it (RFC 6265 section 5.4).
          cookie[1] += `; ${value}`;
          continue;
        }
        cookie = [name, value];
        headers.push(cookie);
        continue;
      default:
        if (isHopByHopRequestHeader(name)) continue;
    }
    headers.push([name, value]);
  }
  if (bytes > options.maxHeaderBytes) {
    throw rejection(431, `Cannot take ${bytes} bytes of headers`, "ERR_HEADERS_TOO_LARGE");
  }
  if (chunked && contentLength >= 0) throw rejection(400, "Cannot take both Content-Length and Transfer-Encoding");
  if (contentLength > options.maxBodyBytes) {
    throw rejection(413, `Cannot take a body of ${contentLength} bytes`, "ERR_BODY_TOO_LARGE");
  }

  const scheme = request.isSsl ? "https" : "http";
  const { path, authority } = splitUri(request);
  if (authority !== undefined) {
    // It stands for the Host, which is then not to be believed (RFC 9112 section 3.2.2).
    const pair = headers.find(([name]) => name === "host");
    if (pair === undefined) headers.push(["host", authority]);
    else pair[1] = authority;
  }
  const query = request.attributes.queryString;
  return {
    role: "responder",
    method: request.method,
    scheme,
    authority: authority ?? (host ? checkAuthority(host) : localAuthority(request, scheme)),
    target: path === "*" ? path : encodePath(path) + (query === undefined ? "" : `?${encodeQuery(query)}`),
    headers,
    contentLength,
    meta: new AjpMeta(request),
  };
}

/** The path, and the authority where the URI is an absolute one, which mod_jk can be told to send. */
function splitUri(request: ForwardRequest): { path: string; authority?: string } {
  const uri = request.uri ?? "";
  if (uri.startsWith("/")) return { path: uri };
  if (uri === "*" && request.method === "OPTIONS") return { path: uri };
  const absolute = /^https?:\/\/([^/]*)/i.exec(uri);
  if (absolute === null) throw rejection(400, `Cannot take "${printable(uri)}" as a path`);
  return { path: uri.slice(absolute[0].length) || "/", authority: checkAuthority(absolute[1]!) };
}

function localAuthority(request: ForwardRequest, scheme: "http" | "https"): string {
  return request.serverName ? authorityOf(request.serverName, request.serverPort, scheme) : "localhost";
}

/** Leaves only the attributes that the handler may see: anybody's attributes are how Ghostcat worked (CVE-2020-1938). */
function filterAttributes(request: ForwardRequest, options: RequestHeadOptions): void {
  if (request.requestAttributes.length === 0) return;
  request.requestAttributes = request.requestAttributes.filter(([name]) => {
    if (KNOWN_ATTRIBUTES.has(name) || allows(name, options)) return true;
    if (options.rejectsUnknownAttributes) {
      throw rejection(403, `Cannot take request attribute ${printable(name)}: it is not allowed`, "ERR_AJP_ATTRIBUTE");
    }
    options.onIgnoredAttribute(name);
    return false;
  });
}

/** The operator's own predicate may throw, which no web server is to blame for. */
function allows(name: string, options: RequestHeadOptions): boolean {
  try {
    return options.allowsAttribute(name);
  } catch (cause) {
    throw new ProtocolError(
      "ERR_AJP_ATTRIBUTE",
      `Cannot judge request attribute ${printable(name)}: allowedAttributes threw`,
      {
        initiator: "local",
        statusHint: 500,
        cause,
      },
    );
  }
}

/** What the web server says besides HTTP, under the names that CGI has for it. */
class AjpMeta implements RequestMeta {
  readonly #request: ForwardRequest;
  #params: ReadonlyMap<string, string> | undefined;

  constructor(request: ForwardRequest) {
    this.#request = request;
  }

  get remoteAddr(): NetAddr {
    const port = this.#attribute("AJP_REMOTE_PORT") ?? "";
    const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
    return { transport: "tcp", hostname: this.#request.remoteAddr ?? "", port: number <= 65535 ? number : 0 };
  }

  get remoteUser(): string | undefined {
    const user = this.#request.attributes.remoteUser;
    return user ? latin1ToUtf8(user) : undefined;
  }

  get authType(): string | undefined {
    return this.#request.attributes.authType || undefined;
  }

  get ssl(): TlsInfo | undefined {
    const { isSsl, attributes, sslKeySize } = this.#request;
    if (!isSsl) return undefined;
    return {
      protocol: this.#attribute("AJP_SSL_PROTOCOL"),
      cipher: attributes.sslCipher,
      keySize: sslKeySize,
      sessionId: attributes.sslSession,
      clientCert: attributes.sslCert === undefined ? undefined : toPem(attributes.sslCert),
    };
  }

  get params(): ReadonlyMap<string, string> {
    return this.#params ??= this.#makeParams();
  }

  #attribute(name: string): string | undefined {
    return this.#request.requestAttributes.findLast((attribute: NameValue) => attribute[0] === name)?.[1];
  }

  #makeParams(): ReadonlyMap<string, string> {
    const request = this.#request;
    const { attributes } = request;
    const params = new Map<string, string>();
    const set = (name: string, value: string | null | undefined): void => {
      if (value !== null && value !== undefined) params.set(name, value);
    };
    const query = attributes.queryString;
    set("REQUEST_METHOD", request.method);
    set("REQUEST_URI", (request.uri ?? "") + (query === undefined ? "" : `?${query}`));
    set("QUERY_STRING", query ?? "");
    set("SERVER_PROTOCOL", request.protocol);
    set("SERVER_NAME", request.serverName);
    set("SERVER_PORT", String(request.serverPort));
    set("REMOTE_ADDR", request.remoteAddr);
    set("REMOTE_HOST", request.remoteHost);
    set("HTTPS", request.isSsl ? "on" : undefined);
    set("REQUEST_SCHEME", request.isSsl ? "https" : "http");
    set("REMOTE_USER", this.remoteUser);
    set("AUTH_TYPE", attributes.authType);
    set("JVM_ROUTE", attributes.route);
    set("CONTEXT_PATH", attributes.context);
    set("SERVLET_PATH", attributes.servletPath);
    set("SSL_CIPHER", attributes.sslCipher);
    set("SSL_SESSION_ID", attributes.sslSession);
    set("SSL_CIPHER_USEKEYSIZE", request.sslKeySize?.toString());
    set("SSL_CLIENT_CERT", attributes.sslCert === undefined ? undefined : toPem(attributes.sslCert));
    for (const [name, value] of request.requestAttributes) {
      const known = KNOWN_ATTRIBUTES.get(name);
      // No attribute of another name can stand in for what the connector says, or has not said.
      if (known !== undefined || !CONNECTOR_PARAMS.has(name)) params.set(known ?? name, latin1ToUtf8(value));
    }
    return params;
  }
}

/** Some connectors send the certificate as DER, which begins with 0x30. */
function toPem(certificate: string): string {
  if (certificate.charCodeAt(0) !== 0x30) return certificate;
  const lines = btoa(certificate).match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
