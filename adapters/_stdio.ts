/**
 * A plain CGI request as a connection: its body is read from stdin, the response is written to stdout.
 *
 * By plain reads and writes of the descriptors, and not by process.stdin and process.stdout: nothing is read beyond the
 * body, and all runtimes do the same whether the web server gave a pipe, a file or, as mod_cgid does, one socket twice.
 *
 * @module
 */

import { read, write } from "node:fs";
import process from "node:process";
import { Writable } from "node:stream";
import type { Addr, Listen, Transport } from "../src/mod.ts";
import { gather } from "./_gather.ts";
import { codeOf } from "./_listen_error.ts";

const STDIN = 0;
const STDOUT = 1;
const READ_BYTES = 64 * 1024;
/** Between attempts at a descriptor that is non-blocking and not ready. */
const MAX_RETRY_MS = 16;
/** How long the web server may take for more of a body that nobody wants. */
const LINGER_MS = 1000;
/** What a timer takes at most: that it ever fires is not the point. */
const LONG_MS = 2 ** 31 - 1;

/**
 * "Listens" for the one request of a CGI program: gives away a transport and no other.
 *
 * @param bodyLength how much may be read from stdin
 * @param onEnd called when the connection has ended
 */
export function listenStdio(bodyLength: number, onEnd: () => void): Listen {
  return (_options, onConnection) => {
    // Nothing else need keep the process alive while the handler thinks.
    const alive = setInterval(() => {}, LONG_MS);
    const first = setTimeout(() => onConnection(new StdioTransport(bodyLength, onEnd)), 0);
    const addr: Addr = { transport: "unix", path: "" };
    return Promise.resolve({
      addr,
      close() {
        clearInterval(alive);
        clearTimeout(first);
        return Promise.resolve();
      },
      ref: () => void alive.ref(),
      unref: () => void alive.unref(),
    });
  };
}

/** Stdin and stdout as one connection. */
export class StdioTransport implements Transport {
  readonly peerAddr = undefined;
  readonly #onEnd: () => void;
  #left: number;
  #reads = 0;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;
  /** Ends the read under way, which nothing can take back. */
  #stopReading: ((nothing: null) => void) | undefined;
  #inputEnded: (() => void) | undefined;

  constructor(bodyLength: number, onEnd: () => void) {
    this.#left = bodyLength;
    this.#onEnd = onEnd;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#left === 0 || this.#closed) return Promise.resolve(null);
    return Promise.race([
      this.#read(),
      new Promise<null>((resolve) => this.#stopReading = resolve),
    ]);
  }

  async #read(): Promise<Uint8Array | null> {
    const bytes = new Uint8Array(Math.min(this.#left, READ_BYTES));
    const count = await this.#whenReady(() => readStdin(bytes));
    this.#reads++;
    this.#left = count === 0 ? 0 : this.#left - count;
    if (this.#left === 0) this.#inputEnded?.();
    return count === 0 ? null : bytes.subarray(0, count);
  }

  write(chunks: Uint8Array[]): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("Cannot write: the connection is closed"));
    const writing = this.#send(gather(chunks));
    this.#writing = writing.catch(() => {});
    return writing;
  }

  /**
   * The end of the process is what the web server sees as the end of the response. Where stdin is a socket, that would
   * be a reset while anything has not been read, and mod_cgid would lose the response; so this waits for the driver,
   * which reads on.
   */
  async closeWrite(): Promise<void> {
    await this.#writing;
    for (let reads = -1; this.#left > 0 && this.#reads > reads && !this.#closed;) {
      reads = this.#reads;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LINGER_MS);
        this.#inputEnded = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopReading?.(null);
    this.#inputEnded?.();
    this.#onEnd();
  }

  async #send(chunks: Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      for (let sent = 0; sent < chunk.length;) {
        sent += await this.#whenReady(() => writeStdout(chunk.subarray(sent)));
      }
    }
  }

  /**
   * Makes a system call again as long as the descriptor is not ready for it: Node makes pipes and sockets non-blocking
   * as soon as anybody imports node:process. That is as well, for it could not end while a thread waits in a call.
   */
  async #whenReady(call: () => Promise<number>): Promise<number> {
    for (let wait = 1;; wait = Math.min(wait * 2, MAX_RETRY_MS)) {
      try {
        return await call();
      } catch (error) {
        if (codeOf(error) !== "EAGAIN" || this.#closed) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function readStdin(bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    read(STDIN, bytes, 0, bytes.length, null, (error, count) => error === null ? resolve(count) : reject(error));
  });
}

/** What is used of Deno: written down here, so that the published types need no runtime's. */
interface DenoNamespace {
  readonly stdout: { write(bytes: Uint8Array): Promise<number> };
}

function writeStdout(bytes: Uint8Array): Promise<number> {
  const { Deno } = globalThis as { Deno?: DenoNamespace };
  // Its node:fs stops the whole program while a pipe is full, signals included.
  if (Deno !== undefined) return Deno.stdout.write(bytes);
  return new Promise((resolve, reject) => {
    write(STDOUT, bytes, 0, bytes.length, null, (error, count) => error === null ? resolve(count) : reject(error));
  });
}

/** What writes to stderr anyway. */
const TO_STDERR = new Set(["error", "warn", "trace", "assert"]);
/** What writes to stdout; the last is Bun's. */
const TO_STDOUT = ["log", "info", "debug", "dir", "dirxml", "table", "group", "groupCollapsed", "count", "timeEnd"]
  .concat("timeLog", "write");

/**
 * From here on `console.log` and whatever else writes to stdout writes to stderr: on stdout the response goes out, and
 * nothing else may.
 */
export function turnStdoutToStderr(): void {
  const own = console as unknown as Record<string, unknown>;
  const { error } = console;
  for (const name of TO_STDOUT) if (typeof own[name] === "function") own[name] = error;
  // Loaded only now, after that: with Deno and Bun `import { log } from "node:console"` gets what was there when
  // anybody first loaded it, and Deno's node:module loads it too.
  const { Console } = process.getBuiltinModule("node:console");
  const { syncBuiltinESMExports } = process.getBuiltinModule("node:module");
  // Not process.stderr, as Bun would make the descriptor non-blocking, which may be shared with the web server.
  const stderr = new Writable({
    decodeStrings: false,
    write(text, _encoding, done) {
      error(String(text).replace(/\n$/, ""));
      done();
    },
  });
  const turned = new Console(stderr, stderr) as unknown as Record<string, unknown>;
  for (const name of Object.keys(turned)) {
    if (typeof turned[name] !== "function" || typeof own[name] !== "function" || TO_STDERR.has(name)) continue;
    own[name] = turned[name].bind(turned);
  }
  Object.defineProperty(process, "stdout", { configurable: true, enumerable: true, get: () => process.stderr });
  // With Node the named exports are those of its start.
  syncBuiltinESMExports();
}
