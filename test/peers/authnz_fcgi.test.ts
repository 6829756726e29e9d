// The Authorizer role behind a real Apache: mod_authnz_fcgi asks the program, in each of the phases that it knows.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { HandlerInfo, Server } from "../../src/mod.ts";
import { allow } from "../../src/mod.ts";
import { type Apache, startApache } from "../support/apache.ts";
import { describePeers } from "../support/describe_peers.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { adapter } from "../support/runtime.ts";

/** What the authorizer was asked since the test began. */
let asked: { method: string; path: string; body: unknown; info: HandlerInfo }[] = [];

/** Cookies, or passwords that Apache has taken out of the Authorization header. */
function authorize(request: Request, info: HandlerInfo): Response {
  const { pathname } = new URL(request.url);
  asked.push({ method: request.method, path: pathname, body: request.body, info });
  const password = info.params.get("REMOTE_PASSWD");
  switch (info.params.get("FCGI_APACHE_ROLE")) {
    case "AUTHORIZER":
      return pathname.includes("admin") && info.remoteUser !== "root"
        ? new Response("Not for you\n", { status: 403 })
        : allow({ ROLE: `role of ${info.remoteUser}` });
    case "AUTHENTICATOR":
      if (password !== undefined) {
        return password === "pässword" ? allow({ CHECKED: "yes" }) : new Response("Wrong\n", { status: 401 });
      }
      break;
    default:
      if (password !== undefined) {
        return password === "pässword" ? allow({ ROLE: "both" }) : new Response("Wrong\n", { status: 401 });
      }
  }
  if (pathname.endsWith("/throws")) throw new Error("no database");
  if (pathname.endsWith("/login")) return Response.redirect("http://login.example/", 302);
  if (request.headers.get("cookie") !== "ticket=17") {
    return new Response("<h1>Members only</h1>", {
      status: 403,
      headers: { "x-why": "no ticket", "variable-role": "x" },
    });
  }
  return allow({ USER: "zoë", role: "editor", NOTE: 'a: b; c="d"' });
}

