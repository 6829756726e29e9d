import { describe, expect, test } from "vitest";
import type { ForwardRequest } from "../../../src/ajp/codec.ts";
import { type RequestHeadOptions, toRequestHead } from "../../../src/ajp/request_head.ts";
import { ProtocolError } from "../../../src/errors.ts";
import type { RequestHead } from "../../../src/http/request_head.ts";
import { forwardRequest } from "../../support/ajp.ts";

const OPTIONS: RequestHeadOptions = {
  maxHeaderBytes: 65536,
  maxBodyBytes: 1000,
  allowsAttribute: () => false,
  rejectsUnknownAttributes: false,
  onIgnoredAttribute: () => {},
};

function read(more: Partial<ForwardRequest> = {}, options: Partial<RequestHeadOptions> = {}): RequestHead {
  return toRequestHead(forwardRequest(more), { ...OPTIONS, ...options });
}

function refusal(more: Partial<ForwardRequest>, options: Partial<RequestHeadOptions> = {}): ProtocolError {
  try {
    read(more, options);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    return error as ProtocolError;
  }
  throw new Error("Nothing was thrown");
}

type Headers = [string, string][];
const BAD_REQUEST = { code: "ERR_BAD_REQUEST", statusHint: 400, initiator: "peer" };

/** What `new URL` makes of it. */
function url(more: Partial<ForwardRequest>): string {
  const { scheme, authority, target } = read(more);
  return new URL(`${scheme}://${authority}${target}`).href;
}

describe("toRequestHead, method", () => {
  test.each(["GET", "PATCH", "VERSION-CONTROL", "foo", "!#$%&'*+-.^_`|~"])("keeps %s", (method) => {
    expect(read({ method }).method).toBe(method);
  });

  test.each(["", "G T", "GET\r\n", "(", "G\xc9T", "GET/"])("refuses %j with 400", (method) => {
    expect(refusal({ method })).toMatchObject(BAD_REQUEST);
  });
});

describe("toRequestHead, URI", () => {
  test.each([
    ["/", "/"],
    ["/a/b;v=1/c", "/a/b;v=1/c"],
    ["//evil.example/x", "//evil.example/x"],
    ["/a b", "/a%20b"],
    ["/a?b#c", "/a%3Fb%23c"],
    ["/a\\..\\b", "/a%5C..%5Cb"],
    ['/"<>`{}', "/%22%3C%3E%60%7B%7D"],
    ["/%2F%25%zz%", "/%2F%25%zz%"],
    ["/\xe9", "/%E9"],
    ["/\xc3\xa9", "/%C3%A9"],
    ["/\x01\t\r\n\x7f", "/%01%09%0D%0A%7F"],
    ["/a/../b/./c", "/a/../b/./c"],
  ])("makes target of %j %s", (uri, target) => {
    expect(read({ uri }).target).toBe(target);
    expect(read({ uri }).authority).toBe("www.example.com");
  });

  test("never lets the path become the host", () => {
    expect(url({ uri: "//evil.example/x" })).toBe("http://www.example.com//evil.example/x");
    expect(url({ uri: "/\\evil.example/x" })).toBe("http://www.example.com/%5Cevil.example/x");
    expect(url({ uri: "/@evil.example/" })).toBe("http://www.example.com/@evil.example/");
  });

  test.each([
    ["a=1&b=2", "/?a=1&b=2"],
    ["", "/?"],
    ["a b", "/?a%20b"],
    ["?a#b", "/??a%23b"],
    ["\xe9\xff", "/?%E9%FF"],
    ["%zz&{}`\\", "/?%zz&{}`\\"],
    ["//x/../y", "/?//x/../y"],
  ])("puts query %j behind it: %s", (queryString, target) => {
    expect(read({ attributes: { queryString } }).target).toBe(target);
  });

  test.each([null, "", "a", "a/b", "*", "?a", "#", " /", "http", "http:/h/p", "ftp://h/p", "\\a", "@/", "\x00"])(
    "refuses %j with 400",
    (uri) => expect(refusal({ uri })).toMatchObject(BAD_REQUEST),
  );

  test("refuses NUL in path and query with 400", () => {
    expect(refusal({ uri: "/a\x00b" })).toMatchObject(BAD_REQUEST);
    expect(refusal({ attributes: { queryString: "\x00" } })).toMatchObject(BAD_REQUEST);
  });

  test.each([
    ["http://other.example/p", "other.example", "/p"],
    ["HTTP://Other.example:81/p", "Other.example:81", "/p"],
    ["https://other.example", "other.example", "/"],
    ["http://[::1]:8080//x", "[::1]:8080", "//x"],
  ])("takes authority and path of %s, and the scheme from elsewhere", (uri, authority, target) => {
    expect(read({ uri, headers: [["host", "www.example.com"]] })).toMatchObject({ authority, target, scheme: "http" });
    expect(read({ uri, isSsl: true }).scheme).toBe("https");
  });

  test.each(["http://", "http:///p", "http://user@h/", "http://h:99999/", "http://h?x", "http://h\\p", "http://h#/"])(
    "refuses %s with 400",
    (uri) => expect(refusal({ uri, headers: [["host", "h"]] })).toMatchObject(BAD_REQUEST),
  );

  test.each([
    [[["host", "www.example.com"], ["x-a", "1"]], [["host", "other.example"], ["x-a", "1"]]],
    [[["Host", "not a host/"]], [["host", "other.example"]]],
    [[["host", ""]], [["host", "other.example"]]],
    [[["x-a", "1"]], [["x-a", "1"], ["host", "other.example"]]],
  ] as [Headers, Headers][])("that is absolute makes the Host of %j its own", (headers, expected) => {
    expect(read({ uri: "http://other.example/p", headers })).toMatchObject({
      authority: "other.example",
      headers: expected,
    });
  });

  test("keeps * of OPTIONS and drops its query", () => {
    expect(read({ method: "OPTIONS", uri: "*", attributes: { queryString: "a" } }).target).toBe("*");
  });
});

