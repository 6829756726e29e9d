import { describe, expect, test } from "vitest";
import { type MetaVariableLimits, toRequestHead } from "../../../src/cgi/meta_variables.ts";
import { ProtocolError } from "../../../src/errors.ts";
import type { RequestHead } from "../../../src/http/request_head.ts";

const LIMITS: MetaVariableLimits = { maxHeaderBytes: 65536, maxHeaderCount: 100, maxBodyBytes: 1000 };
type Pairs = [string, string][];

function readPairs(pairs: Pairs, limits: Partial<MetaVariableLimits> = {}): RequestHead {
  return toRequestHead(pairs, { ...LIMITS, ...limits });
}

function read(variables: Record<string, string> = {}, limits: Partial<MetaVariableLimits> = {}): RequestHead {
  return readPairs(
    Object.entries({ REQUEST_METHOD: "GET", REQUEST_URI: "/", HTTP_HOST: "h.example", ...variables }),
    limits,
  );
}

function caught(action: () => unknown): ProtocolError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("Nothing was thrown");
}

const refusal = (variables: Record<string, string>, limits?: Partial<MetaVariableLimits>) =>
  caught(() => read(variables, limits));
const BAD_REQUEST = { code: "ERR_BAD_REQUEST", statusHint: 400, initiator: "peer" };

describe("toRequestHead, method", () => {
  test.each(["GET", "PATCH", "patch", "M-SEARCH"])("keeps %s", (method) => {
    expect(read({ REQUEST_METHOD: method }).method).toBe(method);
  });

  test.each(["", "G T", "GET\n", "GET/", "\xc9"])("refuses %j with 400", (method) => {
    expect(refusal({ REQUEST_METHOD: method })).toMatchObject(BAD_REQUEST);
  });

  test("refuses no method at all with 400", () => {
    expect(caught(() => readPairs([["REQUEST_URI", "/"]]))).toMatchObject(BAD_REQUEST);
    expect(caught(() => readPairs([]))).toMatchObject(BAD_REQUEST);
  });
});

describe("toRequestHead, scheme", () => {
  test.each(["on", "ON", "On", "1", "true", "yes", "https", "HTTPS"])("is https for HTTPS=%s", (HTTPS) => {
    expect(read({ HTTPS }).scheme).toBe("https");
  });

  test.each(["off", "OFF", "0", "false", "no", "", "maybe"])(
    "is http for HTTPS=%s, unless another says it",
    (HTTPS) => {
      expect(read({ HTTPS }).scheme).toBe("http");
      expect(read({ HTTPS, REQUEST_SCHEME: "HTTPS" }).scheme).toBe("https");
      expect(read({ HTTPS, SERVER_PORT_SECURE: "1" }).scheme).toBe("https");
    },
  );

  test("is http for anything else, whatever port and headers say", () => {
    const variables = {
      SERVER_PORT: "443",
      HTTP_X_FORWARDED_PROTO: "https",
      HTTP_HTTPS: "on",
      SERVER_PORT_SECURE: "0",
    };
    expect(read(variables).scheme).toBe("http");
    expect(read({ REQUEST_SCHEME: "http" }).scheme).toBe("http");
  });
});

