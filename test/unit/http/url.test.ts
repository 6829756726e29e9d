import { describe, expect, test } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import {
  authorityOf,
  checkAuthority,
  encodeDecodedPath,
  encodePath,
  encodeQuery,
  isToken,
  printable,
  removeMount,
} from "../../../src/http/url.ts";

const BAD_REQUEST = expect.objectContaining({ code: "ERR_BAD_REQUEST", statusHint: 400 });

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error;
  }
  throw new Error("Nothing was thrown");
}

/** Each of the 256 characters as `encode` leaves it, except NUL. */
function escaped(encode: (text: string) => string): string {
  let all = "";
  for (let code = 1; code < 256; code++) {
    const text = String.fromCharCode(code);
    const after = encode(text);
    if (after === text) continue;
    expect(after).toBe(`%${code.toString(16).toUpperCase().padStart(2, "0")}`);
    if (code > 0x20 && code < 0x7f) all += text;
    else expect(code <= 0x20 || code >= 0x7f).toBe(true);
  }
  return all;
}

describe("encodePath", () => {
  test("escapes what a URL parser would read as something else, byte by byte", () => {
    expect(escaped(encodePath)).toBe('"#<>?\\`{}');
    expect(encodePath("\x01 \x7f\xe9\xc3\xa9")).toBe("%01%20%7F%E9%C3%A9");
  });

  test.each(["/", "/a/b;c=d", "//evil.example/x", "/%2F%25%zz%", "/a/../b", "/~!$&'()*+,;=:@[]^|", ""])(
    "leaves %s as it is",
    (path) => expect(encodePath(path)).toBe(path),
  );

  test("refuses NUL with 400", () => {
    expect(caught(() => encodePath("/a\x00b"))).toEqual(BAD_REQUEST);
  });
});

describe("encodeQuery", () => {
  test("escapes what ends a query or is no URL character", () => {
    expect(escaped(encodeQuery)).toBe('"#<>');
  });

  test.each(["a=1&b=?/{}`\\|^", "%zz%", ""])("leaves %s as it is", (query) => {
    expect(encodeQuery(query)).toBe(query);
  });

  test("refuses NUL with 400", () => {
    expect(caught(() => encodeQuery("\x00"))).toEqual(BAD_REQUEST);
  });
});

describe("encodeDecodedPath", () => {
  test("escapes what a plain path spells without meaning it", () => {
    expect(escaped(encodeDecodedPath)).toBe('"#%<>?[\\]^`{|}');
    expect(encodeDecodedPath("/100% a?b#c;d/e")).toBe("/100%25%20a%3Fb%23c;d/e");
  });
});

describe("checkAuthority", () => {
  test.each([
    "localhost",
    "www.example.com",
    "WWW.Example.COM:8080",
    "10.0.0.1",
    "10.0.0.1:1",
    "host:0",
    "host:65535",
    "host:00080",
    "[::1]",
    "[::1]:8080",
    "[2001:db8::7]",
    "[::ffff:1.2.3.4]:80",
    "under_score",
    "_",
    "a!$&'()*+,;=~-.b",
    "xn--bcher-kva.example",
  ])("takes %s", (authority) => {
    expect(checkAuthority(authority)).toBe(authority);
    expect(checkAuthority(authority)).toBe(authority);
  });

  test.each([["host:", "host"], ["[::1]:", "[::1]"]])("takes the empty port off %s", (authority, expected) => {
    expect(checkAuthority(authority)).toBe(expected);
    expect(checkAuthority(authority)).toBe(expected);
  });

  test.each([
    "",
    ":",
    ":80",
    "user@host",
    "user:pass@host",
    "host/path",
    "host\\path",
    "host?x",
    "host#x",
    "ho st",
    " host",
    "host ",
    "host\t",
    "host\r\n",
    "host\x00",
    "host\x7f",
    "h\xf6st",
    "hΩst",
    "ho%73t",
    "host:65536",
    "host:100000",
    "host:-1",
    "host:+1",
    "host:8a",
    "host: 80",
    "host:80:80",
    "::1",
    "[::1",
    "::1]",
    "[]",
    "[::1]80",
    "[::1]x:80",
    "[::1%25eth0]",
    "[host]",
    "<host>",
    '"host"',
    "a,b@c",
    "host|",
    "host^",
  ])("refuses %j with 400", (authority) => {
    expect(caught(() => checkAuthority(authority))).toEqual(BAD_REQUEST);
    // The authority checked last must not let it in either.
    checkAuthority("right.example");
    expect(caught(() => checkAuthority(authority))).toEqual(BAD_REQUEST);
  });
});

