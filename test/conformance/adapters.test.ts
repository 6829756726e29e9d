// What every adapter's sockets must do, run against the adapter of the runtime that runs the tests.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { listenNodeNet } from "../../adapters/_node_net.ts";
import type { Addr, Listen, ListenOptions, NetAddr, Transport } from "../../src/types.ts";
import { readByPerl } from "../support/perl_reader.ts";
import { adapter, runtime } from "../support/runtime.ts";
import {
  type Acceptor,
  acceptor,
  client,
  closed,
  delay,
  echo,
  pattern,
  pending,
  readBytes,
  receive,
  receiveAll,
  sha,
  stillness,
} from "../support/sockets.ts";

const { listen } = await adapter();

const MIB = 1024 * 1024;
/** More than any system buffers between two sockets of one machine. */
const MORE_THAN_BUFFERS = 64 * MIB;
/** What the systems' buffers at both ends and the runtime's own may hold. */
const MOST_BUFFERED = 24 * MIB;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function open(options: ListenOptions = {}, by: Listen = listen): Promise<Acceptor> {
  const server = await acceptor(by, options);
  cleanups.push(() => server.close());
  return server;
}

async function connected(addr: Addr): Promise<Socket> {
  const socket = await client(addr);
  cleanups.push(() => socket.destroy());
  return socket;
}

/** A transport and the plain socket at its other end. */
async function pair(
  options: ListenOptions = {},
  by: Listen = listen,
): Promise<{ transport: Transport; peer: Socket; server: Acceptor }> {
  const server = await open(options, by);
  const [transport, peer] = await Promise.all([server.accept(), connected(server.addr)]);
  return { transport, peer, server };
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "isthmus-"));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : new TextDecoder().decode(bytes);
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

async function failure(promise: Promise<unknown>): Promise<Error & { code?: string; cause?: unknown }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}

/** Writes until the transport says stop and means it; what was written, and the promise. */
async function fill(transport: Transport): Promise<{ written: Uint8Array; blocked: Promise<void> }> {
  const source = pattern(MORE_THAN_BUFFERS);
  const step = 64 * 1024;
  for (let offset = 0; offset < source.length; offset += step) {
    const written = transport.write([source.subarray(offset, offset + step)]);
    if (written !== undefined && await pending(written)) {
      return { written: source.subarray(0, offset + step), blocked: written };
    }
  }
  throw new Error("the transport took everything");
}

function unix(): ListenOptions {
  return { path: join(folder(), "s") };
}

// Deno and Bun have two kinds of transports: inherited descriptors go by node:net there.
const TRANSPORTS: [string, () => ListenOptions, Listen][] = [
  ["TCP", () => ({}), listen],
  ["a unix socket", unix, listen],
  ["TCP by node:net", () => ({}), listenNodeNet],
  ["a unix socket by node:net", unix, listenNodeNet],
];

