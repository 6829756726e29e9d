// The same Hono app behind a real nginx, over FastCGI and over SCGI, in each of the runtimes.
import { writeFileSync } from "node:fs";
import type { Addr } from "../../src/mod.ts";
import { htpasswd } from "../support/apache.ts";
import { describeNginx } from "../support/describe_peers.ts";
import { addressOf, configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { startNginx } from "../support/nginx.ts";
import { PASSWORD, type PeerShape, testPeer, USER } from "../support/peer_suite.ts";
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

for (const { name, ...shape } of SHAPES) describeNginx(`nginx, ${name}`, () => testPeer(shape));
