// What each web server sends for a request, as its own defaults have it, and the Request that must come of it.
import { describe, expect, test } from "vitest";
import type { HandlerInfo } from "../../src/types.ts";
import type { Variables } from "../support/fastcgi_client.ts";
import { fixture } from "../support/fastcgi_server.ts";

const { open } = fixture();

interface Case {
  variables: Variables;
  body?: string;
  method: string;
  url: string;
  headers: Record<string, string>;
  info?: Partial<HandlerInfo>;
  params?: Record<string, string>;
}

const APACHE: Variables = {
  HTTP_HOST: "www.example.com:8080",
  HTTP_USER_AGENT: "curl/8.5.0",
  HTTP_ACCEPT: "*/*",
  PATH: "/usr/local/bin:/usr/bin:/bin",
  SERVER_SIGNATURE: "",
  SERVER_SOFTWARE: "Apache/2.4.62 (Debian)",
  SERVER_NAME: "www.example.com",
  SERVER_ADDR: "192.0.2.1",
  SERVER_PORT: "8080",
  REMOTE_ADDR: "203.0.113.9",
  DOCUMENT_ROOT: "/var/www/html",
  REQUEST_SCHEME: "http",
  CONTEXT_PREFIX: "",
  CONTEXT_DOCUMENT_ROOT: "/var/www/html",
  SERVER_ADMIN: "webmaster@localhost",
  REMOTE_PORT: "50312",
  GATEWAY_INTERFACE: "CGI/1.1",
  SERVER_PROTOCOL: "HTTP/1.1",
  FCGI_ROLE: "RESPONDER",
};

const NGINX: Variables = {
  QUERY_STRING: "",
  REQUEST_METHOD: "GET",
  CONTENT_TYPE: "",
  CONTENT_LENGTH: "",
  SCRIPT_NAME: "/",
  REQUEST_URI: "/",
  DOCUMENT_URI: "/",
  DOCUMENT_ROOT: "/usr/share/nginx/html",
  SERVER_PROTOCOL: "HTTP/2.0",
  REQUEST_SCHEME: "https",
  HTTPS: "on",
  GATEWAY_INTERFACE: "CGI/1.1",
  SERVER_SOFTWARE: "nginx/1.29.6",
  REMOTE_ADDR: "2001:db8::9",
  REMOTE_PORT: "50312",
  SERVER_ADDR: "2001:db8::1",
  SERVER_PORT: "443",
  SERVER_NAME: "_",
  REDIRECT_STATUS: "200",
  HTTP_HOST: "www.example.com",
  HTTP_USER_AGENT: "curl/8.5.0",
};

const LIGHTTPD: Variables = {
  CONTENT_LENGTH: "0",
  QUERY_STRING: "",
  REQUEST_URI: "/",
  SCRIPT_NAME: "/",
  SCRIPT_FILENAME: "/var/www/",
  DOCUMENT_ROOT: "/var/www",
  REQUEST_METHOD: "GET",
  SERVER_PROTOCOL: "HTTP/1.1",
  SERVER_SOFTWARE: "lighttpd/1.4.79",
  GATEWAY_INTERFACE: "CGI/1.1",
  REQUEST_SCHEME: "http",
  SERVER_PORT: "80",
  SERVER_ADDR: "192.0.2.1",
  SERVER_NAME: "www.example.com",
  REMOTE_ADDR: "203.0.113.9",
  REMOTE_PORT: "50312",
  REDIRECT_STATUS: "200",
  HTTP_HOST: "www.example.com",
};

const HAPROXY: Variables = {
  GATEWAY_INTERFACE: "CGI/1.1",
  SERVER_SOFTWARE: "HAProxy 3.4",
  SERVER_PROTOCOL: "HTTP/1.1",
  SERVER_NAME: "www.example.com:8080",
  SERVER_PORT: "8080",
  REMOTE_ADDR: "203.0.113.9",
  REMOTE_PORT: "50312",
  REQUEST_METHOD: "GET",
  REQUEST_URI: "/",
  DOCUMENT_ROOT: "/var/www/html",
  SCRIPT_NAME: "/index.php",
  SCRIPT_FILENAME: "/var/www/html/index.php",
  CONTENT_LENGTH: "0",
  HTTP_HOST: "www.example.com:8080",
};

