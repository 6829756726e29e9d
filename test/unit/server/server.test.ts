// What of a listening server can be seen only with a listener or a transport that misbehaves.
import { expect, test, vi } from "vitest";
import { bindServe } from "../../../src/server/server.ts";
import { serveConnection } from "../../../src/server/serve_connection.ts";
import type { Addr, Listen, Transport } from "../../../src/types.ts";

const TCP: Addr = { transport: "tcp", hostname: "127.0.0.1", port: 9000 };

function transport(peerAddr: Addr | undefined, more: Partial<Transport> = {}): Transport {
  return {
    peerAddr,
    read: () => Promise.resolve(null),
    write: () => undefined,
    closeWrite: () => Promise.resolve(),
    close: vi.fn(),
    ...more,
  };
}

async function refused(addr: Addr, peerAddr: Addr | undefined): Promise<number> {
  let accept!: (transport: Transport) => void;
  const listen: Listen = (_options, onConnection) => {
    accept = onConnection;
    return Promise.resolve({ addr, close: () => Promise.resolve(), ref() {}, unref() {} });
  };
  const server = bindServe("fastcgi", listen)({ allowedAddresses: ["127.0.0.9"] }, () => new Response());
  await server.ready;
  accept(transport(peerAddr));
  const { refusedConnections } = server.stats;
  await server.shutdown();
  return refusedConnections;
}

test("allowedAddresses lets in those that are named, and over TCP nobody whose address is not known", async () => {
  expect(await refused(TCP, { ...TCP, hostname: "127.0.0.9" })).toBe(0);
  expect(await refused(TCP, { ...TCP, hostname: "::ffff:127.0.0.9" })).toBe(0);
  expect(await refused(TCP, { ...TCP, hostname: "127.0.0.1" })).toBe(1);
  // As of a connection that was reset before it was accepted.
  expect(await refused(TCP, undefined)).toBe(1);
  expect(await refused({ transport: "unix", path: "/run/app.sock" }, undefined)).toBe(0);
});

test("a transport whose closeWrite rejects is closed all the same", async () => {
  const broken = transport(undefined, {
    read: () => new Promise(() => {}),
    closeWrite: () => Promise.reject(new Error("gone")),
  });
  serveConnection(broken, { protocol: "ajp" }, () => new Response()).shutdown();
  await vi.waitFor(() => expect(broken.close).toHaveBeenCalledOnce());
});

test("one byte now and then does not keep a connection that has been answered for good", async () => {
  vi.useFakeTimers();
  try {
    let first = true;
    const slow = transport(undefined, {
      read() {
        // A packet that is too long is a 400, after which what comes is thrown away.
        if (first) return Promise.resolve(Uint8Array.of(0x12, 0x34, 0xff, 0xff, Number(first = false)));
        return new Promise((resolve) => setTimeout(() => resolve(new Uint8Array(1)), 1500));
      },
    });
    const logger = { error() {}, warn() {} };
    serveConnection(slow, { protocol: "ajp", logger }, () => new Response());
    await vi.advanceTimersByTimeAsync(20_000);
    expect(slow.close).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(slow.close).toHaveBeenCalledOnce();
  } finally {
    vi.useRealTimers();
  }
});
