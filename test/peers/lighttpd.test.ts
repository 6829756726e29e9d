// The same Hono app behind a real lighttpd, in each of the runtimes.
import { writeFileSync } from "node:fs";
import type { Addr } from "../../src/mod.ts";
import { htpasswd } from "../support/apache.ts";
import { describeLighttpd } from "../support/describe_peers.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { startLighttpd } from "../support/lighttpd.ts";
import { PASSWORD, testPeer, USER } from "../support/peer_suite.ts";
import type { WebServer } from "../support/web_server.ts";

function startDocumented(heading: string, addr: Addr, changes: Record<string, string> = {}): Promise<WebServer> {
  if (addr.transport !== "tcp") throw new TypeError("Expected a port");
  return startLighttpd(({ port, dir }) => {
    writeFileSync(`${dir}/htpasswd`, htpasswd(USER, PASSWORD));
    return replaceAll(configurationUnder(heading), {
      ...changes,
      "server.port = 80": `server.port = ${port}`,
      "/var/www/html": dir,
      "/etc/lighttpd/htpasswd": `${dir}/htpasswd`,
      [heading === "lighttpd, SCGI" ? "4000" : "9000"]: String(addr.port),
    });
  });
}

describeLighttpd(
  "lighttpd, mod_fastcgi",
  () =>
    testPeer({ protocol: "fastcgi", authType: "Basic", start: (addr) => startDocumented("lighttpd, FastCGI", addr) }),
);

describeLighttpd(
  "lighttpd, mod_scgi",
  () => testPeer({ protocol: "scgi", authType: "Basic", start: (addr) => startDocumented("lighttpd, SCGI", addr) }),
);