describe.each(TRANSPORTS.slice(0, runtime === "node" ? 2 : 4))("Transport over %s", (_name, options, by) => {
  test("read gives what the peer sends, and null at its end", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.write("hello");
    expect(text(await readBytes(transport, 5))).toBe("hello");
    peer.end("bye");
    expect(text(await readBytes(transport))).toBe("bye");
    expect(await transport.read()).toBe(null);
    expect(await transport.read()).toBe(null);
  });

  test("read never writes over bytes that it has given away", async () => {
    const { transport, peer } = await pair(options(), by);
    const sent = pattern(300_000);
    const given: { bytes: Uint8Array; copy: Uint8Array }[] = [];
    let total = 0;
    for (let offset = 0; offset < sent.length; offset += 500) {
      peer.write(sent.subarray(offset, offset + 500));
      while (total < offset + 500) {
        const bytes = (await transport.read())!;
        given.push({ bytes, copy: bytes.slice() });
        total += bytes.length;
      }
    }
    expect(given.every(({ bytes, copy }) => sha(bytes) === sha(copy))).toBe(true);
  });

  test("write sends several chunks in order, empty ones too", async () => {
    const { transport, peer } = await pair(options(), by);
    await transport.write([]);
    await transport.write([bytes("")]);
    await transport.write([bytes("a"), bytes(""), bytes("bc")]);
    const large = pattern(200_000);
    await transport.write([bytes("d"), large, bytes("e"), bytes("")]);
    await transport.closeWrite();
    const received = await receiveAll(peer);
    expect(text(received.subarray(0, 4))).toBe("abcd");
    expect(sha(received.subarray(4, 200_004))).toBe(sha(large));
    expect(text(received.subarray(200_004))).toBe("e");
  });

  test("20 MiB go both ways at once", async () => {
    const { transport, peer } = await pair(options(), by);
    const sent = pattern(20 * MIB);
    const echoed = echo(transport);
    const received = receiveAll(peer);
    peer.end(sent);
    expect(sha(await received)).toBe(sha(sent));
    await echoed;
  });

  test("write waits while the peer does not read, and all arrives", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.pause();
    const { written, blocked } = await fill(transport);
    expect(written.length).toBeLessThan(MOST_BUFFERED);
    const received = receiveAll(peer);
    await blocked;
    await transport.write([bytes("last")]);
    await transport.closeWrite();
    const all = await received;
    expect(all.length).toBe(written.length + 4);
    expect(sha(all.subarray(0, written.length))).toBe(sha(written));
    expect(text(all.subarray(written.length))).toBe("last");
  });

  test("a peer waits while nobody reads, and all arrives", async () => {
    const { transport, peer } = await pair(options(), by);
    const sent = pattern(MORE_THAN_BUFFERS);
    let taken = 0;
    async function send(): Promise<void> {
      for (let offset = 0; offset < sent.length; offset += 65536) {
        await new Promise<void>((resolve) => peer.write(sent.subarray(offset, offset + 65536), () => resolve()));
        taken = offset + 65536;
      }
      peer.end();
    }
    const sending = send();
    expect(await stillness(() => taken)).toBeLessThan(MOST_BUFFERED);
    // It stops again and again: whoever reads one chunk does not let in the rest.
    for (let i = 0; i < 3; i++) taken += (await transport.read())!.length - await stillness(() => 0, 1);
    expect(await stillness(() => taken)).toBeLessThan(MOST_BUFFERED);
    const rest = await readBytes(transport);
    await sending;
    expect(rest.length).toBeGreaterThan(sent.length - MOST_BUFFERED);
    expect(sha(rest)).toBe(sha(sent.subarray(sent.length - rest.length)));
  });

  test("an answer reaches a peer that has sent its last", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.end("question");
    expect(text(await readBytes(transport))).toBe("question");
    await delay(20);
    await transport.write([bytes("answer")]);
    const received = receiveAll(peer);
    await transport.closeWrite();
    expect(text(await received)).toBe("answer");
  });

  test("reading goes on after closeWrite", async () => {
    const { transport, peer } = await pair(options(), by);
    const received = receiveAll(peer);
    await transport.write([bytes("last words")]);
    await transport.closeWrite();
    expect(text(await received)).toBe("last words");
    peer.write("one");
    expect(text(await readBytes(transport, 3))).toBe("one");
    peer.end("two");
    expect(text(await readBytes(transport))).toBe("two");
  });

  test("what came before the connection ended can be read later", async () => {
    const { transport, peer } = await pair(options(), by);
    const gone = closed(peer);
    peer.resume();
    await transport.closeWrite();
    const sent = pattern(100_000);
    peer.end(sent);
    await Promise.race([gone, delay(50)]);
    expect(sha(await readBytes(transport))).toBe(sha(sent));
  });

  test("closeWrite sends all that was written before it", async () => {
    const { transport, peer } = await pair(options(), by);
    const sent = pattern(20 * MIB);
    const written = transport.write([sent]);
    const ended = transport.closeWrite();
    expect(sha(await receiveAll(peer))).toBe(sha(sent));
    await written;
    await ended;
  });

  test("closeWrite resolves when the connection breaks meanwhile, and twice", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.pause();
    const { blocked } = await fill(transport);
    const ended = transport.closeWrite();
    peer.destroy();
    expect(await failure(blocked)).toBeInstanceOf(Error);
    await ended;
    await transport.closeWrite();
  });

  test("write after closeWrite rejects", async () => {
    const { transport } = await pair(options(), by);
    await transport.closeWrite();
    expect((await failure(transport.write([bytes("x")])!)).message).toBe("Cannot write: the connection is closed");
  });

  test("close settles a read that waits, and the peer notices", async () => {
    const { transport, peer } = await pair(options(), by);
    const gone = closed(peer);
    peer.once("end", () => peer.destroy());
    peer.resume();
    const reading = transport.read();
    transport.close();
    expect(await reading).toBe(null);
    expect(await transport.read()).toBe(null);
    expect(await failure(transport.write([bytes("x")])!)).toBeInstanceOf(Error);
    await transport.closeWrite();
    await gone;
    transport.close();
  });

  test("close rejects a write that waits, and drops what is unsent", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.pause();
    const { written, blocked } = await fill(transport);
    let received = 0;
    transport.close();
    expect((await failure(blocked)).message).toBe("Cannot write: the connection is closed");
    const gone = closed(peer);
    peer.on("data", (chunk) => received += chunk.length);
    peer.once("end", () => peer.destroy());
    peer.resume();
    await gone;
    expect(received).toBeLessThan(written.length);
  });

  test("close after closeWrite loses nothing", async () => {
    const { transport, peer } = await pair(options(), by);
    const received = receiveAll(peer);
    transport.write([bytes("goodbye")]);
    await transport.closeWrite();
    transport.close();
    expect(text(await received)).toBe("goodbye");
  });

  test("closing with bytes that were not read does no harm", async () => {
    const { transport, peer } = await pair(options(), by);
    const gone = closed(peer);
    peer.once("end", () => peer.destroy());
    peer.write("nobody reads this");
    peer.resume();
    await delay(20);
    transport.close();
    await gone;
  });

  test("a peer that goes away breaks a write that waits", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.pause();
    const { blocked } = await fill(transport);
    peer.destroy();
    expect(await failure(blocked)).toBeInstanceOf(Error);
    expect(await failure(transport.write([bytes("x")])!)).toBeInstanceOf(Error);
  });

  test("a peer that goes away breaks the writes that follow", async () => {
    const { transport, peer } = await pair(options(), by);
    peer.destroy();
    expect(await transport.read()).toBe(null);
    const writing = (async () => {
      for (;;) {
        await transport.write([bytes("x")]);
        await delay(1);
      }
    })();
    expect(await failure(writing)).toBeInstanceOf(Error);
  });
});

