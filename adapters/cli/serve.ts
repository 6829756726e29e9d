// isthmus serve: from the arguments to servers that listen, and to their end.
import process from "node:process";
import type { Handler, HandlerObject, ProtocolName, Server } from "../../src/mod.ts";
import { formatAddress } from "./address.ts";
import type { Endpoint, ServeArguments, ServingArguments } from "./args.ts";
import { CliError } from "./errors.ts";
import { loadHandler } from "./module.ts";
import { adapter } from "./runtime.ts";
import { firstSignal } from "./signals.ts";
import { serveSpawned } from "./spawned.ts";
import { type PassedSocket, ServiceManager, takePassedSockets } from "./systemd.ts";

const TITLES: Record<ProtocolName | "any", string> = {
  ajp: "AJP",
  fastcgi: "FastCGI",
  scgi: "SCGI",
  cgi: "CGI",
  any: "AJP, FastCGI or SCGI",
};
const SIGNALS = ["SIGTERM", "SIGINT"] as const;
/** Resolves once a signal has ended everything in good order. */
export async function serve(args: ServeArguments): Promise<void> {
  const manager = new ServiceManager(process.env, process.pid);
  const passed = takePassedSockets(process.env, process.pid);
  const endpoints = args.endpoints.length > 0 ? args.endpoints : passed.map(toEndpoint);
  if (endpoints.length === 0) return await serveSpawned(args, manager);

  const handler = await loadHandler(args.module, process.cwd());
  await serveHandler({ ...args, endpoints }, handler, manager);
}

/** Serves one handler on all addresses. Resolves once a signal has ended everything in good order. */
export async function serveHandler(
  { endpoints, ...args }: ServingArguments,
  handler: Handler | HandlerObject,
  manager: ServiceManager = new ServiceManager(process.env, process.pid),
): Promise<void> {
  const servers: Server[] = [];
  try {
    for (const endpoint of endpoints) {
      const server = start(endpoint, args, handler);
      servers.push(server);
      await server.ready;
    }
    const signalled = firstSignal(SIGNALS);
    manager.ready();
    for (const [i, { protocol, listen, text }] of endpoints.entries()) {
      console.log(
        `isthmus: ${TITLES[protocol]} on ${listen.fd === undefined ? formatAddress(servers[i]!.addr) : text}`,
      );
    }
    await Promise.race([signalled, ...servers.map((server) => server.finished)]);
  } catch (error) {
    throw new CliError(1, forCommandLine(error), { cause: error });
  } finally {
    await Promise.allSettled([manager.stopping(), ...servers.map((server) => server.shutdown())]);
  }
}

/** The socket's name may say the protocol; the name that systemd gives it otherwise says nothing. */
function toEndpoint({ fd, name }: PassedSocket): Endpoint {
  const protocol = Object.hasOwn(TITLES, name) && name !== "cgi" ? name as Endpoint["protocol"] : "fastcgi";
  return { protocol, text: `fd:${fd}`, listen: { fd } };
}

function start(
  { protocol, listen }: Endpoint,
  args: Omit<ServingArguments, "endpoints">,
  handler: Handler | HandlerObject,
): Server {
  const options = { ...listen, ...args.common };
  switch (protocol) {
    case "ajp":
      return adapter.serveAjp({ ...options, ...args.ajp }, handler);
    case "any":
      return adapter.serve({ ...options, ...args.ajp }, handler);
    case "scgi":
      return adapter.serveScgi(options, handler);
    default:
      return adapter.serveFastCgi(options, handler);
  }
}

/** The library's error in the words of the command line. */
function forCommandLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/: set `secret`.*/, ": give --secret, or ISTHMUS_SECRET in the environment")
    .replace(/: set `allowInsecure.*/, ": give AJP an address of its own with --ajp and --secret");
}
