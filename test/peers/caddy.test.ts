// The same Hono app behind a real Caddy, in each of the runtimes.
import type { Addr } from "../../src/mod.ts";
import { caddyHash, startCaddy } from "../support/caddy.ts";
import { describeCaddy } from "../support/describe_peers.ts";
import { addressOf, configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { PASSWORD, testPeer, USER } from "../support/peer_suite.ts";
import type { WebServer } from "../support/web_server.ts";

const HASH = "$2a$14$6nLZr5yTCvJkxmtP3Uc9nO0BeNRTFoqXcvNTQpVtp6lWpXVzdUjYe";

function startDocumented(addr: Addr): Promise<WebServer> {
  return startCaddy(({ port }) =>
    replaceAll(configurationUnder("Caddy, FastCGI"), {
      ":80 {": `:${port} {`,
      [`ada ${HASH}`]: `${USER} ${caddyHash(PASSWORD)}`,
      "127.0.0.1:9000": addr.transport === "unix" ? `unix/${addr.path}` : addressOf(addr),
    })
  );
}

const SHAPE = { protocol: "fastcgi", streamsUploads: true, hidesBreaks: true, start: startDocumented } as const;

describeCaddy("Caddy, transport fastcgi", () => testPeer(SHAPE));
describeCaddy("Caddy, transport fastcgi, unix socket", () => testPeer({ ...SHAPE, unix: true }));