describe("toRequestHead, authority", () => {
  test.each([
    [[["host", "a.example:81"]], "a.example:81"],
    [[["Host", " a.example\t"]], "a.example"],
    [[["HOST", "[::1]:80"]], "[::1]:80"],
    [[["host", "a.example:"]], "a.example"],
    [[["host", ""]], "www.example.com:8080"],
    [[], "www.example.com:8080"],
  ] as [Headers, string][])("of %j is %s", (headers, authority) => {
    expect(read({ headers, serverPort: 8080 }).authority).toBe(authority);
  });

  test.each([
    ["www.example.com", 80, false, "www.example.com"],
    ["www.example.com", 443, true, "www.example.com"],
    ["www.example.com", 443, false, "www.example.com:443"],
    ["fe80::1", 8080, false, "[fe80::1]:8080"],
    ["", 8080, false, "localhost"],
    [null, 8080, false, "localhost"],
  ])("without a Host is that of server_name %j, port %i, is_ssl %s", (serverName, serverPort, isSsl, authority) => {
    expect(read({ serverName, serverPort, isSsl }).authority).toBe(authority);
  });

  test.each([
    "user@h",
    "h/p",
    "h\\p",
    "h?q",
    "h#f",
    "a b",
    "h%41",
    "h:x",
    "h:65536",
    "[::1",
    "\xe9",
    "a,b@c",
    "h:80:80",
  ])(
    "refuses Host %j with 400",
    (host) => expect(refusal({ headers: [["host", host]] })).toMatchObject(BAD_REQUEST),
  );

  test.each([
    [[["host", "h"], ["host", "h"]]],
    [[["host", "h"], ["Host", "i"]]],
    [[["host", ""], ["host", "h"]]],
  ] as [Headers][])("refuses two Hosts, %j, with 400", (headers) => {
    expect(refusal({ headers })).toMatchObject(BAD_REQUEST);
  });

  test("refuses a server_name that is no host with 400", () => {
    expect(refusal({ serverName: "a/b" })).toMatchObject(BAD_REQUEST);
  });
});