describe("toRequestHead, authority", () => {
  test.each([
    ["h.example", "h.example"],
    ["h.example:81", "h.example:81"],
    ["[::1]:8080", "[::1]:8080"],
    ["h.example:", "h.example"],
  ])("is HTTP_HOST %s, without SERVER_PORT", (host, authority) => {
    expect(read({ HTTP_HOST: host, SERVER_NAME: "other", SERVER_PORT: "8080" }).authority).toBe(authority);
  });

  test.each([
    [{ SERVER_NAME: "s.example" }, "s.example"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "80" }, "s.example"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "443", HTTPS: "on" }, "s.example"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "443" }, "s.example:443"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "8080" }, "s.example:8080"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "0" }, "s.example"],
    [{ SERVER_NAME: "s.example", SERVER_PORT: "x" }, "s.example"],
    [{ SERVER_NAME: "s.example:8080", SERVER_PORT: "8080" }, "s.example:8080"],
    [{ SERVER_NAME: "::1", SERVER_PORT: "8080" }, "[::1]:8080"],
    [{ SERVER_NAME: "[::1]", SERVER_PORT: "8080" }, "[::1]:8080"],
    [{ SERVER_NAME: "[::1]:81", SERVER_PORT: "8080" }, "[::1]:81"],
    [{ SERVER_NAME: "::1", SERVER_PORT: "80" }, "[::1]"],
    [{ SERVER_NAME: "_" }, "_"],
    [{ SERVER_ADDR: "10.0.0.1", SERVER_PORT: "81" }, "10.0.0.1:81"],
    [{ SERVER_NAME: "", SERVER_ADDR: "fe80::1" }, "[fe80::1]"],
    [{}, "localhost"],
    [{ SERVER_PORT: "8080" }, "localhost"],
  ] as [Record<string, string>, string][])("without HTTP_HOST, of %j, is %s", (variables, authority) => {
    expect(read({ HTTP_HOST: "", ...variables }).authority).toBe(authority);
  });

  test.each(["u@h", "h/p", "h\\p", "h?q", "h#f", "a b", "h%41", "h:x", "h:65536", "\xe9", "h\n", " "])(
    "refuses HTTP_HOST %j with 400",
    (host) => expect(refusal({ HTTP_HOST: host })).toMatchObject(BAD_REQUEST),
  );

  test.each([{ SERVER_NAME: "a/b" }, { SERVER_NAME: "a>b" }, { SERVER_NAME: "h", SERVER_PORT: "65536" }, {
    SERVER_NAME: "h",
    SERVER_PORT: "-1",
  }])("refuses %j with 400", (variables) => {
    expect(refusal({ HTTP_HOST: "", ...variables } as Record<string, string>)).toMatchObject(BAD_REQUEST);
  });
});

describe("toRequestHead, target", () => {
  test.each([
    ["/", "/"],
    ["/a?b=c", "/a?b=c"],
    ["/a?", "/a?"],
    ["//evil.example/x?y", "//evil.example/x?y"],
    ["/a#b", "/a%23b"],
    ["/a?b#c", "/a?b%23c"],
    ["/a\\b", "/a%5Cb"],
    ["/a b", "/a%20b"],
    ["/\xe9?\xff", "/%E9?%FF"],
    ["/%2F%zz%?%zz?/..", "/%2F%zz%?%zz?/.."],
    ["/a/../b", "/a/../b"],
    ["http://h.example/p?q", "/p?q"],
    ["http://other.example", "/"],
    ["HTTPS://other.example?q", "/?q"],
    ["x-scheme+1.0://a/b", "/b"],
  ])("of REQUEST_URI %j is %s", (uri, target) => {
    expect(read({ REQUEST_URI: uri, SCRIPT_NAME: "/other", QUERY_STRING: "other" })).toMatchObject({
      target,
      authority: "h.example",
      scheme: "http",
    });
  });

  test("takes the authority of an absolute REQUEST_URI only where there is no HTTP_HOST", () => {
    const variables = { REQUEST_URI: "http://abs.example:81/p", SERVER_NAME: "s.example" };
    expect(read(variables).authority).toBe("h.example");
    expect(read({ ...variables, HTTP_HOST: "" }).authority).toBe("abs.example:81");
    expect(refusal({ REQUEST_URI: "http://u@abs.example/p", HTTP_HOST: "" })).toMatchObject(BAD_REQUEST);
  });

  test("keeps * of OPTIONS and refuses any other with 400", () => {
    expect(read({ REQUEST_METHOD: "OPTIONS", REQUEST_URI: "*" }).target).toBe("*");
    expect(refusal({ REQUEST_URI: "*" })).toMatchObject(BAD_REQUEST);
  });

  test.each(["a", "h:443", "?q", "#", " /", "http:/x", "mailto:x", "\xe9", "://h/", "1http://h/", "\\x"])(
    "refuses REQUEST_URI %j with 400",
    (uri) => expect(refusal({ REQUEST_URI: uri })).toMatchObject(BAD_REQUEST),
  );

  test("refuses every control character in REQUEST_URI with 400", () => {
    for (let code = 0; code < 0x20; code++) {
      expect(refusal({ REQUEST_URI: `/a${String.fromCharCode(code)}b` })).toMatchObject(BAD_REQUEST);
    }
    expect(refusal({ REQUEST_URI: "/a\x7f" })).toMatchObject(BAD_REQUEST);
  });

  test.each([
    [{ SCRIPT_NAME: "/app", PATH_INFO: "/x" }, "/app/x"],
    [{ SCRIPT_NAME: "/app", PATH_INFO: "" }, "/app"],
    [{ SCRIPT_NAME: "", PATH_INFO: "/x" }, "/x"],
    [{ PATH_INFO: "/x", QUERY_STRING: "a=1" }, "/x?a=1"],
    [{ PATH_INFO: "/100% a?b#c;d\xe9" }, "/100%25%20a%3Fb%23c;d%E9"],
    [{ PATH_INFO: "/a\nb" }, "/a%0Ab"],
    [{ QUERY_STRING: "a b#%zz" }, "/?a%20b%23%zz"],
    [{}, "/"],
    [{ SCRIPT_NAME: "/", PATH_INFO: "/evil.example" }, "//evil.example"],
  ] as [Record<string, string>, string][])("without REQUEST_URI, of %j, is %s", (variables, target) => {
    expect(read({ REQUEST_URI: "", ...variables }).target).toBe(target);
    expect(readPairs(Object.entries({ REQUEST_METHOD: "GET", ...variables })).target).toBe(target);
  });

  test.each([{ SCRIPT_NAME: "app" }, { PATH_INFO: "x" }, { PATH_INFO: "/\x00" }, { QUERY_STRING: "\x00" }])(
    "without REQUEST_URI refuses %j with 400",
    (variables) =>
      expect(refusal({ REQUEST_URI: "", ...variables } as Record<string, string>)).toMatchObject(BAD_REQUEST),
  );
});

