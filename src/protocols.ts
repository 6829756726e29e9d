import { AjpServer } from "./ajp/server.ts";
import type { AjpServerOptions } from "./ajp/server.ts";
import type { OnRejected, OnRequest, ServerMachine } from "./connection/machine.ts";
import { FastCgiServer } from "./fastcgi/server.ts";
import type { FastCgiServerOptions } from "./fastcgi/server.ts";
import { CgiServer } from "./cgi/server.ts";
import type { CgiServerOptions } from "./cgi/server.ts";
import { ScgiServer } from "./scgi/server.ts";
import type { ScgiServerOptions } from "./scgi/server.ts";
import type { ProtocolName } from "./types.ts";

export { resolveAjpOptions } from "./ajp/options.ts";

/** Everything that a machine of any protocol may want to know. */
export type MachineOptions = AjpServerOptions & FastCgiServerOptions & ScgiServerOptions & CgiServerOptions;

/** What the rest of the core knows of a protocol. */
export interface Protocol {
  readonly name: ProtocolName;
  /** As people write it. */
  readonly title: string;
  readonly defaultPort: number;
  /** Whether whoever can connect is believed whatever it says, so that only a secret keeps others out. */
  readonly needsSecret: boolean;
  createServer(options: MachineOptions, onRequest: OnRequest, onRejected: OnRejected): ServerMachine;
}

/** The table of protocols: a further one is a folder of its own and a line here. */
export const PROTOCOLS: Readonly<Record<ProtocolName, Protocol>> = {
  ajp: {
    name: "ajp",
    title: "AJP",
    defaultPort: 8009,
    needsSecret: true,
    createServer: (options, onRequest, onRejected) => new AjpServer(options, onRequest, onRejected),
  },
  fastcgi: {
    name: "fastcgi",
    title: "FastCGI",
    defaultPort: 9000,
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new FastCgiServer(options, onRequest, onRejected),
  },
  scgi: {
    name: "scgi",
    title: "SCGI",
    defaultPort: 4000,
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new ScgiServer(options, onRequest, onRejected),
  },
  cgi: {
    name: "cgi",
    title: "CGI",
    defaultPort: 0, // it has none
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new CgiServer(options, onRequest, onRejected),
  },
};
