import type { Addr, Transport } from "../types.ts";

/** A connection as a pair of streams, such as `Deno.Conn`, a WebTransport stream or two pipes. */
export interface DuplexStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * Makes a Transport of any `{ readable, writable }` pair.
 *
 * @param peerAddr what `info.peerAddr` is to say
 */
export function webStreamsTransport(streams: DuplexStreams, peerAddr?: Addr): Transport {
  const reader = streams.readable.getReader();
  const writer = streams.writable.getWriter();
  let closed = false;
  return {
    peerAddr,
    async read(): Promise<Uint8Array | null> {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        if (value.length > 0) return value;
      }
    },
    write(chunks: Uint8Array[]): Promise<void> | undefined {
      for (const chunk of chunks) writer.write(chunk).catch(ignore); // what went wrong is told by `ready`
      return (writer.desiredSize ?? 0) > 0 ? undefined : writer.ready;
    },
    async closeWrite(): Promise<void> {
      await writer.close().catch(ignore);
    },
    close(): void {
      if (closed) return;
      closed = true;
      reader.cancel().catch(ignore);
      writer.abort().catch(ignore);
    },
  };
}

function ignore(): void {
  // The connection is over; whoever waits for it is told by the read or write that is under way.
}
