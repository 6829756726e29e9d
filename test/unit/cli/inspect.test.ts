import { describe, expect, test } from "vitest";
import { inspect } from "../../../adapters/cli/inspect.ts";
import type { HandlerInfo } from "../../../src/mod.ts";

const SECRET = "kept-to-myself";
const HIDDEN = `(hidden, ${SECRET.length} characters)`;

interface Parts {
  url?: string;
  init?: RequestInit;
  params?: [string, string][];
  info?: Partial<HandlerInfo>;
}

function ask({ url = "http://localhost/", init = {}, params = [], info = {} }: Parts = {}): Promise<Response> {
  return Promise.resolve(inspect(new Request(url, init), {
    protocol: "fastcgi",
    role: "responder",
    data: undefined,
    remoteAddr: { transport: "tcp", hostname: "::1", port: 4321 },
    peerAddr: { transport: "unix", path: "/run/app.sock" },
    remoteUser: undefined,
    authType: undefined,
    ssl: undefined,
    params: new Map(params),
    completed: Promise.resolve(),
    ...info,
  }));
}

async function askJson(parts: Parts = {}) {
  const headers = new Headers(parts.init?.headers);
  headers.set("accept", "application/json");
  return await (await ask({ ...parts, init: { ...parts.init, headers } })).json();
}

async function askPage(parts: Parts = {}): Promise<string> {
  return await (await ask(parts)).text();
}

describe("what is shown", () => {
  test("is the whole request, as JSON for who prefers it", async () => {
    const body = new TextEncoder().encode("12345");
    const shown = await askJson({
      url: "http://example.com:8080/a%20b?c=%C3%A9",
      init: { method: "PATCH", body, headers: { "content-type": "text/x", "x-one": "1" } },
      params: [["REQUEST_URI", "/a%20b?c=%C3%A9"], ["REMOTE_USER", "zoë"]],
      info: {
        remoteUser: "zoë",
        authType: "Basic",
        ssl: { protocol: "TLSv1.3", cipher: "X", keySize: 256, sessionId: undefined, clientCert: "-----BEGIN" },
        role: "filter",
        data: { stream: new ReadableStream(), length: 7, lastModified: new Date(0) },
      },
    });
    expect(shown).toEqual({
      method: "PATCH",
      url: "http://example.com:8080/a%20b?c=%C3%A9",
      body: { bytes: 5 },
      headers: { "accept": "application/json", "content-type": "text/x", "x-one": "1" },
      info: {
        "protocol": "fastcgi",
        "role": "filter",
        "remoteAddr": "[::1]:4321",
        "peerAddr": "unix:/run/app.sock",
        "remoteUser": "zoë",
        "authType": "Basic",
        "ssl.protocol": "TLSv1.3",
        "ssl.cipher": "X",
        "ssl.keySize": "256",
        "ssl.clientCert": "-----BEGIN",
        "data.length": "7",
        "data.lastModified": "1970-01-01T00:00:00.000Z",
      },
      params: { REQUEST_URI: "/a%20b?c=%C3%A9", REMOTE_USER: "zoë" },
    });
  });

  test("is the same as a page", async () => {
    const page = await askPage({
      url: "http://example.com/page",
      init: { method: "POST", body: new Uint8Array(1), headers: { "x-one": "eins" } },
      params: [["SCRIPT_NAME", "/script"]],
      info: { remoteUser: "zoë" },
    });
    for (const text of ["POST http://example.com/page", "1 byte<", ">x-one<", ">eins<", ">SCRIPT_NAME<", ">zoë<"]) {
      expect(page).toContain(text);
    }
  });

  test("is sorted, and any name is an ordinary one", async () => {
    const page = await ask({
      init: { headers: { accept: "application/json" } },
      params: [["b", "2"], ["__proto__", "polluted"], ["a", "1"], ["constructor", "3"]],
    });
    const text = await page.text();
    expect(text).toContain('"__proto__": "polluted"');
    expect(Object.entries(JSON.parse(text).params)).toEqual([
      ["__proto__", "polluted"],
      ["a", "1"],
      ["b", "2"],
      ["constructor", "3"],
    ]);
  });

  test("says how far a body came that broke", async () => {
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (pulls++ === 0) controller.enqueue(new Uint8Array(1000));
        else controller.error(new Error("the <web> server went away"));
      },
    });
    const init = { method: "POST", body, duplex: "half" } as RequestInit;
    expect(await askPage({ init })).toContain("1000 bytes, then: the &lt;web&gt; server went away");
  });

  test("is escaped wherever it stands", async () => {
    const evil = `"'><script>alert(1)</script>&amp;`;
    const page = await askPage({
      url: `http://localhost/'"><script>?'"><script>`,
      init: { headers: { "x-evil": evil } },
      params: [[evil, evil]],
      info: { remoteUser: evil, authType: evil },
    });
    expect(page).not.toContain("<script");
    expect(page).not.toContain(`"'`);
    expect(page).toContain("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;");
  });
});

