// The same Hono app behind a real Apache httpd over SCGI, in each of the runtimes.
import { expect, test } from "vitest";
import type { Addr } from "../../src/mod.ts";
import { startApache } from "../support/apache.ts";
import { describePeers } from "../support/describe_peers.ts";
import { PASSWORD, type PeerShape, testPeer, USER } from "../support/peer_suite.ts";
import { adapter } from "../support/runtime.ts";
import { pattern, sha } from "../support/sockets.ts";
import type { WebServer } from "../support/web_server.ts";

async function startScgi(addr: Addr, parameters = ""): Promise<WebServer> {
  const target = addr.transport === "unix" ? `unix:${addr.path}|scgi://localhost/` : `scgi://127.0.0.1:${addr.port}/`;
  const apache = await startApache({
    modules: ["proxy_scgi"],
    auth: { [USER]: PASSWORD },
    config: ({ htpasswd }) => `
      LimitRequestFieldSize 65000
      AllowEncodedSlashes NoDecode
      KeepAliveTimeout 1
      <Location "/members/">
        AuthType Basic
        AuthName "members"
        AuthUserFile "${htpasswd}"
        Require valid-user
      </Location>
      ProxyPass "/" "${target}" ${parameters}`,
  });
  return { ...apache, log: () => "" };
}

const COMMON = {
  protocol: "scgi",
  authType: "Basic",
  streamsUploads: true,
  // A request needs a CONTENT_LENGTH, and mod_proxy_scgi does not collect a body to find it.
  refusesChunkedUpload: 411,
  dropsLength: true,
  start: (addr: Addr) => startScgi(addr),
} satisfies PeerShape;

const SHAPES: (PeerShape & { name: string })[] = [
  { ...COMMON, name: "mod_proxy_scgi" },
  {
    ...COMMON,
    name: "mod_proxy_scgi, unix socket",
    unix: true,
    // There is no reset on a unix socket, and mod_proxy_scgi does not look at the length.
    hidesBreaks: true,
  },
];

for (const shape of SHAPES) {
  describePeers(`Apache, ${shape.name}`, () => {
    testPeer(shape);
  });
}

describePeers("Apache, mod_proxy_scgi, a response with status 200 and a Location", () => {
  test("is asked for again and again, as the documentation warns; with another status it is not", async () => {
    const { serveScgi } = await adapter();
    const asked: string[] = [];
    const server = serveScgi({ port: 0 }, (request) => {
      const { pathname } = new URL(request.url);
      asked.push(pathname);
      return new Response("here", { status: pathname === "/ok" ? 200 : 201, headers: { location: "/there" } });
    });
    const apache = await startScgi(await server.ready);
    try {
      expect((await fetch(`${apache.url}/ok`)).status).toBe(500);
      // REQUEST_URI stays what the browser asked for.
      expect(asked.length).toBeGreaterThan(5);
      expect(new Set(asked)).toEqual(new Set(["/ok"]));
      const created = await fetch(`${apache.url}/created`);
      expect([created.status, created.headers.get("location"), await created.text()]).toEqual([201, "/there", "here"]);
    } finally {
      await apache.stop();
      await server.shutdown();
    }
  });
});

describePeers("Apache, one port for all", () => {
  test("reaches the handler by each protocol, and is told what it is by HTTP", async () => {
    const { serve } = await adapter();
    const server = serve({ port: 0, secret: "s3cret", logger: { error() {}, warn() {} } }, async (request, info) => {
      const body = new Uint8Array(await request.arrayBuffer());
      return Response.json({ protocol: info.protocol, path: new URL(request.url).pathname, sha256: sha(body) });
    });
    const addr = await server.ready;
    const port = addr.transport === "tcp" ? addr.port : 0;
    const apache = await startApache({
      modules: ["proxy_scgi"],
      config: () => `
        ProxyPass "/ajp" "ajp://127.0.0.1:${port}/ajp" secret=s3cret
        ProxyPass "/fastcgi" "fcgi://127.0.0.1:${port}/fastcgi" enablereuse=on
        ProxyPass "/scgi" "scgi://127.0.0.1:${port}/scgi"
        ProxyPass "/http" "http://127.0.0.1:${port}/http"`,
    });
    try {
      const body = pattern(1_000_000) as Uint8Array<ArrayBuffer>;
      const ask = async (protocol: string) => await fetch(`${apache.url}/${protocol}`, { method: "POST", body });
      for (let round = 0; round < 5; round++) {
        for (const protocol of ["ajp", "fastcgi", "scgi"]) {
          expect(await (await ask(protocol)).json()).toEqual({ protocol, path: `/${protocol}`, sha256: sha(body) });
        }
      }
      const mistaken = await fetch(`${apache.url}/http`);
      expect(mistaken.status).toBe(400);
      expect(await mistaken.text()).toContain("This port does not speak HTTP");
    } finally {
      await apache.stop();
      await server.shutdown();
    }
  });
});