describe("toRequestHead, headers", () => {
  test("makes names of HTTP_ variables, and leaves out empty ones", () => {
    const { headers } = read({
      HTTP_X_REAL_IP: "1",
      HTTP_ACCEPT: "",
      HTTP_COOKIE: "a=1; b=2",
      HTTP_X_BYTES: "\x80\xff\t",
      HTTPS: "on",
      HTTPX_Y: "no",
      CONTENT_TYPE: "a/b",
      CONTENT_LENGTH: "5",
    });
    expect(headers).toEqual([
      ["host", "h.example"],
      ["x-real-ip", "1"],
      ["cookie", "a=1; b=2"],
      ["x-bytes", "\x80\xff\t"],
      ["content-type", "a/b"],
      ["content-length", "5"],
    ]);
  });

  test.each([
    "HTTP_CONTENT_LENGTH",
    "HTTP_CONTENT_TYPE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONNECTION",
    "HTTP_KEEP_ALIVE",
    "HTTP_PROXY_CONNECTION",
    "HTTP_TE",
    "HTTP_TRAILER",
    "HTTP_UPGRADE",
    "HTTP_EXPECT",
  ])("drops %s and keeps it as a param", (name) => {
    const head = read({ [name]: "x" });
    expect(head.headers).toEqual([["host", "h.example"]]);
    expect(head.meta.params.get(name)).toBe("x");
  });

  test.each(["HTTP_PROXY", "http_proxy", "Http_Proxy"])("drops %s from headers and params", (name) => {
    const head = read({ [name]: "http://evil.example/" });
    expect(head.headers).toEqual([["host", "h.example"]]);
    expect([...head.meta.params.values()]).not.toContain("http://evil.example/");
  });

  test.each(["HTTP_", "HTTP_A B", "HTTP_\xe9", "HTTP_A:B", "HTTP_A\n"])("drops %j, which names no header", (name) => {
    expect(read({ [name]: "x" }).headers).toEqual([["host", "h.example"]]);
  });

  test("refuses every control character in a value but TAB with 400", () => {
    for (let code = 0; code < 0x100; code++) {
      const value = `a${String.fromCharCode(code)}b`;
      if ((code < 0x20 && code !== 9) || code === 0x7f) {
        expect(refusal({ HTTP_X_A: value })).toMatchObject(BAD_REQUEST);
        expect(refusal({ CONTENT_TYPE: value })).toMatchObject(BAD_REQUEST);
      } else {
        expect(read({ HTTP_X_A: value }).headers).toContainEqual(["x-a", value]);
      }
    }
  });

  test("takes other variables with newlines, as certificates have", () => {
    const SSL_CLIENT_CERT = "-----BEGIN CERTIFICATE-----\nx\n";
    expect(read({ SSL_CLIENT_CERT }).meta.params.get("SSL_CLIENT_CERT")).toBe(SSL_CLIENT_CERT);
  });

  test("takes maxHeaderCount headers and refuses one more with 431", () => {
    const variables = { HTTP_A: "1", HTTP_TE: "2" };
    expect(read(variables, { maxHeaderCount: 3 }).headers).toHaveLength(2);
    expect(refusal(variables, { maxHeaderCount: 2 })).toMatchObject({
      code: "ERR_HEADERS_TOO_LARGE",
      statusHint: 431,
    });
  });

  test("takes maxHeaderBytes of names and values and refuses one more with 431", () => {
    const variables = { HTTP_HOST: "h", HTTP_A: "12345" };
    expect(read(variables, { maxHeaderBytes: 11 }).headers).toHaveLength(2);
    expect(refusal(variables, { maxHeaderBytes: 10 }).statusHint).toBe(431);
  });

  test("keeps knowing a header name after thousands of others", () => {
    for (let i = 0; i < 2000; i++) read({ [`HTTP_X_${i}`]: "1" });
    expect(read({ HTTP_X_1999: "1", HTTP_X_1: "2", HTTP_TE: "3" }).headers.slice(1)).toEqual([
      ["x-1999", "1"],
      ["x-1", "2"],
    ]);
  });
});