describe("toRequestHead, body", () => {
  test.each([
    [[], -1],
    [[["content-length", "0"]], 0],
    [[["content-length", "1000"]], 1000],
    [[["Content-Length", " 7\t"]], 7],
    [[["transfer-encoding", "chunked"]], -1],
    [[["Transfer-Encoding", " CHUNKED "]], -1],
  ] as [Headers, number][])("length of %j is %i", (headers, contentLength) => {
    expect(read({ headers }).contentLength).toBe(contentLength);
  });

  test.each([
    [["content-length", "5"], ["content-length", "5"]],
    [["content-length", "5"], ["Content-Length", "6"]],
    [["content-length", "0"], ["content-length", "0"]],
    [["content-length", "5"], ["transfer-encoding", "chunked"]],
    [["transfer-encoding", "chunked"], ["content-length", "0"]],
    [["transfer-encoding", "chunked"], ["transfer-encoding", "chunked"]],
    [["transfer-encoding", "identity"]],
    [["transfer-encoding", "gzip, chunked"]],
    [["transfer-encoding", "chunked, chunked"]],
    [["transfer-encoding", "xchunked"]],
    [["transfer-encoding", "chunked;a=b"]],
    [["transfer-encoding", ""]],
    [["content-length", ""]],
    [["content-length", "-1"]],
    [["content-length", "+5"]],
    [["content-length", "5,5"]],
    [["content-length", "5 5"]],
    [["content-length", "0x5"]],
    [["content-length", "5.0"]],
    [["content-length", "9007199254740992"]],
  ])("refuses %j %j with 400", (...headers) => {
    expect(refusal({ headers: headers.filter(Boolean) as Headers })).toMatchObject(BAD_REQUEST);
  });

  test("refuses a length over maxBodyBytes with 413", () => {
    expect(refusal({ headers: [["content-length", "1001"]] })).toMatchObject({
      code: "ERR_BODY_TOO_LARGE",
      statusHint: 413,
    });
  });
});

describe("toRequestHead, headers", () => {
  test("keeps what belongs to the message, names in lower case and values trimmed", () => {
    const headers: Headers = [["Host", "h"], ["X-A", " a\tb "], ["content-length", "5"], ["Accept", ""]];
    expect(read({ headers }).headers).toEqual([["host", "h"], ["x-a", "a\tb"], ["content-length", "5"], [
      "accept",
      "",
    ]]);
  });

  test.each([
    "connection",
    "Keep-Alive",
    "proxy-connection",
    "TE",
    "trailer",
    "upgrade",
    "Expect",
  ])("drops %s", (name) => {
    expect(read({ headers: [[name, "x"]] }).headers).toEqual([]);
  });

  test("drops transfer-encoding, as the body comes decoded", () => {
    expect(read({ headers: [["transfer-encoding", "chunked"]] }).headers).toEqual([]);
  });

  test("joins cookies with a semicolon at the place of the first", () => {
    const headers: Headers = [["cookie", "a=1"], ["x-a", "1"], ["Cookie", " b=2 "], ["x-a", "2"], ["COOKIE", "c=3"]];
    expect(read({ headers }).headers).toEqual([["cookie", "a=1; b=2; c=3"], ["x-a", "1"], ["x-a", "2"]]);
  });

  test("leaves the headers that it was given alone", () => {
    const headers: Headers = [["cookie", "a=1"], ["cookie", "b=2"]];
    read({ headers });
    expect(headers).toEqual([["cookie", "a=1"], ["cookie", "b=2"]]);
  });

  test("keeps bytes above 7F and __proto__", () => {
    const headers: Headers = [["x-a", "\x80\x9f\xff"], ["__proto__", "p"]];
    expect(read({ headers }).headers).toEqual(headers);
  });

  test.each(["", "a b", "a:", "\xe9", "a\n", "(a)", "a,b"])("refuses the name %j with 400", (name) => {
    expect(refusal({ headers: [[name, "v"]] })).toMatchObject(BAD_REQUEST);
  });

  test("refuses every control character in a value but TAB with 400", () => {
    for (let code = 0; code < 0x100; code++) {
      const headers: Headers = [["x-a", `a${String.fromCharCode(code)}b`]];
      if ((code < 0x20 && code !== 9) || code === 0x7f) expect(refusal({ headers })).toMatchObject(BAD_REQUEST);
      else expect(read({ headers }).headers).toEqual(headers);
    }
  });

  test.each(["connection", "cookie", "transfer-encoding", "expect", "host"])(
    "refuses a control character in %s too, though it may be dropped",
    (name) => expect(refusal({ headers: [[name, "a\nb"]] })).toMatchObject(BAD_REQUEST),
  );

  test("takes maxHeaderBytes of names and values, dropped ones too, and refuses one more with 431", () => {
    const headers: Headers = [["x-a", "12345"], ["te", "1234567890"]];
    expect(read({ headers }, { maxHeaderBytes: 20 }).headers).toHaveLength(1);
    expect(refusal({ headers }, { maxHeaderBytes: 19 })).toMatchObject({
      code: "ERR_HEADERS_TOO_LARGE",
      statusHint: 431,
    });
  });
});

