// isthmus inspect: a handler that answers each request with what a handler is given of it, and keeps the secrets.
import type { Addr, Handler, HandlerInfo } from "../../src/mod.ts";
import { CONTENT_SECURITY_POLICY, inspectPage } from "./inspect_page.ts";

/** A request as its handler sees it, without what nobody else should see. */
export interface Inspection {
  method: string;
  url: string;
  body: {
    /** Bytes that came. */
    bytes: number;
    /** Why not all of them did. */
    error?: string;
  };
  headers: Record<string, string>;
  info: Record<string, string>;
  params: Record<string, string>;
}

/** Stands beside the standard ones: web servers and single sign-on add names of their own. */
const SECRET_NAME = new RegExp(
  "PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|AUTHORIZATION|SAML|SESSION_?ID|SESSID|ASSERTION|" +
    // Words of their own: AUTH_TYPE and SSL_CIPHER_USEKEYSIZE are no secrets.
    "(?:^|_)(?:PASS|PWD|PW|JWT|SID|SIG|SIGNATURE|CODE|SESSION|[A-Z]*KEY(?:_ID)?)$|(?:^|_)AUTH(?:_KEY)?$",
);
/** A value that is one whatever its name. */
const CREDENTIALS = /^(?:bearer|basic|digest|negotiate)\s/i;
const COOKIE_NAME = /(?:^|_)COOKIE2?$/;

const RESPONSE_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "referrer-policy": "no-referrer",
  "vary": "accept",
  "x-content-type-options": "nosniff",
  "x-robots-tag": "noindex",
};

/** Answers with a page that shows the request, or with JSON for who prefers that. */
export const inspect: Handler = async (request, info) => {
  const inspection: Inspection = {
    method: request.method,
    url: withoutSecrets(request.url),
    body: await measure(request.body),
    headers: visible(request.headers),
    info: visible(fieldsOf(info)),
    params: visible(info.params),
  };
  if (!prefersJson(request.headers.get("accept") ?? "")) {
    const headers = { ...RESPONSE_HEADERS, "content-type": "text/html; charset=utf-8" };
    return new Response(inspectPage(inspection), { headers });
  }
  const headers = { ...RESPONSE_HEADERS, "content-type": "application/json" };
  return new Response(JSON.stringify(inspection, null, 2) + "\n", { headers });
};

/** Takes a body to its end without keeping it. */
async function measure(body: ReadableStream<Uint8Array> | null): Promise<Inspection["body"]> {
  let bytes = 0;
  if (body === null) return { bytes };
  const reader = body.getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) bytes += piece.value.length;
    return { bytes };
  } catch (error) {
    return { bytes, error: error instanceof Error ? error.message : String(error) };
  }
}

/** The fields of `info`, each as text. What is undefined is left out. */
function fieldsOf(info: HandlerInfo): [name: string, value: string][] {
  const fields: [string, string | number | undefined][] = [
    ["protocol", info.protocol],
    ["role", info.role],
    ["remoteAddr", addressText(info.remoteAddr)],
    ["peerAddr", info.peerAddr && addressText(info.peerAddr)],
    ["remoteUser", info.remoteUser],
    ["authType", info.authType],
    ["ssl.protocol", info.ssl?.protocol],
    ["ssl.cipher", info.ssl?.cipher],
    ["ssl.keySize", info.ssl?.keySize],
    ["ssl.sessionId", info.ssl?.sessionId],
    ["ssl.clientCert", info.ssl?.clientCert],
    ["data.length", info.data?.length],
    ["data.lastModified", info.data?.lastModified?.toISOString()],
  ];
  return fields.flatMap(([name, value]) => value === undefined ? [] : [[name, String(value)]]);
}

function addressText(addr: Addr): string {
  if (addr.transport === "unix") return `unix:${addr.path}`;
  return `${addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname}:${addr.port}`;
}

/** As an object, sorted by name; each value only as far as it may be seen. */
function visible(pairs: Iterable<[name: string, value: string]>): Record<string, string> {
  const sorted = [...pairs].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  // Not by assignment, for which `__proto__` is no ordinary name.
  return Object.fromEntries(sorted.map(([name, value]) => [name, visibleValue(name, value)]));
}

function visibleValue(name: string, value: string): string {
  const normal = normalized(name);
  if (COOKIE_NAME.test(normal)) return cookieNames(value);
  return SECRET_NAME.test(normal) || CREDENTIALS.test(value) ? hidden(value) : withoutSecrets(value);
}

/** One spelling for headers, variables and fields: `x-api-key`, `HTTP_X_API_KEY` and `ssl.sessionId` are words. */
function normalized(name: string): string {
  return name.replace(/[-.]/g, "_").toUpperCase();
}

/** The names of the cookies; one without `=` is a value without a name. */
function cookieNames(header: string): string {
  return header.split(";").map((pair) => pair.trim()).filter((pair) => pair !== "").map((pair) => {
    const equals = pair.indexOf("=");
    return pair.slice(0, equals + 1) + hidden(pair.slice(equals + 1));
  }).join("; ");
}

/** A text without the secrets that a URL or a query in it may hold. */
function withoutSecrets(text: string): string {
  return text
    .replace(/(:\/\/)([^\s/?#@]+)@/g, (_, start: string, user: string) => `${start}${hidden(user)}@`)
    // Not one expression for pairs, which would take the square of the time for a long text without any.
    .split(/([\s?&;#])/)
    .map((piece) => {
      const equals = piece.indexOf("=");
      const secret = equals > 0 && SECRET_NAME.test(normalized(decoded(piece.slice(0, equals))));
      return secret ? piece.slice(0, equals + 1) + hidden(piece.slice(equals + 1)) : piece;
    })
    .join("");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function hidden(value: string): string {
  return `(hidden, ${value.length} ${value.length === 1 ? "character" : "characters"})`;
}

/** Whether an Accept header (RFC 9110 section 12.5.1) names JSON, and HTML less or not at all. */
function prefersJson(accept: string): boolean {
  return weightOf("application/json", accept) > weightOf("text/html", accept);
}

function weightOf(type: string, accept: string): number {
  for (const entry of accept.toLowerCase().split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    if (name !== type) continue;
    const weight = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    return Number.isNaN(weight) ? 0 : weight;
  }
  return 0;
}
