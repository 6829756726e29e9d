// The same Hono app behind a real HAProxy, which sends several requests at once on one connection.
import { Agent } from "node:http";
import { expect, test } from "vitest";
import type { Addr } from "../../src/mod.ts";
import { describeHaproxy } from "../support/describe_peers.ts";
import { addressOf, configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { startHaproxy } from "../support/haproxy.ts";
import { getText, PASSWORD, testPeer, USER } from "../support/peer_suite.ts";
import { until } from "../support/until.ts";
import type { WebServer } from "../support/web_server.ts";

function startDocumented(addr: Addr, changes: Record<string, string> = {}): Promise<WebServer> {
  return startHaproxy(({ port, dir }) =>
    replaceAll(configurationUnder("HAProxy, FastCGI"), {
      ...changes,
      "bind :80": `bind 127.0.0.1:${port}`,
      "/var/www/html": dir,
      "user ada insecure-password enchantress": `user ${USER} insecure-password ${PASSWORD}`,
      "127.0.0.1:9000": addressOf(addr),
    })
  );
}

const SHAPE = {
  protocol: "fastcgi",
  reusesConnections: true,
  authType: "Basic",
  streamsUploads: true,
  maxChunkedUpload: 10_000,
} as const;

describeHaproxy(
  "HAProxy, several requests on one connection",
  () =>
    testPeer({ ...SHAPE, start: (addr) => startDocumented(addr) }, (setup) => {
      test("sends 200 requests at once on few connections", async () => {
        const { totalConnections } = setup.server.stats;
        const agent = new Agent({ maxSockets: 200 });
        const answers = Promise.all(
          Array.from({ length: 200 }, (_, i) => getText(`${setup.web.url}/gated?n=${i}`, agent)),
        );
        answers.catch(() => {}); // Reported below, if the test gets there.
        await until(() => setup.server.stats.activeRequests === 200);
        expect(setup.server.stats.connections).toBeLessThan(20);
        setup.events.gate.open();
        expect(new Set(await answers)).toEqual(new Set(["200 data: first\n\ndata: second\n\n"]));
        agent.destroy();
        expect(setup.server.stats.totalConnections - totalConnections).toBeLessThan(20);
      });
    }),
);

describeHaproxy("HAProxy, one request at a time on a connection", () =>
  testPeer({
    ...SHAPE,
    start: (addr) =>
      startDocumented(addr, { "http-reuse always": "", "option mpxs-conns": "", "option max-reqs 20": "" }),
  }));
