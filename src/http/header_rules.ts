/** Which headers belong to a connection and not to a message (RFC 9110 section 7.6.1), so that they go no further. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Of a request. `Expect` has been dealt with by the web server. */
export function isHopByHopRequestHeader(name: string): boolean {
  return HOP_BY_HOP.has(name) || name === "expect";
}

/** Of a response. `Status` would be taken for the CGI header of that name (RFC 3875 section 6.3.3). */
export function isHopByHopResponseHeader(name: string): boolean {
  return HOP_BY_HOP.has(name) || name === "status";
}

/** Whether a value holds a control character other than TAB, which no header may (RFC 9110 section 5.5). */
export function hasControlCharacter(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}

/**
 * Reads a Content-Length (RFC 9110 section 8.6): digits and nothing else.
 *
 * @returns the number, or -1 for anything else, including what no number can hold exactly.
 */
export function parseContentLength(text: string): number {
  if (text.length === 0 || text.length > 16) return -1;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return Number.isSafeInteger(length) ? length : -1;
}

/** Without the blanks around it, which are not part of a value (RFC 9110 section 5.5). `trim()` would take more. */
export function trimBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
