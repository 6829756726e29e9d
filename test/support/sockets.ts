// What tests of sockets share: an adapter that listens, plain clients, and conditions to wait for.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Addr, Listen, Listener, ListenOptions, Transport } from "../../src/types.ts";

/** A listener whose connections are asked for one by one. */
export interface Acceptor {
  readonly listener: Listener;
  readonly addr: Addr;
  /** The next connection that was accepted. */
  accept(): Promise<Transport>;
  /** Closes the listener and all connections. */
  close(): Promise<void>;
}

/** Listens on a free port of loopback unless told otherwise. */
export async function acceptor(listen: Listen, options: ListenOptions = {}): Promise<Acceptor> {
  const all: Transport[] = [];
  const accepted: Transport[] = [];
  const waiting: ((transport: Transport) => void)[] = [];
  const listener = await listen(
    { hostname: "127.0.0.1", port: 0, ...options },
    (transport) => {
      all.push(transport);
      const resolve = waiting.shift();
      if (resolve === undefined) accepted.push(transport);
      else resolve(transport);
    },
    (error) => console.error("accepting ended:", error),
  );
  return {
    listener,
    addr: listener.addr,
    accept() {
      const transport = accepted.shift();
      return transport === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(transport);
    },
    async close() {
      for (const transport of all) transport.close();
      await listener.close();
    },
  };
}

/** Connects a plain `node:net` socket, half-open allowed; its errors are kept from crashing the process. */
export async function client(addr: Addr): Promise<Socket> {
  const target = addr.transport === "tcp" ? { host: addr.hostname, port: addr.port } : { path: addr.path };
  const socket = connect({ ...target, allowHalfOpen: true });
  await once(socket, "connect");
  socket.on("error", () => {});
  return socket;
}

/** Resolves when the socket is closed, with the code of its error if it had one. */
export function closed(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let code: string | undefined;
    socket.on("error", (error) => code = (error as { code?: string }).code);
    socket.once("close", () => resolve(code));
    if (socket.destroyed) resolve(code);
  });
}

/** The next `length` bytes that the socket receives. */
export function receive(socket: Socket, length: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let total = 0;
    function onData(chunk: Uint8Array): void {
      chunks.push(chunk);
      total += chunk.length;
      if (total >= length) finish(() => resolve(concat(chunks)));
    }
    const onEnd = () => finish(() => reject(new Error(`ended after ${total} of ${length} bytes`)));
    function finish(settle: () => void): void {
      socket.off("data", onData).off("end", onEnd).off("close", onEnd);
      settle();
    }
    socket.on("data", onData).once("end", onEnd).once("close", onEnd);
    socket.resume();
  });
}

/** Everything that the socket receives until the other end has sent its last. */
export function receiveAll(socket: Socket): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.once("end", () => resolve(concat(chunks)));
    socket.once("error", reject);
    socket.resume();
  });
}

/** The next `length` bytes of a transport, or fewer at its end. */
export async function readBytes(transport: Transport, length = Infinity): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  while (total < length) {
    const chunk = await transport.read();
    if (chunk === null) break;
    chunks.push(chunk);
    total += chunk.length;
  }
  return concat(chunks);
}

/** Sends back whatever comes until the other end has sent its last, then ends too. */
export async function echo(transport: Transport): Promise<void> {
  for (let bytes = await transport.read(); bytes !== null; bytes = await transport.read()) {
    await transport.write([bytes]);
  }
  await transport.closeWrite();
}

/** Bytes that are not the same anywhere, so that a wrong order shows. */
export function pattern(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + i | 0;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

export function sha(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function concat(chunks: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** Resolves once `value()` has stayed the same for `ms`. */
export async function stillness(value: () => number, ms = 200): Promise<number> {
  for (let last = -1;;) {
    const now = value();
    if (now === last) return now;
    last = now;
    await delay(ms);
  }
}

/** Whether the promise is still pending after `ms`. */
export function pending(promise: Promise<unknown>, ms = 200): Promise<boolean> {
  return Promise.race([promise.then(() => false, () => false), delay(ms).then(() => true)]);
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