test.each(
  [
    ["host", 80, "http", "host"],
    ["host", 443, "https", "host"],
    ["host", 443, "http", "host:443"],
    ["host", 80, "https", "host:80"],
    ["host", 8080, "http", "host:8080"],
    ["host", 0, "https", "host"],
    ["::1", 80, "http", "[::1]"],
    ["::1", 81, "http", "[::1]:81"],
    ["[::1]", 81, "http", "[::1]:81"],
  ] as const,
)("authorityOf(%s, %i, %s) is %s", (host, port, scheme, expected) => {
  expect(authorityOf(host, port, scheme)).toBe(expected);
});

test.each([["user@host", 80], ["host", 65536], ["host/", 80], ["", 80]])(
  "authorityOf(%s, %i) is refused with 400",
  (host, port) => expect(caught(() => authorityOf(host, port, "http"))).toEqual(BAD_REQUEST),
);

describe("isToken", () => {
  test.each(["GET", "x-a", "!#$%&'*+-.^_`|~09azAZ"])("takes %s", (text) => expect(isToken(text)).toBe(true));
  test.each([
    "",
    " ",
    "a b",
    "a:",
    "a/b",
    "(a)",
    "a,b",
    "a;",
    "a=b",
    "[a]",
    "{a}",
    '"a"',
    "a@b",
    "\\",
    "a\n",
    "\xe9",
    "Ω",
  ])(
    "refuses %j",
    (text) => expect(isToken(text)).toBe(false),
  );
});

describe("removeMount", () => {
  test.each([
    ["/test", "/"],
    ["/test/", "/"],
    ["/test/a", "/a"],
    ["/test?x", "/?x"],
    ["/test/?x=/y", "/?x=/y"],
    ["/test//a", "//a"],
    ["/test//evil.example/a", "//evil.example/a"],
    ["/test/a%2Fb", "/a%2Fb"],
    ["/test/a/%C3%A9", "/a/%C3%A9"],
    ["/%74est/a", "/a"],
    ["/%74%65%73%74", "/"],
    ["/./test/a", "/a"],
    ["/x/../test/a", "/a"],
    ["/x/%2e%2E/test/a", "/a"],
    ["/test/./a", "/a"],
    ["/test/a/../b", "/b"],
    ["/test/../test/a", "/a"],
    ["/test/.hidden", "/.hidden"],
    ["/test/a?q=/../b", "/a?q=/../b"],
    ["/test/test", "/test"],
  ])("takes /test off %s", (target, expected) => {
    expect(removeMount(target, "/test")).toBe(expected);
  });

  test.each([
    "/",
    "/testing",
    "/testing/a",
    "/test%2Fa",
    "/test;a",
    "/TEST/a",
    "/tes",
    "/other/test",
    "//test/a",
    "/test/../secret",
    "/test/%2e%2e/secret",
    "/test/a/../../secret",
    "/test/..",
    "/?/test",
    "*",
  ])("finds nothing under /test in %s", (target) => {
    expect(removeMount(target, "/test")).toBeUndefined();
  });

  test("takes a mount of several segments, and one that is escaped", () => {
    expect(removeMount("/a/b/c", "/a/b")).toBe("/c");
    expect(removeMount("/caf%C3%A9/c", "/caf%C3%A9")).toBe("/c");
    expect(removeMount("/caf%c3%a9/c", "/caf%C3%A9")).toBe("/c");
  });

  test("leaves the rest what it was: its escapes are taken off once and not twice", () => {
    expect(removeMount("/%74est/%2%65%2%65/a", "/test")).toBe("/%2%65%2%65/a");
    expect(removeMount("/%74est/%%32e/a", "/test")).not.toContain("/%2e/");
    expect(removeMount("/%74est/%252e%252e/a", "/test")).toBe("/%252e%252e/a");
  });
});

test("printable shortens, and leaves nothing that a terminal or a log would obey", () => {
  expect(printable("GET")).toBe("GET");
  expect(printable("a\r\nb\x1b[31m\x80Ω")).toBe("a??b?[31m??");
  expect(printable("x".repeat(81))).toBe(`${"x".repeat(80)}…`);
  expect(printable("x".repeat(80))).toBe("x".repeat(80));
});
