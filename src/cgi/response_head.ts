import type { ResponseHead } from "../http/response.ts";

/** Names that web servers' parsers expect in this form; any other goes out as it is. */
const CANONICAL: ReadonlyMap<string, string> = new Map([
  ["content-type", "Content-Type"],
  ["location", "Location"],
  ["set-cookie", "Set-Cookie"],
]);

/**
 * A response head as CGI has it (RFC 3875 section 6), one character a byte.
 *
 * Status always comes, and first: without it web servers make up a status of their own. Line ends are CRLF throughout,
 * as mod_proxy_fcgi does not find the end of a mixture.
 */
export function formatResponseHead(head: ResponseHead): string {
  let text = `Status: ${head.status} ${head.reason}\r\n`;
  for (const [name, value] of head.headers) {
    // Only an authorizer may set variables of the web server.
    if (!name.startsWith("variable-")) text += `${CANONICAL.get(name) ?? name}: ${value}\r\n`;
  }
  if (head.contentLength >= 0) text += `Content-Length: ${head.contentLength}\r\n`;
  return `${text}\r\n`;
}
