// The same Hono app behind a real nginx, over FastCGI and over SCGI, in each of the runtimes.
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Addr } from "../../src/mod.ts";
import { htpasswd } from "../support/apache.ts";
import { describeNginx } from "../support/describe_peers.ts";
import { addressOf, configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { startNginx } from "../support/nginx.ts";
import { PASSWORD, type PeerSetup, type PeerShape, testPeer, USER } from "../support/peer_suite.ts";
import { until } from "../support/until.ts";
import type { WebServer } from "../support/web_server.ts";

/** Runs a configuration of the documentation, with `changes` to it. */
function startDocumented(heading: string, addr: Addr, changes: Record<string, string> = {}): Promise<WebServer> {
  return startNginx(({ port, dir }) => {
    writeFileSync(`${dir}/htpasswd`, htpasswd(USER, PASSWORD));
    return replaceAll(configurationUnder(heading), {
      ...changes,
      "listen 80;": `listen 127.0.0.1:${port};`,
      "/etc/nginx/htpasswd": `${dir}/htpasswd`,
      [heading === "nginx, SCGI" ? "127.0.0.1:4000" : "127.0.0.1:9000"]: addressOf(addr),
    });
  });
}

const SHAPES: (PeerShape & { name: string })[] = [
  {
    name: "fastcgi_pass, connections kept",
    protocol: "fastcgi",
    gatedPath: "/gated?buffering=no",
    reusesConnections: true,
    authType: "Basic",
    start: (addr) => startDocumented("nginx, FastCGI", addr),
  },
  {
    name: "fastcgi_pass, a connection for each request",
    protocol: "fastcgi",
    gatedPath: "/gated?buffering=no",
    authType: "Basic",
    start: (addr) => startDocumented("nginx, FastCGI", addr, { "fastcgi_keep_conn on;": "", "keepalive 16;": "" }),
  },
  {
    name: "fastcgi_pass, nothing buffered",
    protocol: "fastcgi",
    reusesConnections: true,
    streamsUploads: true,
    authType: "Basic",
    start: (addr) =>
      startDocumented("nginx, FastCGI", addr, {
        "fastcgi_keep_conn on;": "fastcgi_keep_conn on; fastcgi_buffering off; fastcgi_request_buffering off;",
      }),
  },
  {
    name: "fastcgi_pass, unix socket",
    protocol: "fastcgi",
    unix: true,
    gatedPath: "/gated?buffering=no",
    reusesConnections: true,
    authType: "Basic",
    start: (addr) => startDocumented("nginx, FastCGI", addr),
  },
  {
    name: "scgi_pass",
    protocol: "scgi",
    gatedPath: "/gated?buffering=no",
    authType: "Basic",
    start: (addr) => startDocumented("nginx, SCGI", addr),
  },
  {
    // Not with scgi_request_buffering off, with which nginx says a wrong length up to version 1.29.5.
    name: "scgi_pass, responses not buffered",
    protocol: "scgi",
    authType: "Basic",
    start: (addr) =>
      startDocumented("nginx, SCGI", addr, { "scgi_buffer_size 16k;": "scgi_buffer_size 16k; scgi_buffering off;" }),
  },
  {
    name: "scgi_pass, unix socket",
    protocol: "scgi",
    unix: true,
    gatedPath: "/gated?buffering=no",
    authType: "Basic",
    hidesBreaks: true,
    start: (addr) => startDocumented("nginx, SCGI", addr),
  },
];

for (const { name, ...shape } of SHAPES) {
  describeNginx(`nginx, ${name}`, () => testPeer(shape, shape.protocol === "fastcgi" ? testLimits : undefined));
}

/** What nginx says of heads that are too large, and when the application gets to say it. */
function testLimits(setup: PeerSetup): void {
  test("refuses a request header beyond its buffers with 400", async () => {
    const response = await fetch(`${setup.web.url}/json`, { headers: { cookie: "x".repeat(9000) } });
    expect(response.status).toBe(400);
    await response.text();
  });

  test("passes on that the application refuses large headers with 431", async () => {
    const headers = Object.fromEntries(["x-a", "x-b", "x-c"].map((name) => [name, "x".repeat(7000)]));
    const response = await fetch(`${setup.web.url}/json`, { headers });
    expect(response.status).toBe(431);
    await response.text();
  });

  test("answers 502 for a response whose head is larger than fastcgi_buffer_size", async () => {
    const response = await fetch(`${setup.web.url}/large-head?bytes=17000`);
    expect(response.status).toBe(502);
    await response.text();
    await until(() => setup.web.log().includes("upstream sent too big header"));
    expect((await fetch(`${setup.web.url}/large-head?bytes=15000`)).headers.get("x-large")).toHaveLength(15_000);
  });

  test("writes the handler's uncaught error into its log, and not into the response", async () => {
    const response = await fetch(`${setup.web.url}/uncaught`);
    expect([response.status, await response.text()]).toEqual([500, "500 Internal Server Error\n"]);
    await until(() => setup.web.log().includes("The database is on fire"));
  });
}
