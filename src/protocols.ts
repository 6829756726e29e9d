import { AjpServer } from "./ajp/server.ts";
import type { AjpServerOptions } from "./ajp/server.ts";
import type { OnRejected, OnRequest, ServerMachine } from "./connection/machine.ts";
import { FastCgiServer } from "./fastcgi/server.ts";
import type { FastCgiServerOptions } from "./fastcgi/server.ts";
import { CgiServer } from "./cgi/server.ts";
import type { CgiServerOptions } from "./cgi/server.ts";
import { ScgiServer } from "./scgi/server.ts";
import type { ScgiServerOptions } from "./scgi/server.ts";
import { DetectingServer } from "./server/detect.ts";
import type { ProtocolName } from "./types.ts";

export { resolveAjpOptions } from "./ajp/options.ts";

/** Everything that a machine of any protocol may want to know. */
export type MachineOptions = AjpServerOptions & FastCgiServerOptions & ScgiServerOptions & CgiServerOptions;

/** What the rest of the core knows of a protocol. */
export interface Protocol {
  readonly name: ProtocolName | "any";
  /** As people write it. */
  readonly title: string;
  readonly defaultPort: number;
  /** How a connection begins: for each of its first bytes the least and the most that it may be. */
  readonly prefix: readonly (readonly [least: number, most: number])[];
  /** Whether whoever can connect is believed whatever it says, so that only a secret keeps others out. */
  readonly needsSecret: boolean;
  createServer(options: MachineOptions, onRequest: OnRequest, onRejected: OnRejected): ServerMachine;
}

/** The table of protocols: a further one is a folder of its own and a line here. "any" is whichever arrives. */
export const PROTOCOLS: Readonly<Record<ProtocolName | "any", Protocol>> = {
  ajp: {
    name: "ajp",
    title: "AJP",
    defaultPort: 8009,
    prefix: [[0x12, 0x12], [0x34, 0x34]], // of every packet
    needsSecret: true,
    createServer: (options, onRequest, onRejected) => new AjpServer(options, onRequest, onRejected),
  },
  fastcgi: {
    name: "fastcgi",
    title: "FastCGI",
    defaultPort: 9000,
    prefix: [[0x01, 0x01]], // its version
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new FastCgiServer(options, onRequest, onRejected),
  },
  scgi: {
    name: "scgi",
    title: "SCGI",
    defaultPort: 4000,
    prefix: [[0x31, 0x39]], // a length
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new ScgiServer(options, onRequest, onRejected),
  },
  cgi: {
    name: "cgi",
    title: "CGI",
    defaultPort: 0, // it has none
    prefix: [],
    needsSecret: false,
    createServer: (options, onRequest, onRejected) => new CgiServer(options, onRequest, onRejected),
  },
  any: {
    name: "any",
    title: "AJP, FastCGI or SCGI",
    defaultPort: 9000,
    prefix: [],
    needsSecret: true, // as AJP does
    createServer: (options, onRequest, onRejected) =>
      new DetectingServer([PROTOCOLS.fastcgi, PROTOCOLS.scgi, PROTOCOLS.ajp], options, onRequest, onRejected),
  },
};