const CADDY: Variables = {
  AUTH_TYPE: "",
  CONTENT_LENGTH: "0",
  CONTENT_TYPE: "",
  GATEWAY_INTERFACE: "CGI/1.1",
  PATH_INFO: "/",
  QUERY_STRING: "",
  REMOTE_ADDR: "203.0.113.9",
  REMOTE_HOST: "203.0.113.9",
  REMOTE_PORT: "50312",
  REMOTE_IDENT: "",
  REMOTE_USER: "",
  REQUEST_METHOD: "GET",
  REQUEST_SCHEME: "http",
  SERVER_NAME: "www.example.com",
  SERVER_PROTOCOL: "HTTP/1.1",
  SERVER_SOFTWARE: "Caddy/v2.11",
  SERVER_PORT: "80",
  DOCUMENT_ROOT: "/srv",
  DOCUMENT_URI: "",
  HTTP_HOST: "www.example.com",
  REQUEST_URI: "/",
  SCRIPT_FILENAME: "/srv",
  SCRIPT_NAME: "",
};

const HOST = { host: "www.example.com" };
const CURL = { "user-agent": "curl/8.5.0" };
const ON_8080 = { ...CURL, accept: "*/*", host: "www.example.com:8080" };

const CASES: Record<string, Case> = {
  "Apache, ProxyPass, an escaped path": {
    variables: {
      ...APACHE,
      REQUEST_METHOD: "GET",
      QUERY_STRING: "q=%C3%A9&x=a+b",
      REQUEST_URI: "/app/a%20b/%2Fc;v=1?q=%C3%A9&x=a+b",
      SCRIPT_NAME: "/app/a b//c;v=1",
      SCRIPT_FILENAME: "proxy:fcgi://127.0.0.1:9000/app/a b//c;v=1",
    },
    method: "GET",
    url: "http://www.example.com:8080/app/a%20b/%2Fc;v=1?q=%C3%A9&x=a+b",
    headers: ON_8080,
    info: { remoteAddr: { transport: "tcp", hostname: "203.0.113.9", port: 50312 }, ssl: undefined },
    params: { SCRIPT_FILENAME: "/app/a b//c;v=1" },
  },
  "Apache, a balancer and a rewritten URL, with Authorization": {
    variables: {
      ...APACHE,
      REQUEST_METHOD: "GET",
      QUERY_STRING: "x=1",
      REQUEST_URI: "/pretty/1",
      SCRIPT_NAME: "/app",
      SCRIPT_FILENAME: "proxy:balancer://pool/app?x=1",
      HTTP_AUTHORIZATION: "Bearer token",
      REDIRECT_STATUS: "200",
      REDIRECT_URL: "/pretty/1",
      REDIRECT_HTTP_AUTHORIZATION: "Bearer other",
    },
    method: "GET",
    url: "http://www.example.com:8080/pretty/1",
    headers: { ...ON_8080, authorization: "Bearer token" },
    params: { SCRIPT_FILENAME: "/app", REDIRECT_URL: "/pretty/1", REDIRECT_HTTP_AUTHORIZATION: "Bearer other" },
  },
  "Apache, ProxyPass, a chunked body": {
    variables: {
      ...APACHE,
      REQUEST_METHOD: "POST",
      QUERY_STRING: "",
      CONTENT_TYPE: "application/json",
      HTTP_TRANSFER_ENCODING: "chunked",
      REQUEST_URI: "/app/in",
      SCRIPT_NAME: "/app/in",
      CONTENT_LENGTH: "",
    },
    body: '{"a":1}',
    method: "POST",
    url: "http://www.example.com:8080/app/in",
    headers: { ...ON_8080, "content-type": "application/json" },
  },
  "Apache, ProxyPass, an absolute request line": {
    variables: {
      ...APACHE,
      REQUEST_METHOD: "GET",
      QUERY_STRING: "x",
      REQUEST_URI: "http://other.example/app/a?x",
      SCRIPT_NAME: "/app/a",
    },
    method: "GET",
    // The authority of the request line must not overrule what the web server took for the Host.
    url: "http://www.example.com:8080/app/a?x",
    headers: ON_8080,
  },
  "Apache, SetHandler, with TLS, a user and a path info": {
    variables: {
      ...APACHE,
      HTTPS: "on",
      SSL_TLS_SNI: "www.example.com",
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "TLS_AES_256_GCM_SHA384",
      SSL_CIPHER_USEKEYSIZE: "256",
      SSL_CLIENT_VERIFY: "NONE",
      REDIRECT_STATUS: "200",
      REQUEST_SCHEME: "https",
      SERVER_PORT: "443",
      HTTP_HOST: "www.example.com",
      AUTH_TYPE: "Basic",
      REMOTE_USER: "ann",
      REQUEST_METHOD: "GET",
      QUERY_STRING: "",
      REQUEST_URI: "/index.php/user/j%C3%B6rg",
      SCRIPT_NAME: "/index.php",
      PATH_INFO: "/user/j\xc3\xb6rg",
      PATH_TRANSLATED: "/var/www/html/user/j\xc3\xb6rg",
      SCRIPT_FILENAME: "/var/www/html/index.php",
    },
    method: "GET",
    url: "https://www.example.com/index.php/user/j%C3%B6rg",
    headers: { ...ON_8080, host: "www.example.com" },
    info: {
      remoteUser: "ann",
      authType: "Basic",
      ssl: {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        keySize: 256,
        sessionId: undefined,
        clientCert: undefined,
      },
    },
  },
  "nginx, a bodiless GET with its empty variables and a Proxy header": {
    variables: {
      ...NGINX,
      REQUEST_URI: "//evil.example/%2e%2e/x?",
      SCRIPT_NAME: "/evil.example/x",
      HTTP_PROXY: "http://evil",
    },
    method: "GET",
    url: "https://www.example.com//x?",
    headers: { ...HOST, ...CURL },
    info: {
      remoteAddr: { transport: "tcp", hostname: "2001:db8::9", port: 50312 },
      remoteUser: undefined,
      ssl: { protocol: undefined, cipher: undefined, keySize: undefined, sessionId: undefined, clientCert: undefined },
    },
  },
  "nginx, a POST with both forms of the content headers": {
    variables: {
      ...NGINX,
      REQUEST_METHOD: "POST",
      CONTENT_TYPE: "text/plain",
      CONTENT_LENGTH: "4",
      HTTP_CONTENT_TYPE: "text/plain",
      HTTP_CONTENT_LENGTH: "4",
      HTTP_X_FORWARDED_FOR: "198.51.100.1, 198.51.100.2",
    },
    body: "body",
    method: "POST",
    url: "https://www.example.com/",
    headers: {
      ...HOST,
      ...CURL,
      "content-type": "text/plain",
      "content-length": "4",
      "x-forwarded-for": "198.51.100.1, 198.51.100.2",
    },
  },
  "nginx, an unbuffered chunked POST": {
    variables: { ...NGINX, REQUEST_METHOD: "POST", HTTP_TRANSFER_ENCODING: "chunked" },
    body: "of unknown length",
    method: "POST",
    url: "https://www.example.com/",
    headers: { ...HOST, ...CURL },
  },
  "lighttpd, without fix-root-scriptname": {
    variables: { ...LIGHTTPD, REQUEST_URI: "/a/b%3Fc?d=e", SCRIPT_NAME: "/a/b?c", QUERY_STRING: "d=e" },
    method: "GET",
    url: "http://www.example.com/a/b%3Fc?d=e",
    headers: { ...HOST, "content-length": "0" },
  },
  "lighttpd, with a path info": {
    variables: {
      ...LIGHTTPD,
      REQUEST_URI: "/app/x",
      SCRIPT_NAME: "/app",
      PATH_INFO: "/x",
      PATH_TRANSLATED: "/var/www/x",
    },
    method: "GET",
    url: "http://www.example.com/app/x",
    headers: { ...HOST, "content-length": "0" },
  },
  "HAProxy, which names an index": {
    variables: HAPROXY,
    method: "GET",
    url: "http://www.example.com:8080/",
    headers: { host: "www.example.com:8080", "content-length": "0" },
  },
  "HAProxy, without a Host": {
    variables: { ...HAPROXY, HTTP_HOST: "", REQUEST_URI: "/x?y", QUERY_STRING: "y" },
    method: "GET",
    url: "http://www.example.com:8080/x?y",
    headers: { "content-length": "0" },
  },
  "Caddy, without split": {
    variables: { ...CADDY, PATH_INFO: "/a b", REQUEST_URI: "/a%20b?x", QUERY_STRING: "x" },
    method: "GET",
    url: "http://www.example.com/a%20b?x",
    headers: { ...HOST, "content-length": "0" },
    info: { remoteUser: undefined, authType: undefined },
  },
  "Caddy, a DELETE, which it gives a type": {
    variables: {
      ...CADDY,
      REQUEST_METHOD: "DELETE",
      CONTENT_TYPE: "application/x-www-form-urlencoded",
      HTTP_CONTENT_LENGTH: "0",
      HTTPS: "on",
      REQUEST_SCHEME: "https",
      SERVER_PORT: "443",
      SSL_PROTOCOL: "TLSv1.3",
      SSL_CIPHER: "TLS_AES_128_GCM_SHA256",
      SERVER_PROTOCOL: "HTTP/3.0",
    },
    method: "DELETE",
    url: "https://www.example.com/",
    headers: { ...HOST, "content-length": "0", "content-type": "application/x-www-form-urlencoded" },
    info: {
      ssl: {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        keySize: undefined,
        sessionId: undefined,
        clientCert: undefined,
      },
    },
  },
  "IIS, whose HTTPS is off": {
    variables: {
      REQUEST_METHOD: "GET",
      HTTPS: "off",
      SERVER_PORT_SECURE: "0",
      SERVER_NAME: "www.example.com",
      SERVER_PORT: "80",
      REQUEST_URI: "/x",
      SCRIPT_NAME: "/x",
      PATH_INFO: "/x",
    },
    method: "GET",
    url: "http://www.example.com/x",
    headers: {},
  },
  "no REQUEST_URI: the decoded path is escaped again": {
    variables: {
      REQUEST_METHOD: "GET",
      SERVER_NAME: "2001:db8::1",
      SERVER_PORT: "8080",
      SCRIPT_NAME: "/app",
      PATH_INFO: "/100%/a?b#c/\xc3\xa9;d",
      QUERY_STRING: "x=1",
    },
    method: "GET",
    url: "http://[2001:db8::1]:8080/app/100%25/a%3Fb%23c/%C3%A9;d?x=1",
    headers: {},
  },
};

describe("variables", () => {
  test.each(Object.entries(CASES))("%s", async (_, expected) => {
    let request: Request | undefined;
    let info: HandlerInfo | undefined;
    const client = await open(async (it, about) => {
      request = it;
      info = about;
      return new Response(it.body === null ? "no body" : await it.text());
    });
    client.begin(1).params(1, expected.variables).stdin(1, expected.body ?? "").stdinEnd(1);
    const response = await client.response(1);
    expect(response.status).toBe(200);
    expect(request!.method).toBe(expected.method);
    expect(request!.url).toBe(expected.url);
    expect(Object.fromEntries(request!.headers)).toEqual(expected.headers);
    expect(response.text).toBe(expected.body ?? "no body");
    for (const [name, value] of Object.entries(expected.info ?? {})) {
      expect(info![name as keyof HandlerInfo], name).toEqual(value);
    }
    if (expected.params) expect(Object.fromEntries(info!.params)).toMatchObject(expected.params);
    // Whatever has no place in a Request can still be had.
    const { HTTP_PROXY: _dropped, ...rest } = expected.variables;
    for (const name of Object.keys(rest)) expect(info!.params.has(name), name).toBe(true);
    expect(info!.params.has("HTTP_PROXY")).toBe(false);
  });
});
