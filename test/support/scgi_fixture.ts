// An SCGI server of the running runtime and connections to it, all of which end with the test that opened them.
import { onTestFinished } from "vitest";
import type { Addr, Handler, HandlerObject, Server, ServeScgiOptions } from "../../src/types.ts";
import { Log } from "./log.ts";
import { adapter } from "./runtime.ts";
import { type CgiResponse, ScgiClient, type Variables } from "./scgi_client.ts";

const { serveScgi } = await adapter();

export interface ScgiFixture {
  readonly server: Server;
  readonly addr: Addr;
  readonly log: Log;
  /** A new connection. */
  connect(): Promise<ScgiClient>;
  /** One request on a connection of its own. */
  fetch(more?: Variables, body?: Uint8Array | string): Promise<CgiResponse>;
}

/** Serves on a free port of loopback unless told otherwise. */
export async function serve(handler: Handler | HandlerObject, options: ServeScgiOptions = {}): Promise<ScgiFixture> {
  const log = new Log();
  const where = options.path === undefined ? { port: 0 } : {};
  const server = serveScgi({ ...where, logger: log, shutdownTimeout: 50, ...options }, handler);
  const clients: ScgiClient[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.close();
    await server.shutdown();
  });
  const addr = await server.ready;
  async function connect(): Promise<ScgiClient> {
    const client = await ScgiClient.open(addr);
    clients.push(client);
    return client;
  }
  return { server, addr, log, connect, fetch: async (more, body) => await (await connect()).fetch(more, body) };
}