describe("toRequestHead, CONTENT_LENGTH", () => {
  test.each([["0", 0], ["5", 5], ["1000", 1000], ["", -1], ["-1", -1], ["-2", -1]])("%j is %i", (text, length) => {
    const head = read({ CONTENT_LENGTH: text });
    expect(head.contentLength).toBe(length);
    expect(head.headers.find(([name]) => name === "content-length")?.[1]).toBe(length < 0 ? undefined : String(length));
  });

  test("that is absent is unknown", () => {
    expect(read().contentLength).toBe(-1);
  });

  test.each(["5,5", "+5", " 5", "5 ", "0x5", "5.0", "--5", "-", "five", "9007199254740992", "-1x"])(
    "%j is refused with 400",
    (text) => expect(refusal({ CONTENT_LENGTH: text })).toMatchObject(BAD_REQUEST),
  );

  test("over maxBodyBytes is refused with 413", () => {
    expect(refusal({ CONTENT_LENGTH: "1001" })).toMatchObject({ code: "ERR_BODY_TOO_LARGE", statusHint: 413 });
  });
});

describe("toRequestHead, duplicates", () => {
  const base: Pairs = [["REQUEST_METHOD", "GET"], ["REQUEST_URI", "/"]];

  test("lets the last of a name count", () => {
    const head = readPairs([...base, ["HTTP_A", "1"], ["REQUEST_URI", "/last"], ["HTTP_A", "2"]]);
    expect(head.target).toBe("/last");
    expect(head.headers).toEqual([["a", "2"]]);
  });

  test("takes two CONTENT_LENGTH that say the same, and refuses two that do not with 400", () => {
    expect(readPairs([...base, ["CONTENT_LENGTH", "5"], ["CONTENT_LENGTH", "5"]]).contentLength).toBe(5);
    for (const [a, b] of [["5", "6"], ["5", ""], ["", "5"], ["5", "05"]] as Pairs) {
      expect(caught(() => readPairs([...base, ["CONTENT_LENGTH", a], ["CONTENT_LENGTH", b]]))).toMatchObject(
        BAD_REQUEST,
      );
    }
  });

  test("drops an empty name", () => {
    expect(readPairs([...base, ["", "x"]]).meta.params.has("")).toBe(false);
  });

  test("takes __proto__ for a name like any other", () => {
    const head = readPairs([...base, ["__proto__", "x"], ["HTTP___PROTO__", "y"], ["constructor", "z"]]);
    expect(head.meta.params.get("__proto__")).toBe("x");
    expect(head.headers).toEqual([["--proto--", "y"]]);
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });
});