describe("the kind of answer", () => {
  test.each([
    ["", "text/html; charset=utf-8"],
    ["*/*", "text/html; charset=utf-8"],
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"],
    ["application/json", "application/json"],
    ["Application/JSON; Q=0.9, */*;q=0.1", "application/json"],
    ["text/html, application/json", "text/html; charset=utf-8"],
    ["text/html;q=0.5, application/json", "application/json"],
    ["application/json;q=0", "text/html; charset=utf-8"],
    ["application/json;q=x", "text/html; charset=utf-8"],
    ["application/jsonish", "text/html; charset=utf-8"],
  ])("for Accept %j is %s", async (accept, type) => {
    const response = await ask({ init: { headers: { accept } } });
    expect(response.headers.get("content-type")).toBe(type);
    await response.text();
  });

  test.each(["text/html", "application/json"])(
    "%s is kept by nobody, indexed by nobody and runs no script",
    async (accept) => {
      const { headers, status } = await ask({ init: { headers: { accept } } });
      expect(status).toBe(200);
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-robots-tag")).toBe("noindex");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("vary")).toBe("accept");
      expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'sha256-[^']+';/);
      expect(headers.get("content-security-policy")).not.toMatch(/script|unsafe/);
    },
  );

  test("has the style that the policy allows", async () => {
    const response = await ask();
    const style = /<style>([^]*?)<\/style>/.exec(await response.text())![1]!;
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style));
    const hash = btoa(String.fromCharCode(...new Uint8Array(digest)));
    expect(response.headers.get("content-security-policy")).toContain(`'sha256-${hash}'`);
  });
});