describe("toRequestHead, attributes", () => {
  const requestAttributes: Headers = [["MY_", "1"], ["NOT_MY_", "2"], ["__proto__", "3"], ["AJP_REMOTE_PORT", "4"]];

  test("lets in what is allowed and what connectors send by themselves, and tells of the rest", () => {
    const ignored: string[] = [];
    const head = read({ requestAttributes: [...requestAttributes] }, {
      allowsAttribute: (name) => name === "MY_" || name === "__proto__",
      onIgnoredAttribute: (name) => ignored.push(name),
    });
    expect(ignored).toEqual(["NOT_MY_"]);
    const { params } = head.meta;
    expect([params.get("MY_"), params.get("__proto__"), params.get("NOT_MY_")]).toEqual(["1", "3", undefined]);
    expect(head.meta.remoteAddr.port).toBe(4);
  });

  test("refuses what is not allowed with 403 when told to", () => {
    const options = { rejectsUnknownAttributes: true, allowsAttribute: (name: string) => name === "MY_" };
    expect(refusal({ requestAttributes }, options)).toMatchObject({ code: "ERR_AJP_ATTRIBUTE", statusHint: 403 });
    const known: Headers = [["AJP_REMOTE_PORT", "1"], ["AJP_LOCAL_ADDR", "a"], ["AJP_SSL_PROTOCOL", "TLSv1.3"], [
      "JK_LB_ACTIVATION",
      "ACT",
    ], ["MY_", "x"]];
    expect(read({ requestAttributes: known }, options).meta.params.get("MY_")).toBe("x");
  });

  test.each([
    "javax.servlet.include.request_uri",
    "javax.servlet.include.path_info",
    "jakarta.servlet.include.servlet_path",
  ])(
    "does not let %s in by default",
    (name) => {
      const head = read({ requestAttributes: [[name, "/WEB-INF/web.xml"]] });
      expect([...head.meta.params.values()]).not.toContain("/WEB-INF/web.xml");
    },
  );

  test("lets no attribute stand in for what the connector itself says", () => {
    const forged = [
      "REMOTE_USER",
      "REMOTE_ADDR",
      "HTTPS",
      "AUTH_TYPE",
      "REQUEST_METHOD",
      "SSL_CLIENT_CERT",
      "QUERY_STRING",
    ];
    const head = read({
      attributes: { remoteUser: "real", authType: "Basic", sslCert: "cert", queryString: "q" },
      isSsl: true,
      requestAttributes: forged.map((name) => [name, "forged"]),
    }, { allowsAttribute: () => true });
    expect([...head.meta.params.values()]).not.toContain("forged");
    expect(head.meta.remoteUser).toBe("real");
  });
});