describe("toRequestHead, meta", () => {
  test.each([["53097", 53097], ["", 0], ["x", 0], ["-1", 0], ["65536", 0], ["1.5", 0]])(
    "reads REMOTE_PORT %j as %i",
    (REMOTE_PORT, port) => {
      expect(read({ REMOTE_ADDR: "10.0.0.7", REMOTE_PORT }).meta.remoteAddr).toEqual({
        transport: "tcp",
        hostname: "10.0.0.7",
        port,
      });
    },
  );

  test("reads nothing as nothing", () => {
    const { meta } = read();
    expect(meta.remoteAddr).toEqual({ transport: "tcp", hostname: "", port: 0 });
    expect([meta.remoteUser, meta.authType, meta.ssl]).toEqual([undefined, undefined, undefined]);
    const empty = read({ REMOTE_USER: "", AUTH_TYPE: "" }).meta;
    expect([empty.remoteUser, empty.authType]).toEqual([undefined, undefined]);
  });

  test("reads what the web server says as UTF-8 where it is, and headers as bytes", () => {
    const { meta, headers } = read({ REMOTE_USER: "J\xc3\xb6rg", DISPLAY: "J\xf6rg", HTTP_X_A: "J\xc3\xb6rg" });
    expect(meta.remoteUser).toBe("Jörg");
    expect(meta.params.get("REMOTE_USER")).toBe("Jörg");
    expect(meta.params.get("DISPLAY")).toBe("J\xf6rg");
    expect(meta.params.get("HTTP_X_A")).toBe("J\xc3\xb6rg");
    expect(headers).toContainEqual(["x-a", "J\xc3\xb6rg"]);
    expect(meta.params).toBe(meta.params);
  });

  test("reads TLS details of https only", () => {
    const variables = {
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "AES",
      SSL_CIPHER_USEKEYSIZE: "256",
      SSL_SESSION_ID: "00ff",
      SSL_CLIENT_CERT: "cert",
    };
    expect(read({ ...variables, HTTPS: "on" }).meta.ssl).toEqual({
      protocol: "TLSv1.3",
      cipher: "AES",
      keySize: 256,
      sessionId: "00ff",
      clientCert: "cert",
    });
    expect(read(variables).meta.ssl).toBeUndefined();
    expect(read({ HTTPS: "on", SSL_CIPHER_USEKEYSIZE: "x", SSL_CIPHER: "" }).meta.ssl).toMatchObject({
      keySize: undefined,
      cipher: undefined,
    });
  });

  test.each([
    [{ SSL_CLIENT_CERT: "leaf\n" }, "leaf\n"],
    [
      { SSL_CLIENT_CERT: "leaf\n", SSL_CLIENT_CERT_CHAIN_0: "one\n", SSL_CLIENT_CERT_CHAIN_1: "two\n" },
      "leaf\none\ntwo\n",
    ],
    [{ SSL_CLIENT_CERT: "leaf", SSL_CLIENT_CERT_CHAIN_0: "one", SSL_CLIENT_CERT_CHAIN_2: "three" }, "leaf\none"],
    [{ SSL_CLIENT_CERT: "", SSL_CLIENT_CERT_CHAIN_0: "one" }, undefined],
    [{ SSL_CLIENT_CERT_CHAIN_0: "one" }, undefined],
  ] as [Record<string, string>, string | undefined][])(
    "reads the certificates %j leaf first",
    (variables, expected) => {
      expect(read({ HTTPS: "on", ...variables }).meta.ssl!.clientCert).toBe(expected);
    },
  );
});

