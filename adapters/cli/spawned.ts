// isthmus serve without an address: the web server has started this program, and says how it wants it.
import process from "node:process";
import type { Handler, HandlerObject, Server } from "../../src/mod.ts";
import { prepareCgi, spawnedFor } from "../_spawned.ts";
import type { ServeArguments } from "./args.ts";
import { CliError } from "./errors.ts";
import { loadHandler } from "./module.ts";
import { adapter } from "./runtime.ts";
import { firstSignal } from "./signals.ts";
import type { ServiceManager } from "./systemd.ts";

/** FastCGI's own library takes SIGUSR1 for "finish and end". On Node a listener keeps it from starting the inspector. */
const SIGNALS = ["SIGTERM", "SIGINT", "SIGUSR1"] as const;

/** Resolves once the one request is answered, or a signal has ended everything in good order. */
export async function serveSpawned(args: ServeArguments, manager: ServiceManager): Promise<void> {
  const protocol = spawnedFor(process.env);
  if (protocol === undefined) {
    throw new CliError(
      1,
      "no address to listen on, and no web server has started this: give an address such as --fastcgi 9000, or let a " +
        "web server, spawn-fcgi or systemd start it. See isthmus serve --help",
    );
  }
  // Before the application's modules are loaded. Nothing of ours goes to stdout in either protocol.
  if (protocol === "cgi") prepareCgi();
  outliveLogs();
  const signalled = firstSignal(SIGNALS);
  const abort = new AbortController();
  let server: Server | undefined;
  try {
    const handler = await Promise.race([signalled, loadHandler(args.module, process.cwd())]);
    if (handler === undefined) return;
    server = start(args, protocol, handler, abort.signal);
    await server.ready;
    manager.ready();
    await Promise.race([signalled, server.finished]);
    // A web server sends a signal to a CGI program when it has given the request up.
    if (protocol === "cgi") abort.abort();
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(1, error instanceof Error ? error.message : String(error), { cause: error });
  } finally {
    await Promise.allSettled([manager.stopping(), server?.shutdown()]);
  }
}

function start(
  args: ServeArguments,
  protocol: "cgi" | "fastcgi",
  handler: Handler | HandlerObject,
  signal: AbortSignal,
): Server {
  return adapter.serveSpawned({ ...args.common, protocol, signal }, handler);
}

/** Node ends with the reader of its stderr, which is the web server's error log; the others do not. */
function outliveLogs(): void {
  if ("Bun" in globalThis || "Deno" in globalThis) return;
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}