describe("toRequestHead, meta", () => {
  test.each([
    ["53097", 53097],
    ["0", 0],
    ["65535", 65535],
    ["65536", 0],
    ["99999", 0],
    ["100000", 0],
    ["-1", 0],
    ["x", 0],
    ["", 0],
    ["1e3", 0],
    [" 1", 0],
  ])("reads AJP_REMOTE_PORT %j as %i", (value, port) => {
    expect(read({ requestAttributes: [["AJP_REMOTE_PORT", value]] }).meta.remoteAddr).toEqual({
      transport: "tcp",
      hostname: "10.0.0.7",
      port,
    });
  });

  test("reads a missing address as an empty one", () => {
    expect(read({ remoteAddr: null }).meta.remoteAddr).toEqual({ transport: "tcp", hostname: "", port: 0 });
    expect(read({ remoteAddr: "2001:db8::7" }).meta.remoteAddr.hostname).toBe("2001:db8::7");
  });

  test("reads user and authentication; an empty one is none", () => {
    const { meta } = read({ attributes: { remoteUser: "J\xc3\xb6rg", authType: "Basic" } });
    expect([meta.remoteUser, meta.authType]).toEqual(["Jörg", "Basic"]);
    const none = read({ attributes: { remoteUser: "", authType: "" } }).meta;
    expect([none.remoteUser, none.authType]).toEqual([undefined, undefined]);
    expect(read({ attributes: { remoteUser: "J\xf6rg" } }).meta.remoteUser).toBe("Jörg");
  });

  test("reads TLS details where is_ssl says so, and never elsewhere", () => {
    const attributes = { sslCipher: "AES", sslSession: "00ff", sslCert: "-----BEGIN CERTIFICATE-----\nx\n" };
    const requestAttributes: Headers = [["AJP_SSL_PROTOCOL", "TLSv1.3"]];
    expect(read({ isSsl: true, attributes, requestAttributes: [...requestAttributes], sslKeySize: 256 }).meta.ssl)
      .toEqual({
        protocol: "TLSv1.3",
        cipher: "AES",
        keySize: 256,
        sessionId: "00ff",
        clientCert: "-----BEGIN CERTIFICATE-----\nx\n",
      });
    expect(read({ attributes, requestAttributes }).meta.ssl).toBeUndefined();
    expect(read({ isSsl: true }).meta.ssl).toEqual({
      protocol: undefined,
      cipher: undefined,
      keySize: undefined,
      sessionId: undefined,
      clientCert: undefined,
    });
  });

  test("makes PEM of a certificate in DER", () => {
    const der = `0\x82${Array.from({ length: 98 }, (_, i) => String.fromCharCode(i * 3 & 255)).join("")}`;
    const pem = read({ isSsl: true, attributes: { sslCert: der } }).meta.ssl!.clientCert!;
    const lines = pem.split("\n");
    expect(lines[0]).toBe("-----BEGIN CERTIFICATE-----");
    expect(lines.slice(-2)).toEqual(["-----END CERTIFICATE-----", ""]);
    expect(lines.slice(1, -2).map((line) => line.length)).toEqual([64, 64, 8]);
    expect(atob(lines.slice(1, -2).join(""))).toBe(der);
  });

  test("gives every param its CGI name", () => {
    const { meta } = read({
      method: "POST",
      uri: "/a b",
      remoteHost: "client.example",
      serverPort: 443,
      isSsl: true,
      attributes: {
        context: "/c",
        servletPath: "/s",
        remoteUser: "J\xc3\xb6rg",
        authType: "Basic",
        queryString: "a=1",
        route: "node1",
        sslCert: "cert",
        sslCipher: "AES",
        sslSession: "00ff",
      },
      sslKeySize: 128,
      requestAttributes: [
        ["AJP_REMOTE_PORT", "53097"],
        ["AJP_LOCAL_ADDR", "10.3.2.1"],
        ["AJP_SSL_PROTOCOL", "TLSv1.3"],
        ["JK_LB_ACTIVATION", "ACT"],
      ],
    });
    expect(Object.fromEntries(meta.params)).toEqual({
      REQUEST_METHOD: "POST",
      REQUEST_URI: "/a b?a=1",
      QUERY_STRING: "a=1",
      SERVER_PROTOCOL: "HTTP/1.1",
      SERVER_NAME: "www.example.com",
      SERVER_PORT: "443",
      SERVER_ADDR: "10.3.2.1",
      REMOTE_ADDR: "10.0.0.7",
      REMOTE_PORT: "53097",
      REMOTE_HOST: "client.example",
      REMOTE_USER: "Jörg",
      AUTH_TYPE: "Basic",
      HTTPS: "on",
      REQUEST_SCHEME: "https",
      JVM_ROUTE: "node1",
      CONTEXT_PATH: "/c",
      SERVLET_PATH: "/s",
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "AES",
      SSL_CIPHER_USEKEYSIZE: "128",
      SSL_SESSION_ID: "00ff",
      SSL_CLIENT_CERT: "cert",
      JK_LB_ACTIVATION: "ACT",
    });
    expect(meta.params).toBe(meta.params);
  });

  test("gives no param for what was not sent, and never the secret", () => {
    const { params } = read({ remoteHost: null, serverName: null, protocol: null, secrets: ["hush"] }).meta;
    expect([...params.keys()]).toEqual([
      "REQUEST_METHOD",
      "REQUEST_URI",
      "QUERY_STRING",
      "SERVER_PORT",
      "REMOTE_ADDR",
      "REQUEST_SCHEME",
    ]);
  });

  test.each([["UTF-8", "J\xc3\xb6rg", "Jörg"], ["ISO-8859-1", "J\xf6rg", "J\xf6rg"]])(
    "reads the value of an attribute in %s; the last of a name counts",
    (_what, value, expected) => {
      const options = { allowsAttribute: () => true };
      const requestAttributes: Headers = [["displayName", "first"], ["displayName", value]];
      expect(read({ requestAttributes }, options).meta.params.get("displayName")).toBe(expected);
    },
  );
});
