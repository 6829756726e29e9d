// A FastCGI server of the running runtime and connections to it, all of which end with the test that opened them.
import { afterEach, vi } from "vitest";
import type { Handler, HandlerObject, ServeFastCgiOptions, Server } from "../../src/types.ts";
import { FastCgiClient } from "./fastcgi_client.ts";
import { adapter } from "./runtime.ts";

const { serveFastCgi } = await adapter();

export interface Fixture {
  /** What the server logged since the test began. */
  readonly errors: unknown[][];
  readonly warnings: unknown[][];
  /** Starts a server on a free port unless told otherwise. */
  serve(handler: Handler | HandlerObject, options?: ServeFastCgiOptions): Promise<Server>;
  /** Connects to it. */
  connect(server: Server): Promise<FastCgiClient>;
  /** Starts a server and connects to it. */
  open(handler: Handler | HandlerObject, options?: ServeFastCgiOptions): Promise<FastCgiClient>;
  /** Run at the end of the test. */
  cleanups: (() => unknown)[];
}

/** Call it once in a file, outside of its tests. */
export function fixture(): Fixture {
  vi.setConfig({ testTimeout: 8000 });
  const cleanups: (() => unknown)[] = [];
  const errors: unknown[][] = [];
  const warnings: unknown[][] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    errors.length = warnings.length = 0;
  });

  async function serve(handler: Handler | HandlerObject, options: ServeFastCgiOptions = {}): Promise<Server> {
    const logger = {
      error: (...data: unknown[]) => void errors.push(data),
      warn: (...data: unknown[]) => void warnings.push(data),
    };
    const where = options.path === undefined ? { port: 0 } : {};
    const server = serveFastCgi({ ...where, logger, ...options }, handler);
    cleanups.push(() => server.shutdown());
    await server.ready;
    return server;
  }

  async function connect(server: Server): Promise<FastCgiClient> {
    const client = await FastCgiClient.open(server.addr);
    cleanups.push(() => client.close());
    return client;
  }

  return {
    errors,
    warnings,
    cleanups,
    serve,
    connect,
    open: async (handler, options) => await connect(await serve(handler, options)),
  };
}

/** Resolves once `holds()` is true; it is asked again and again. The test's own time limit ends a wait in vain. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
