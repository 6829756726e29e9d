import { expect, test } from "vitest";
import { webStreamsTransport } from "../../../src/transport/web_streams.ts";
import type { Transport } from "../../../src/types.ts";
import { latin1, toHex } from "../../support/hex.ts";

/** A transport and the far ends of its streams. */
function pair(highWaterMark = 1): {
  transport: Transport;
  input: WritableStreamDefaultWriter<Uint8Array>;
  output: ReadableStreamDefaultReader<Uint8Array>;
} {
  const incoming = new TransformStream<Uint8Array, Uint8Array>();
  const outgoing = new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark }, { highWaterMark: 0 });
  return {
    transport: webStreamsTransport({ readable: incoming.readable, writable: outgoing.writable }),
    input: incoming.writable.getWriter(),
    output: outgoing.readable.getReader(),
  };
}

test("webStreamsTransport reads what comes, leaves out empty chunks, and ends with null", async () => {
  const { transport, input } = pair();
  const feed = (async () => {
    await input.write(latin1("ab"));
    await input.write(new Uint8Array(0));
    await input.write(latin1("c"));
    await input.close();
  })();
  expect(toHex((await transport.read())!)).toBe("6162");
  expect(toHex((await transport.read())!)).toBe("63");
  expect(await transport.read()).toBeNull();
  expect(await transport.read()).toBeNull();
  await feed;
});

test("webStreamsTransport.read rejects when the stream breaks", async () => {
  const { transport, input } = pair();
  input.abort(new Error("reset")).catch(() => {});
  await expect(transport.read()).rejects.toThrow("reset");
});

test("webStreamsTransport.write sends the chunks in order and as they are", async () => {
  const { transport, output } = pair(10);
  const chunks = ["a", "b", "c"].map(latin1);
  expect(transport.write(chunks)).toBeUndefined();
  for (const chunk of chunks) expect((await output.read()).value).toBe(chunk);
});

test("webStreamsTransport.write waits while the other end does not read", async () => {
  const { transport, output } = pair(1);
  let free = false;
  const blocked = transport.write([latin1("a"), latin1("b")])!;
  expect(blocked).toBeInstanceOf(Promise);
  blocked.then(() => free = true);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(free).toBe(false);
  await output.read();
  await output.read();
  await blocked;
  expect(free).toBe(true);
});

test("webStreamsTransport.write rejects when the stream breaks", async () => {
  const { transport, output } = pair(1);
  const blocked = transport.write([latin1("a"), latin1("b")])!;
  output.cancel(new Error("gone")).catch(() => {});
  await expect(blocked).rejects.toThrow("gone");
  // Whatever is written later must be an end and not an unhandled rejection.
  const later = transport.write([latin1("c")]);
  await expect(later).rejects.toThrow("gone");
});

test("webStreamsTransport.closeWrite sends what was written and then the end, and reading goes on", async () => {
  const { transport, input, output } = pair(10);
  transport.write([latin1("a")]);
  const closed = transport.closeWrite();
  expect(toHex((await output.read()).value!)).toBe("61");
  expect((await output.read()).done).toBe(true);
  await closed;
  const fed = input.write(latin1("late"));
  expect(toHex((await transport.read())!)).toBe(toHex(latin1("late")));
  await fed;
});

test("webStreamsTransport.closeWrite never rejects", async () => {
  const { transport, output } = pair();
  await output.cancel(new Error("gone")).catch(() => {});
  await transport.closeWrite();
  await transport.closeWrite();
});

test("webStreamsTransport.close drops both directions, and may be called again", async () => {
  const { transport, input, output } = pair();
  const read = transport.read();
  transport.close();
  transport.close();
  expect(await read).toBeNull();
  await expect(output.read()).rejects.toBeUndefined();
  await expect(input.closed).rejects.toBeUndefined();
});

test("webStreamsTransport says the peer that it is told", () => {
  const streams = new TransformStream<Uint8Array, Uint8Array>();
  expect(webStreamsTransport(streams).peerAddr).toBeUndefined();
  const addr = { transport: "tcp", hostname: "10.0.0.1", port: 1 } as const;
  expect(webStreamsTransport(new TransformStream<Uint8Array, Uint8Array>(), addr).peerAddr).toBe(addr);
});