describe("what is hidden", () => {
  test.each(["pass", "PHPSESSID", "code", "jwt", "sig", "key"])("is %s in a query", async (name) => {
    const { headers } = await askJson({ init: { headers: { "x-link": `/?a=1&${name}=${SECRET}` } } });
    expect(headers).toMatchObject({ "x-link": `/?a=1&${name}=${HIDDEN}` });
  });

  test("is a value that is a credential, whatever its name", async () => {
    const { headers } = await askJson({ init: { headers: { "x-vault": `Bearer ${SECRET}` } } });
    expect(headers["x-vault"]).toMatch(/^\(hidden, \d+ characters\)$/);
  });

  test.each([
    "authorization",
    "Proxy-Authorization",
    "x-forwarded-authorization",
    "x-api-key",
    "x-apikey",
    "x-forwarded-access-token",
    "x-csrf-token",
    "x-client-secret",
    "x-password",
    "shib-session-id",
    "x-auth",
    "x-auth-key",
    "x-pass",
    "x-pwd",
    "x-jwt-assertion",
  ])("is the value of the header %s", async (name) => {
    const headers = { [name]: SECRET };
    expect((await askJson({ init: { headers } })).headers).toMatchObject({ [name.toLowerCase()]: HIDDEN });
    expect(await askPage({ init: { headers } })).not.toContain(SECRET);
  });

  test.each([
    "HTTP_AUTHORIZATION",
    "REDIRECT_HTTP_AUTHORIZATION",
    "HTTP_PROXY_AUTHORIZATION",
    "REMOTE_PASSWD",
    "AUTHENTICATE_PASSWORD",
    "PHP_AUTH_PW",
    "SSL_SESSION_ID",
    "Shib_Session_ID",
    "OIDC_access_token",
    "OIDC_id_token_payload",
    "MY_SECRET",
    "aws_secret_access_key",
    "DB_PASSPHRASE",
    "DB_PASS",
    "DB_PWD",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "ENCRYPTION_KEY",
    "MELLON_SESSION",
    "MELLON_SAML_RESPONSE",
    "TLS_PRIVATE_KEY",
  ])("is the value of the variable %s", async (name) => {
    const params: [string, string][] = [[name, SECRET]];
    expect((await askJson({ params })).params).toEqual({ [name]: HIDDEN });
    expect(await askPage({ params })).not.toContain(SECRET);
  });

  test.each([
    [
      "flavour=kept-to-myself; size=x;; empty=",
      `flavour=${HIDDEN}; size=(hidden, 1 character); empty=(hidden, 0 characters)`,
    ],
    ["kept-to-myself", HIDDEN],
    ["a=kept=inside; b", "a=(hidden, 11 characters); (hidden, 1 character)"],
  ])("are the values of the cookies %j", async (cookie, shown) => {
    const names = ["HTTP_COOKIE", "HTTP_COOKIE2", "REDIRECT_HTTP_COOKIE", "SET_COOKIE"];
    const { params, headers } = await askJson({
      init: { headers: { "x-cookie": cookie } },
      params: names.map((name) => [name, cookie]),
    });
    expect(headers["x-cookie"]).toBe(shown);
    expect(params).toEqual(Object.fromEntries(names.map((name) => [name, shown])));
  });

  test("is the session id of TLS, but not the client's certificate", async () => {
    const ssl = { protocol: "TLSv1.2", cipher: "X", keySize: 128, sessionId: SECRET, clientCert: "-----BEGIN C" };
    const { info } = await askJson({ info: { ssl } });
    expect(info).toMatchObject({ "ssl.sessionId": HIDDEN, "ssl.clientCert": "-----BEGIN C" });
    const { params } = await askJson({
      params: [["SSL_CLIENT_CERT", "-----BEGIN C"], ["SSL_SESSION_RESUMED", "Initial"]],
    });
    expect(params).toEqual({ SSL_CLIENT_CERT: "-----BEGIN C", SSL_SESSION_RESUMED: "Initial" });
  });

  test("is what a URL holds of secrets, wherever one stands", async () => {
    const query = `a=1&access_token=${SECRET}&%70assword=${SECRET};client-secret=${SECRET}&token=&b=%&%x=2#c`;
    const shown =
      `a=1&access_token=${HIDDEN}&%70assword=${HIDDEN};client-secret=${HIDDEN}&token=(hidden, 0 characters)&b=%&%x=2`;
    const { url, params, headers } = await askJson({
      url: `http://localhost/login?${query}`,
      init: { headers: { "x-referer": `https://user:${SECRET}@example.com/?${query}` } },
      params: [["QUERY_STRING", query], ["REQUEST_URI", `/login?${query}`]],
    });
    expect(url).toBe(`http://localhost/login?${shown}#c`);
    expect(params).toEqual({ QUERY_STRING: `${shown}#c`, REQUEST_URI: `/login?${shown}#c` });
    expect(headers["x-referer"]).toBe(`https://(hidden, 19 characters)@example.com/?${shown}#c`);
    expect(JSON.stringify([url, params, headers])).not.toContain(SECRET);
  });

  test("is found in little time in a long text", async () => {
    const start = performance.now();
    await askJson({ params: [["A", "a".repeat(250_000)], ["B", "://".repeat(80_000)], ["C", "a=".repeat(120_000)]] });
    expect(performance.now() - start).toBeLessThan(1000);
  });
});