describe("toRequestHead, what web servers do differently", () => {
  test.each([
    ["proxy:fcgi://127.0.0.1:9000/srv/app/x", "", "/srv/app/x"],
    ["proxy:fcgi://[::1]:9000/srv/app/x", "", "/srv/app/x"],
    ["proxy:fcgi://localhost/srv", "", "/srv"],
    ["PROXY:FCGI://localhost/srv", "", "/srv"],
    ["proxy:balancer://pool/srv/x", "", "/srv/x"],
    ["proxy:scgi://127.0.0.1:4000/srv/x", "", "/srv/x"],
    // What a RewriteRule leaves there is the query and nothing else.
    ["proxy:fcgi://h:1/srv/x?a=1&b", "a=1&b", "/srv/x"],
    ["proxy:fcgi://h:1/srv/x?a=1", "b=2", "/srv/x?a=1"],
    ["proxy:fcgi://h:1/srv/x?", "", "/srv/x?"],
    ["proxy:fcgi://h:1/srv/J\xc3\xb6rg?q=\xc3\xb6", "q=\xc3\xb6", "/srv/Jörg"],
    // A file may have any name.
    ["/srv/x?a=1", "a=1", "/srv/x?a=1"],
    ["/srv/proxy:fcgi://h/x", "", "/srv/proxy:fcgi://h/x"],
    ["proxy:fcgi://h:1", "", "proxy:fcgi://h:1"],
    ["proxy:http://h/x", "", "proxy:http://h/x"],
    ["", "", ""],
  ])("reads SCRIPT_FILENAME %j with the query %j as %j", (SCRIPT_FILENAME, QUERY_STRING, expected) => {
    expect(read({ SCRIPT_FILENAME, QUERY_STRING }).meta.params.get("SCRIPT_FILENAME")).toBe(expected);
  });

  test("makes up no SCRIPT_FILENAME", () => {
    expect(read({ QUERY_STRING: "a" }).meta.params.has("SCRIPT_FILENAME")).toBe(false);
  });

  test.each([
    ["missing, the whole path in SCRIPT_NAME (ProxyPass, nginx)", { SCRIPT_NAME: "/app/a b" }],
    ["empty", { SCRIPT_NAME: "/app/a b", PATH_INFO: "" }],
    ["decoded (SetHandler, lighttpd)", { SCRIPT_NAME: "/app", PATH_INFO: "/a b" }],
    ["the whole path (Caddy without split, IIS)", { SCRIPT_NAME: "", PATH_INFO: "/app/a b" }],
    ["not what SCRIPT_NAME leaves (HAProxy with an index)", { SCRIPT_NAME: "/app/index.php", PATH_INFO: "/x" }],
    ["emptied by a newline", { SCRIPT_NAME: "/app/a\nb", PATH_INFO: "" }],
  ] as [string, Record<string, string>][])("takes the URL from REQUEST_URI where PATH_INFO is %s", (_, variables) => {
    const { target, meta } = read({ REQUEST_URI: "/app/a%20b?c", ...variables });
    expect(target).toBe("/app/a%20b?c");
    for (const [name, value] of Object.entries(variables)) expect(meta.params.get(name)).toBe(value);
  });

  test("takes no part of the URL from DOCUMENT_URI", () => {
    const { target, meta } = read({ REQUEST_URI: "/a%2Fb", DOCUMENT_URI: "/a/b" });
    expect([target, meta.params.get("DOCUMENT_URI")]).toEqual(["/a%2Fb", "/a/b"]);
    expect(readPairs([["REQUEST_METHOD", "GET"], ["DOCUMENT_URI", "/a/b"]]).target).toBe("/");
  });

  test("takes an empty CONTENT_LENGTH for an unknown one, and makes no header of it", () => {
    const head = read({ REQUEST_METHOD: "POST", CONTENT_LENGTH: "", CONTENT_TYPE: "" });
    expect(head.contentLength).toBe(-1);
    expect(head.headers.map(([name]) => name)).toEqual(["host"]);
  });

  test.each(["HTTP_PROXY", "http_proxy", "Http_Proxy"])("drops %s everywhere", (name) => {
    const { headers, meta } = read({ [name]: "http://evil.example" });
    expect(headers.map(([name]) => name)).toEqual(["host"]);
    expect(meta.params.has(name)).toBe(false);
  });

  test("keeps headers and variables that only look like HTTP_PROXY", () => {
    const { headers, meta } = read({ HTTP_PROXY_AUTH: "a", HTTP_X_PROXY: "b", PROXY: "c" });
    expect(headers).toEqual(expect.arrayContaining([["proxy-auth", "a"], ["x-proxy", "b"]]));
    expect(meta.params.get("PROXY")).toBe("c");
  });

  test("passes Authorization where the web server does, and looks for it nowhere else", () => {
    expect(read({ HTTP_AUTHORIZATION: "Basic YTpi" }).headers).toContainEqual(["authorization", "Basic YTpi"]);
    const { headers, meta } = read({ REDIRECT_HTTP_AUTHORIZATION: "Basic YTpi", REDIRECT_REMOTE_USER: "ann" });
    expect(headers.map(([name]) => name)).toEqual(["host"]);
    expect(meta.remoteUser).toBeUndefined();
    // Who asks for it gets it.
    expect(meta.params.get("REDIRECT_HTTP_AUTHORIZATION")).toBe("Basic YTpi");
  });

  test("keeps every REDIRECT_ variable among the params, and reads none of them", () => {
    const variables = {
      REDIRECT_STATUS: "404",
      REDIRECT_URL: "/other",
      REDIRECT_REQUEST_METHOD: "PUT",
      REDIRECT_QUERY_STRING: "x",
      REDIRECT_REDIRECT_ROLE: "r",
    };
    const { method, target, meta } = read(variables);
    expect([method, target]).toEqual(["GET", "/"]);
    for (const [name, value] of Object.entries(variables)) expect(meta.params.get(name)).toBe(value);
  });

  test.each(["off", "OFF", "0", ""])("takes HTTPS=%s for no TLS", (HTTPS) => {
    const { scheme, meta } = read({ HTTPS, SSL_PROTOCOL: "TLSv1.3" });
    expect([scheme, meta.ssl]).toEqual(["http", undefined]);
  });
});