describePeers("Apache, mod_authnz_fcgi", () => {
  let server: Server;
  let app: Server;
  let apache: Apache;
  const member = { headers: { cookie: "ticket=17" } };

  function basic(user: string, password: string): RequestInit {
    return { headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` } };
  }

  beforeAll(async () => {
    const { serveFastCgi } = await adapter();
    const logger = { error() {}, warn() {} };
    server = serveFastCgi({ port: 0, logger, authorize }, () => new Response("The wrong handler", { status: 500 }));
    app = serveFastCgi({ port: 0, logger }, async (request, info) =>
      Response.json({
        body: (await request.text()).length,
        role: info.role,
        user: info.remoteUser ?? "nobody",
        variables: ["ROLE", "USER", "NOTE", "CHECKED", "REMOTE_PASSWD"].map((name) => info.params.get(name) ?? null),
      }));
    const ports = [await server.ready, await app.ready].map((addr) => addr.transport === "tcp" ? addr.port : 0);
    apache = await startApache({
      modules: ["authnz_fcgi", "auth_basic", "authz_user"],
      config: ({ dir }) => {
        mkdirSync(join(dir, "files"), { mode: 0o755 });
        writeFileSync(join(dir, "files", "secret.html"), "<p>the secret</p>");
        return `
          AddType text/html .html
          AuthnzFcgiDefineProvider authn tickets fcgi://127.0.0.1:${ports[0]}/
          AuthnzFcgiDefineProvider authn passwords fcgi://127.0.0.1:${ports[0]}/
          AuthnzFcgiDefineProvider authz rights fcgi://127.0.0.1:${ports[0]}/
          AuthnzFcgiDefineProvider authnz all fcgi://127.0.0.1:${ports[0]}/
          <LocationMatch "^/(app|files)/">
            AuthType None
            AuthnzFcgiCheckAuthnProvider tickets Authoritative On UserExpr "%{reqenv:USER}"
            Require valid-user
            Header always set X-Role "%{ROLE}e"
          </LocationMatch>
          <Location "/passwords/">
            AuthType Basic
            AuthName "test"
            AuthBasicProvider passwords
            Require rights
          </Location>
          <Location "/all/">
            AuthType Basic
            AuthName "test"
            AuthBasicProvider all
            Require all
          </Location>
          ProxyPass "/app/" "fcgi://127.0.0.1:${ports[1]}/app/"
          ProxyPass "/passwords/" "fcgi://127.0.0.1:${ports[1]}/passwords/"
          ProxyPass "/all/" "fcgi://127.0.0.1:${ports[1]}/all/"
          <Directory "${dir}/files">
            AllowOverride None
          </Directory>`;
      },
    });
  });

  beforeEach(() => {
    asked = [];
  });

  afterAll(async () => {
    await apache?.stop();
    await Promise.all([server?.shutdown(), app?.shutdown()]);
  });

  test("lets a request in, and what comes later sees its variables", async () => {
    const response = await fetch(`${apache.url}/app/x?y`, member);
    expect(response.status).toBe(200);
    expect(response.headers.get("x-role")).toBe("editor");
    expect([...response.headers.keys()].filter((name) => name.startsWith("variable-"))).toEqual([]);
    expect(await response.json()).toEqual({
      body: 0,
      role: "responder",
      user: "zoë",
      variables: ["editor", "zoë", 'a: b; c="d"', null, null],
    });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ method: "GET", path: "/app/x", body: null, info: { role: "authorizer" } });
    expect(asked[0]!.info.params.get("FCGI_APACHE_ROLE")).toBe("AUTHENTICATOR");
  });

  test("lets a file be served as it is", async () => {
    const response = await fetch(`${apache.url}/files/secret.html`, member);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/html"]);
    expect(response.headers.get("content-length")).toBe("17");
    expect(await response.text()).toBe("<p>the secret</p>");
  });

  test("refuses with a status, a header and a page of its own", async () => {
    for (const path of ["/app/x", "/files/secret.html", "/files/none"]) {
      const response = await fetch(`${apache.url}${path}`);
      expect([response.status, response.headers.get("x-why")]).toEqual([403, "no ticket"]);
      expect(response.headers.get("variable-role")).toBe(null);
      expect(await response.text()).toBe("<h1>Members only</h1>");
    }
  });

  test("refuses with a redirect", async () => {
    const response = await fetch(`${apache.url}/app/login`, { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([302, "http://login.example/"]);
  });

  test("lets nobody in where it throws", async () => {
    const response = await fetch(`${apache.url}/app/throws`, member);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("role");
  });

  test("does not see the body, which reaches the application whole", async () => {
    const response = await fetch(`${apache.url}/app/upload`, { ...member, method: "POST", body: "x".repeat(300_000) });
    expect(await response.json()).toMatchObject({ body: 300_000, user: "zoë" });
    expect(asked[0]).toMatchObject({ method: "POST", body: null });
    expect(asked[0]!.info.params.has("CONTENT_LENGTH")).toBe(false);
  });

  test("checks passwords, then rights", async () => {
    const response = await fetch(`${apache.url}/passwords/x`, basic("zoë", "pässword"));
    expect(await response.json()).toMatchObject({ user: "zoë", variables: ["role of zoë", null, null, "yes", null] });
    expect(asked.map(({ info }) => info.params.get("FCGI_APACHE_ROLE"))).toEqual(["AUTHENTICATOR", "AUTHORIZER"]);
    expect((await fetch(`${apache.url}/passwords/x`)).status).toBe(401);
    expect((await fetch(`${apache.url}/passwords/x`, basic("zoë", "guess"))).status).toBe(401);
    // Apache asks for another password where one is known that does not do.
    expect((await fetch(`${apache.url}/passwords/admin`, basic("zoë", "pässword"))).status).toBe(401);
    expect((await fetch(`${apache.url}/passwords/admin`, basic("root", "pässword"))).status).toBe(200);
  });

  test("does both at once", async () => {
    const response = await fetch(`${apache.url}/all/x`, basic("ann", "pässword"));
    expect(await response.json()).toMatchObject({ user: "ann", variables: ["both", null, null, null, null] });
    expect(asked).toHaveLength(1);
    expect((await fetch(`${apache.url}/all/x`, basic("ann", "guess"))).status).toBe(401);
  });

  test("answers 200 at once", async () => {
    const responses = await Promise.all(
      Array.from({ length: 200 }, (_, n) => fetch(`${apache.url}/app/${n}`, n % 2 ? member : {})),
    );
    const expected = Array.from({ length: 200 }, (_, n) => n % 2 ? 200 : 403);
    expect(responses.map(({ status }) => status)).toEqual(expected);
    await Promise.all(responses.map((response) => response.arrayBuffer()));
  });

  test("lets in and refuses with the configuration of the documentation", async () => {
    const { serveFastCgi } = await adapter();
    const both = serveFastCgi(
      { port: 0, logger: { error() {}, warn() {} }, authorize },
      (_, info) => new Response(`Hello ${info.remoteUser}, ${info.params.get("ROLE")}\n`),
    );
    const addr = await both.ready;
    const second = await startApache({
      modules: ["authnz_fcgi", "authz_user"],
      config: () =>
        replaceAll(configurationUnder("Authorizer", "fastcgi.md"), {
          "127.0.0.1:9000": `127.0.0.1:${addr.transport === "tcp" ? addr.port : 0}`,
        }),
    });
    try {
      const response = await fetch(`${second.url}/members/x`, member);
      expect([response.status, response.headers.get("x-role")]).toEqual([200, "editor"]);
      expect(await response.text()).toBe("Hello zoë, editor\n");
      const refused = await fetch(`${second.url}/members/x`);
      expect([refused.status, await refused.text()]).toEqual([403, "<h1>Members only</h1>"]);
      expect(await (await fetch(`${second.url}/x`)).text()).toBe("Hello undefined, undefined\n");
    } finally {
      await second.stop();
      await both.shutdown();
    }
  });

  test("lets nobody in while the program does not know the role", async () => {
    const { serveFastCgi } = await adapter();
    const other = serveFastCgi({ port: 0, logger: { error() {}, warn() {} } }, () => new Response("let in"));
    const addr = await other.ready;
    const second = await startApache({
      modules: ["authnz_fcgi", "authz_user"],
      config: () => `
        AuthnzFcgiDefineProvider authn tickets fcgi://127.0.0.1:${addr.transport === "tcp" ? addr.port : 0}/
        <Location "/">
          AuthType None
          AuthnzFcgiCheckAuthnProvider tickets DefaultUser anybody
          Require valid-user
        </Location>`,
    });
    try {
      expect((await fetch(`${second.url}/httpd.conf`)).status).toBe(403);
    } finally {
      await second.stop();
      await other.shutdown();
    }
  });
});
