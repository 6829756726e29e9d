/**
 * The numbers of AJP13.
 *
 * @module
 */

/** First two bytes of a packet from the web server. */
export const MAGIC_TO_CONTAINER = 0x1234;
/** First two bytes of a packet to the web server, "AB". */
export const MAGIC_TO_SERVER = 0x4142;

export const PACKET_HEADER_LENGTH = 4;
/** The packet size that every web server uses by default, header included. */
export const DEFAULT_PACKET_SIZE = 8192;
export const MAX_PACKET_SIZE = 65536;
/** Packet header and length: what a data packet has besides its bytes. */
export const DATA_OVERHEAD = 6;
/** Packet header, type, length and the byte after the data: what a Send Body Chunk has besides its bytes. */
export const BODY_CHUNK_OVERHEAD = 8;

/** Message types, web server to container. */
export const FORWARD_REQUEST = 2;
export const SHUTDOWN = 7;
export const PING = 8;
export const CPING = 10;
/** Message types, container to web server. */
export const SEND_BODY_CHUNK = 3;
export const SEND_HEADERS = 4;
export const END_RESPONSE = 5;
export const GET_BODY_CHUNK = 6;
export const CPONG = 9;

/** The length that stands for "no string". */
export const NULL_STRING = 0xffff;
/** High byte of a header code. */
export const HEADER_CODE = 0xa0;
/** Method byte that sends the reader to the attribute `stored_method`. */
export const STORED_METHOD = 0xff;

/** Method names by their code, which is the index. */
export const METHODS: readonly string[] = [
  "",
  "OPTIONS",
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "TRACE",
  "PROPFIND",
  "PROPPATCH",
  "MKCOL",
  "COPY",
  "MOVE",
  "LOCK",
  "UNLOCK",
  "ACL",
  "REPORT",
  "VERSION-CONTROL",
  "CHECKIN",
  "CHECKOUT",
  "UNCHECKOUT",
  "SEARCH",
  "MKWORKSPACE",
  "UPDATE",
  "LABEL",
  "MERGE",
  "BASELINE-CONTROL",
  "MKACTIVITY",
];

/** Request header names by the low byte of their code. The response table reuses the numbers for other names. */
export const REQUEST_HEADERS: readonly string[] = [
  "",
  "accept",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "authorization",
  "connection",
  "content-type",
  "content-length",
  "cookie",
  "cookie2",
  "host",
  "pragma",
  "referer",
  "user-agent",
];

/** Response header names by the low byte of their code. */
export const RESPONSE_HEADERS: readonly string[] = [
  "",
  "content-type",
  "content-language",
  "content-length",
  "date",
  "last-modified",
  "location",
  "set-cookie",
  "set-cookie2",
  "servlet-engine",
  "status",
  "www-authenticate",
];

/** Attributes of a Forward Request that hold one string. */
export const STRING_ATTRIBUTES = {
  context: 0x01,
  servletPath: 0x02,
  remoteUser: 0x03,
  authType: 0x04,
  queryString: 0x05,
  route: 0x06,
  sslCert: 0x07,
  sslCipher: 0x08,
  sslSession: 0x09,
} as const;

/** Two strings: a name and a value. */
export const REQUEST_ATTRIBUTE = 0x0a;
/** An integer. */
export const SSL_KEY_SIZE = 0x0b;
export const SECRET = 0x0c;
export const STORED_METHOD_ATTRIBUTE = 0x0d;
export const ARE_DONE = 0xff;
