// A server and clients for one test: all of it ends with the test.
import { onTestFinished } from "vitest";
import type { Addr, Handler, HandlerObject, ServeAjpOptions, Server } from "../../src/types.ts";
import { type AjpBody, AjpClient, type AjpRequest, type AjpResponse } from "./ajp_client.ts";
import { adapter } from "./runtime.ts";
import { Log } from "./log.ts";

const { serveAjp } = await adapter();

export interface AjpFixture {
  readonly server: Server;
  readonly addr: Addr;
  readonly log: Log;
  /** A new connection. */
  connect(packetSize?: number): Promise<AjpClient>;
  /** One request on a connection of its own. */
  fetch(request?: AjpRequest, body?: AjpBody): Promise<AjpResponse>;
}

/** Serves on a free port of loopback unless told otherwise. */
export async function serve(
  handler: Handler | HandlerObject,
  options: ServeAjpOptions = {},
): Promise<AjpFixture> {
  const log = new Log();
  const server = serveAjp({ port: 0, logger: log, shutdownTimeout: 50, ...options }, handler);
  const clients: AjpClient[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.close();
    await server.shutdown();
  });
  const addr = await server.ready;
  async function connect(packetSize?: number): Promise<AjpClient> {
    const client = await AjpClient.open(addr, packetSize ?? options.packetSize);
    clients.push(client);
    return client;
  }
  return {
    server,
    addr,
    log,
    connect,
    async fetch(request, body) {
      const client = await connect();
      const response = await client.fetch(request, body);
      client.close();
      return response;
    },
  };
}
