// isthmus serve: from the arguments to servers that listen, and to their end.
import process from "node:process";
import type { Handler, HandlerObject, ProtocolName, Server } from "../../src/mod.ts";
import { formatAddress } from "./address.ts";
import type { Endpoint, ServeArguments } from "./args.ts";
import { CliError } from "./errors.ts";
import { loadHandler } from "./module.ts";
import { adapter } from "./runtime.ts";

const TITLES: Record<ProtocolName, string> = { ajp: "AJP", fastcgi: "FastCGI", scgi: "SCGI", cgi: "CGI" };
const SIGNALS = ["SIGTERM", "SIGINT"] as const;
/** npm passes on a Ctrl-C that the terminal has sent to the whole process group: one key press arrives twice. */
const ONE_KEY_PRESS_MS = 200;

/** Resolves once a signal has ended everything in good order. */
export async function serve(args: ServeArguments): Promise<void> {
  const handler = await loadHandler(args.module, process.cwd());
  const servers: Server[] = [];
  try {
    for (const endpoint of args.endpoints) {
      const server = start(endpoint, args, handler);
      servers.push(server);
      await server.ready;
    }
    const signalled = firstSignal();
    for (const [i, { protocol, listen, text }] of args.endpoints.entries()) {
      console.log(
        `isthmus: ${TITLES[protocol]} on ${listen.fd === undefined ? formatAddress(servers[i]!.addr) : text}`,
      );
    }
    await Promise.race([signalled, ...servers.map((server) => server.finished)]);
  } catch (error) {
    throw new CliError(1, forCommandLine(error), { cause: error });
  } finally {
    await Promise.allSettled(servers.map((server) => server.shutdown()));
  }
}

function start({ protocol, listen }: Endpoint, args: ServeArguments, handler: Handler | HandlerObject): Server {
  const options = { ...listen, ...args.common };
  return protocol === "ajp"
    ? adapter.serveAjp({ ...options, ...args.ajp }, handler)
    : adapter.serveFastCgi(options, handler);
}

/** Resolves at the first signal; a second one then has its default effect, which is to end the process at once. */
function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    function onSignal(): void {
      resolve();
      setTimeout(() => SIGNALS.forEach((signal) => process.removeListener(signal, onSignal)), ONE_KEY_PRESS_MS);
    }
    for (const signal of SIGNALS) process.on(signal, onSignal);
  });
}

/** The library's error in the words of the command line. */
function forCommandLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/: set `secret`.*/, ": give --secret, or ISTHMUS_SECRET in the environment");
}
