/**
 * Listening and connections by `node:net`: all there is on Node, and on Deno and Bun what takes an inherited
 * descriptor, which their own functions do not.
 *
 * @module
 */

import { createServer, type Server, type Socket } from "node:net";
import type { Addr, Listen, Listener, ListenOptions, Transport } from "../src/mod.ts";
import { gather } from "./_gather.ts";
import { Inbox } from "./_inbox.ts";
import { listenError } from "./_listen_error.ts";
import { makeWay, setMode } from "./_socket_file.ts";

/** Connections that may wait to be accepted. As Node, Deno and nginx have it. */
const BACKLOG = 511;

/** Unsent bytes of a connection above which a write is said to be under way. */
const HIGH_WATER_BYTES = 64 * 1024;

/** After so many bytes that the system took at once, the other connections have their turn. */
const TURN_BYTES = 1024 * 1024;

/** Listens by `node:net`. */
export const listenNodeNet: Listen = async (options, onConnection, onFailure) => {
  const { path, fd } = options;
  if (fd === undefined && path !== undefined) await makeWay({ ...options, path });

  const server = createServer(
    { allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES },
    (socket) => onConnection(new NodeTransport(socket)),
  );
  await listening(server, options);
  server.on("error", (error) => {
    // A connection that could not be accepted ends nothing; the socket listens on.
    if (!server.listening) onFailure(error);
  });

  const listener = new NodeListener(server, addressOf(server, options));
  if (fd === undefined && path !== undefined) {
    try {
      await setMode({ ...options, path });
    } catch (error) {
      await listener.close();
      throw error;
    }
  }
  return listener;
};

function listening(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(listenError(options, error));
    server.once("error", fail);
    try {
      server.listen(target(options), () => {
        server.off("error", fail);
        resolve();
      });
    } catch (error) {
      fail(error);
    }
  });
}

function target({ hostname, port, path, fd }: ListenOptions): object {
  if (fd !== undefined) return { fd, backlog: BACKLOG };
  if (path !== undefined) return { path, backlog: BACKLOG };
  return { host: hostname, port, backlog: BACKLOG };
}

function addressOf(server: Server, options: ListenOptions): Addr {
  const address = server.address();
  if (typeof address === "object" && typeof address?.port === "number") {
    return { transport: "tcp", hostname: address.address, port: address.port };
  }
  // Of an inherited unix socket Node and Deno say null, Bun an empty object.
  return { transport: "unix", path: options.path ?? "" };
}

class NodeListener implements Listener {
  readonly addr: Addr;
  readonly #server: Server;

  constructor(server: Server, addr: Addr) {
    this.#server = server;
    this.addr = addr;
  }

  close(): Promise<void> {
    // Not its callback, which comes when the last connection has ended. The socket itself is closed at once.
    this.#server.close();
    return Promise.resolve();
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }
}

interface Waiting {
  resolve(): void;
  reject(error: unknown): void;
}

class NodeTransport implements Transport {
  readonly peerAddr: Addr | undefined;
  readonly #socket: Socket;
  readonly #inbox: Inbox;
  #writing: Waiting | undefined;
  #closed = false;
  #error: unknown;
  #bytesThisTurn = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#inbox = new Inbox(socket);
    const { remoteAddress, remotePort } = socket;
    this.peerAddr = remoteAddress === undefined || remotePort === undefined
      ? undefined
      : { transport: "tcp", hostname: remoteAddress, port: remotePort };
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.#inbox.push(chunk));
    socket.on("end", () => this.#inbox.end());
    socket.on("drain", () => this.#onDrain());
    // There is no "drain" any more once the end was asked for.
    socket.on("finish", () => this.#onDrain());
    socket.on("error", (error) => this.#onClose(error));
    socket.on("close", () => this.#onClose(undefined));
  }

  read(): Promise<Uint8Array | null> {
    return this.#inbox.read();
  }

  write(chunks: Uint8Array[]): Promise<void> | undefined {
    const socket = this.#socket;
    if (this.#closed || socket.writableEnded) return Promise.reject(this.#error ?? closedError());
    const gathered = gather(chunks);
    if (gathered.length === 1) {
      this.#send(gathered[0]!);
    } else {
      // One system call for all of them.
      socket.cork();
      for (const chunk of gathered) this.#send(chunk);
      socket.uncork();
    }
    // Not what `socket.write()` returned, which is false for any chunk above the mark even if the system took it whole.
    if (socket.writableLength > HIGH_WATER_BYTES) {
      return new Promise((resolve, reject) => this.#writing = { resolve, reject });
    }
    if (this.#bytesThisTurn > TURN_BYTES) {
      this.#bytesThisTurn = 0;
      return new Promise((resolve) => void setImmediate(resolve));
    }
    return undefined;
  }

  closeWrite(): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      if (this.#closed || socket.writableFinished) return resolve();
      socket.once("finish", resolve);
      socket.once("close", resolve);
      socket.end();
    });
  }

  close(reset = false): void {
    if (this.#closed) return;
    const socket = this.#socket;
    const unsent = socket.writableLength > 0;
    const unread = this.#inbox.unread && !socket.writableEnded;
    this.#onClose(undefined);
    this.#inbox.discard();
    // Only TCP has resets. One waits for unsent bytes unless the socket is destroyed right after, and fails if it is
    // destroyed when there are none.
    const resets = this.peerAddr !== undefined && (reset || unsent || unread);
    if (resets) socket.resetAndDestroy();
    if (!resets || unsent) socket.destroy();
  }

  #send(chunk: Uint8Array): void {
    this.#socket.write(chunk);
    this.#bytesThisTurn += chunk.length;
  }

  #onDrain(): void {
    const writing = this.#writing;
    this.#writing = undefined;
    writing?.resolve();
  }

  #onClose(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#inbox.end(error);
    const writing = this.#writing;
    this.#writing = undefined;
    writing?.reject(error ?? closedError());
  }
}

function closedError(): Error {
  return new Error("Cannot write: the connection is closed");
}