describe("Transport over TCP alone", () => {
  test("a reset by the peer rejects a read that waits", async () => {
    const { transport, peer } = await pair();
    const reading = transport.read();
    peer.resetAndDestroy();
    expect((await failure(reading)).code).toBe("ECONNRESET");
    expect((await failure(transport.read())).code).toBe("ECONNRESET");
    expect((await failure(transport.write([bytes("x")])!)).code).toBe("ECONNRESET");
    await transport.closeWrite();
    transport.close();
  });

  test("a reset by the peer rejects a write that waits", async () => {
    const { transport, peer } = await pair();
    peer.pause();
    const { blocked } = await fill(transport);
    peer.resetAndDestroy();
    expect((await failure(blocked)).code).toMatch(/^(ECONNRESET|EPIPE)$/);
    expect(await failure(transport.read())).toBeInstanceOf(Error);
  });

  // The reader is perl, since Node takes some resets for a clean end.
  test.runIf(hasPerl())("close resets where bytes are unsent", async () => {
    const server = await open();
    const script = `socket(S, PF_INET, SOCK_STREAM, 0) or die;
      connect(S, pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) or die;
      <STDIN>;
      while ($n = sysread(S, $_, 65536)) {}
      print defined $n ? "end" : $!{ECONNRESET} ? "reset" : $!, "\\n"`;
    const { port } = server.addr as NetAddr;
    const peer = spawn("perl", ["-MSocket", "-MErrno", "-e", script, `${port}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const said = firstLine(peer);
    const transport = await server.accept();
    const { blocked } = await fill(transport);
    transport.close();
    expect(await failure(blocked)).toBeInstanceOf(Error);
    peer.stdin!.end("go\n");
    // Deno has no way to reset a connection.
    expect(await said).toBe(runtime === "deno" ? "end" : "reset");
  });

  // By node:net a connection can be reset on each runtime; Deno's own cannot.
  const RESETS: [string, Listen, string][] = [
    ["by the runtime", listen, runtime === "deno" ? "end" : "reset"],
    ["by node:net", listenNodeNet, "reset"],
  ];
  test.runIf(hasPerl()).each(RESETS)("close(true) %s resets with nothing unsent or unread", async (_, by, expected) => {
    const server = await open({}, by);
    const read = readByPerl(server.addr, bytes("hello"));
    const transport = await server.accept();
    expect(text(await readBytes(transport, 5))).toBe("hello");
    await transport.write([bytes("half")]);
    // The peer has it before the reset, which would take it away.
    await delay(50);
    transport.close(true);
    transport.close(true);
    expect(await read).toEqual({ ended: expected, received: "half" });
    expect(await transport.read()).toBe(null);
    expect(await failure(transport.write([bytes("x")])!)).toBeInstanceOf(Error);
  });

  test.runIf(hasPerl()).each(RESETS)("close %s does not reset", async (_, by) => {
    const server = await open({}, by);
    const read = readByPerl(server.addr, bytes("hello"));
    const transport = await server.accept();
    await readBytes(transport, 5);
    await transport.write([bytes("half")]);
    transport.close();
    expect(await read).toEqual({ ended: "end", received: "half" });
  });

  test.runIf(hasPerl()).each(RESETS)("close(true) %s resets where bytes are unsent", async (_, by, expected) => {
    const server = await open({}, by);
    const read = readByPerl(server.addr, bytes("hello"));
    const transport = await server.accept();
    await readBytes(transport, 5);
    const sent = transport.write([pattern(MORE_THAN_BUFFERS)]);
    transport.close(true);
    expect(await failure(sent!)).toBeInstanceOf(Error);
    const { ended, received } = await read;
    expect(ended).toBe(expected);
    expect(received.length).toBeLessThan(MORE_THAN_BUFFERS);
  });

  test("peerAddr is the other end", async () => {
    const { transport, peer } = await pair();
    expect(transport.peerAddr).toEqual({ transport: "tcp", hostname: "127.0.0.1", port: peer.localPort });
  });

  test("small answers leave at once", async () => {
    const { transport, peer } = await pair();
    // With Nagle's algorithm and delayed acknowledgements each second write would wait 40 ms.
    const start = performance.now();
    for (let i = 0; i < 50; i++) {
      peer.write("question");
      await readBytes(transport, 8);
      await transport.write([bytes("first ")]);
      await transport.write([bytes("second")]);
      await receive(peer, 12);
    }
    expect(performance.now() - start).toBeLessThan(1200);
  });

  test("200 connections at once", async () => {
    const server = await open();
    const sent = pattern(10_000);
    const all = Array.from({ length: 200 }, async () => {
      const peer = await connected(server.addr);
      const received = receiveAll(peer);
      peer.end(sent);
      expect(sha(await received)).toBe(sha(sent));
    });
    for (let i = 0; i < 200; i++) void echo(await server.accept());
    await Promise.all(all);
  });
});

// A unix socket has no reset, so that all one can ask is that the peer sees an end.
test.runIf(hasPerl()).each([["by the runtime", listen], ["by node:net", listenNodeNet]] as [string, Listen][])(
  "close(true) of a unix socket %s ends it",
  async (_, by) => {
    const server = await open(unix(), by);
    const read = readByPerl(server.addr, bytes("hello"));
    const transport = await server.accept();
    await readBytes(transport, 5);
    await transport.write([bytes("half")]);
    transport.close(true);
    expect(await read).toEqual({ ended: "end", received: "half" });
  },
);

/** Connects five times, and each time resets the connection (SO_LINGER with no time). */
const CONNECT_AND_RESET = `
  for (1 .. 5) {
    socket(my $s, PF_INET, SOCK_STREAM, 0) or die;
    connect($s, pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))) or die;
    setsockopt($s, SOL_SOCKET, SO_LINGER, pack("ii", 1, 0)) or die;
    close($s);
  }`;

describe("Listener on TCP", () => {
  test("addr has the port that the system chose", async () => {
    const { addr } = await open();
    expect(addr).toEqual({ transport: "tcp", hostname: "127.0.0.1", port: expect.any(Number) });
    expect((addr as NetAddr).port).toBeGreaterThan(0);
  });

  test("addr over IPv6 has no brackets", async (context) => {
    const server = await acceptor(listen, { hostname: "::1" }).catch(() => undefined);
    if (server === undefined) return context.skip("no IPv6 here");
    cleanups.push(() => server.close());
    expect((server.addr as NetAddr).hostname).toBe("::1");
    const [transport, peer] = await Promise.all([server.accept(), connected(server.addr)]);
    expect(transport.peerAddr).toEqual({ transport: "tcp", hostname: "::1", port: peer.localPort });
  });

  test("close leaves connections open and the port free", async () => {
    const { transport, peer, server } = await pair();
    await server.listener.close();
    await server.listener.close();
    const again = await open({ port: (server.addr as NetAddr).port });
    expect(again.addr).toEqual(server.addr);
    peer.write("still here");
    expect(text(await readBytes(transport, 10))).toBe("still here");
    await transport.write([bytes("so am I")]);
    expect(text(await receive(peer, 7))).toBe("so am I");
    const [second, secondPeer] = await Promise.all([again.accept(), connected(again.addr)]);
    secondPeer.write("new");
    expect(text(await readBytes(second, 3))).toBe("new");
  });

  test("nothing is accepted after close", async () => {
    const server = await open();
    await server.listener.close();
    expect((await failure(client(server.addr))).code).toBe("ECONNREFUSED");
  });

  test.runIf(hasPerl())("a connection that is reset before it is accepted costs no other", async () => {
    const server = await open();
    const { port } = server.addr as NetAddr;
    // Nothing is accepted while this process waits for another, which leaves again at once.
    const { status } = spawnSync("perl", ["-MSocket", "-e", CONNECT_AND_RESET, String(port)]);
    expect(status).toBe(0);
    const peer = await connected(server.addr);
    peer.write("hello");
    for (;;) {
      // Some runtimes accept what is gone, and tell with the first read.
      const transport = await server.accept();
      const bytes = await readBytes(transport, 5).catch(() => new Uint8Array(0));
      if (bytes.length === 5) break;
    }
  });

  test("a port in use is said so", async () => {
    const server = await open();
    const { port } = server.addr as NetAddr;
    const error = await failure(open({ port }));
    expect(error.message).toBe(`Cannot listen on 127.0.0.1:${port}: the address is in use`);
    expect(error.code).toBe("EADDRINUSE");
    expect(error.cause).toBeInstanceOf(Error);
  });

  test("an address of another machine is said so", async () => {
    const error = await failure(open({ hostname: "192.0.2.1" }));
    expect(error.message).toBe("Cannot listen on 192.0.2.1:0: this machine does not have that address");
  });

  test("an unknown host name is said so", async () => {
    const error = await failure(open({ hostname: "no.such.host.invalid" }));
    expect(error.message).toMatch(/^Cannot listen on no\.such\.host\.invalid:0: the host name is not known/);
  });
});

describe("Listener on a unix socket", () => {
  test("addr, mode, and removal of the file", async () => {
    const path = join(folder(), "app.sock");
    const { transport, peer, server } = await pair({ path, mode: 0o620 });
    expect(server.addr).toEqual({ transport: "unix", path });
    expect(transport.peerAddr).toBe(undefined);
    expect(statSync(path).mode & 0o777).toBe(0o620);
    await server.listener.close();
    expect(existsSync(path)).toBe(false);
    await server.listener.close();
    peer.write("still here");
    expect(text(await readBytes(transport, 10))).toBe("still here");
    const again = await open({ path });
    expect(again.addr).toEqual({ transport: "unix", path });
  });

  test("a socket file on which nothing listens is replaced", async () => {
    const path = join(folder(), "stale.sock");
    leaveSocket(path);
    expect(statSync(path).isSocket()).toBe(true);
    const { transport, peer } = await pair({ path });
    peer.write("hello");
    expect(text(await readBytes(transport, 5))).toBe("hello");
  });

  test("a socket file on which somebody listens is not", async () => {
    const path = join(folder(), "live.sock");
    const { server } = await pair({ path });
    const error = await failure(open({ path }));
    expect(error.message).toBe(`Cannot listen on ${path}: another process listens there`);
    void server.accept();
    const [transport, peer] = await Promise.all([server.accept(), connected(server.addr)]);
    peer.write("unharmed");
    expect(text(await readBytes(transport, 8))).toBe("unharmed");
  });

  test("a file that is not a socket is left alone", async () => {
    const path = join(folder(), "data");
    writeFileSync(path, "precious");
    const error = await failure(open({ path }));
    expect(error.message).toBe(
      `Cannot listen on ${path}: the file is not a socket; remove it or choose another path`,
    );
    expect(statSync(path).size).toBe(8);
  });

  test("a directory that does not exist is said so", async () => {
    const path = join(folder(), "none", "app.sock");
    const error = await failure(open({ path }));
    expect(error.message).toBe(`Cannot listen on ${path}: its directory does not exist`);
  });

  // To root every directory is writable.
  if (process.getuid?.() !== 0) {
    test("a directory that is not writable is said so", async () => {
      const dir = folder();
      chmodSync(dir, 0o555);
      const error = await failure(open({ path: join(dir, "app.sock") }));
      expect(error.message).toMatch(/permission denied; the directory must be writable$/);
      expect(error.code).toBe("EACCES");
    });
  }

  test("a path that no socket can have is said so", async () => {
    const path = join(folder(), "x".repeat(120));
    const error = await failure(open({ path }));
    expect(error.message).toMatch(/: the path of a unix socket has at most \d+ bytes$/);
  });

  test.runIf(process.platform === "linux")("an abstract name needs no file", async () => {
    const { transport, peer } = await pair({ path: `\0isthmus-${process.pid}-${runtime}`, mode: 0o600 });
    peer.write("hello");
    expect(text(await readBytes(transport, 5))).toBe("hello");
  });
});

describe.runIf(hasPerl())("Listener on an inherited descriptor", () => {
  test("TCP", async () => {
    const { addr, stop } = await inherit("tcp");
    expect(addr).toEqual({ transport: "tcp", hostname: "127.0.0.1", port: expect.any(Number) });
    await expectEcho(addr);
    await stop();
  });

  test("a unix socket", async () => {
    const path = join(folder(), "inherited.sock");
    const { addr, stop } = await inherit(path);
    expect(addr.transport).toBe("unix");
    expect(["", path]).toContain((addr as { path: string }).path);
    await expectEcho({ transport: "unix", path });
    await stop();
  });
});

describe("Listener on a wrong descriptor", () => {
  test("a file is said not to be a listening socket", async () => {
    const fd = openSync(fileURLToPath(import.meta.url), "r");
    cleanups.push(() => closeSync(fd));
    const error = await failure(open({ fd }));
    expect(error.message).toMatch(
      new RegExp(`^Cannot listen on file descriptor ${fd}: it is not a listening socket; let the process`),
    );
  });

  test("a descriptor that is not open is said not to be a listening socket", async () => {
    const error = await failure(open({ fd: 987 }));
    expect(error.message).toMatch(/^Cannot listen on file descriptor 987: it is not a listening socket/);
  });
});

async function expectEcho(addr: Addr): Promise<void> {
  const sent = pattern(3 * MIB);
  const all = Array.from({ length: 5 }, async () => {
    const peer = await connected(addr);
    const received = receiveAll(peer);
    peer.end(sent);
    expect(sha(await received)).toBe(sha(sent));
  });
  await Promise.all(all);
}

function hasPerl(): boolean {
  return process.platform !== "win32" && spawnSync("perl", ["-MSocket", "-MPOSIX", "-e", "1"]).status === 0;
}

/** Makes a socket file as a process that was killed leaves it. */
function leaveSocket(path: string): void {
  const script = "socket(S, PF_UNIX, SOCK_STREAM, 0) or die; bind(S, pack_sockaddr_un($ARGV[0])) or die";
  const { status, stderr } = spawnSync("perl", ["-MSocket", "-e", script, path], { encoding: "utf8" });
  if (status !== 0) throw new Error(`Cannot make a stale socket: ${stderr}`);
}

/** Starts an echo server of this runtime that gets its listening socket as descriptor 3. */
async function inherit(where: string): Promise<{ addr: Addr; stop: () => Promise<void> }> {
  // perl makes the socket and then becomes the runtime, as a service manager would.
  const script = `my $where = shift @ARGV;
    if ($where eq "tcp") {
      socket(S, PF_INET, SOCK_STREAM, 0) or die;
      bind(S, pack_sockaddr_in(0, inet_aton("127.0.0.1"))) or die;
    } else {
      socket(S, PF_UNIX, SOCK_STREAM, 0) or die;
      bind(S, pack_sockaddr_un($where)) or die;
    }
    listen(S, 511) or die;
    POSIX::dup2(fileno(S), 3) or die;
    $^F = 3;
    if (fileno(S) == 3) { use Fcntl; fcntl(S, F_SETFD, 0) or die; } else { close(S); }
    exec(@ARGV) or die;`;
  const program = fileURLToPath(new URL("../support/serve_fd.ts", import.meta.url));
  const before = { node: ["--import", "tsx"], deno: ["run", "-A"], bun: [] }[runtime];
  const child = spawn("perl", ["-MSocket", "-MPOSIX", "-e", script, where, process.execPath, ...before, program, "3"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanups.push(() => child.kill("SIGKILL"));
  const line = await firstLine(child);
  return {
    addr: JSON.parse(line) as Addr,
    async stop() {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout!.on("data", (chunk) => {
      output += chunk;
      const end = output.indexOf("\n");
      if (end >= 0) resolve(output.slice(0, end));
    });
    child.once("exit", (code) => reject(new Error(`it exited with ${code}`)));
    child.once("error", reject);
  });
}
