// A small AJP13 web server's side over node:net, for tests against real sockets on any runtime. It is strict: what no
// real web server would take from a container makes it throw.
import type { Socket } from "node:net";
import * as codec from "../../src/ajp/codec.ts";
import * as wire from "../../src/ajp/constants.ts";
import { ByteQueue } from "../../src/bytes/byte_queue.ts";
import type { Addr } from "../../src/types.ts";
import { forwardPacket, forwardRequest } from "./ajp.ts";
import { utf8, written } from "./hex.ts";
import { client, concat } from "./sockets.ts";

/** A request as a test writes it. */
export interface AjpRequest extends Partial<codec.ForwardRequest> {
  /** Added as Content-Length, if it has none by hand; `"chunked"` is Transfer-Encoding, `"unknown"` neither. */
  length?: number | "chunked" | "unknown";
}

/** Pieces of a request body; each goes out as one packet. */
export type AjpBody = string | Uint8Array | (string | Uint8Array)[];

/** What came back for one request. */
export interface AjpResponse {
  status: number;
  reason: string;
  headers: codec.NameValue[];
  /** The value of the only header with this name. */
  header(name: string): string | undefined;
  /** All values of a header. */
  all(name: string): string[];
  body: Uint8Array;
  text: string;
  /** Of End Response; undefined where the connection ended without one. */
  reuse: boolean | undefined;
  /** Lengths of the body chunks. */
  chunks: number[];
  flushes: number;
  /** What each Get Body Chunk asked for. */
  asked: number[];
  /** Types of the packets in their order. */
  packets: string[];
}

const RESPONSE_CODES = new Set(wire.RESPONSE_HEADERS.filter((name) => name !== ""));

/** One connection to a container. */
export class AjpClient {
  readonly socket: Socket;
  readonly packetSize: number;
  readonly #input = new ByteQueue();
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #closed: Promise<void>;
  /** What is left of the body of the request under way. */
  #body: Uint8Array[] = [];

  constructor(socket: Socket, packetSize: number) {
    this.socket = socket;
    this.packetSize = packetSize;
    const notice = () => {
      this.#wake?.();
      this.#wake = undefined;
    };
    socket.on("data", (chunk: Uint8Array) => {
      // A copy that is no Buffer, for `expect`.
      this.#input.push(Uint8Array.from(chunk));
      notice();
    });
    const end = () => {
      this.#ended = true;
      notice();
    };
    this.#closed = new Promise((resolve) => {
      socket.once("end", resolve);
      socket.once("close", () => resolve());
    });
    socket.on("end", end);
    socket.on("close", end);
  }

  static async open(addr: Addr, packetSize: number = wire.DEFAULT_PACKET_SIZE): Promise<AjpClient> {
    return new AjpClient(await client(addr), packetSize);
  }

  /** Sends bytes as they are. */
  write(...bytes: Uint8Array[]): void {
    this.socket.write(concat(bytes));
  }

  /** Sends a Forward Request, and the first packet of its body if that is of known length, in one write. */
  send(request: AjpRequest = {}, body: AjpBody = []): void {
    const pieces = (Array.isArray(body) ? body : [body]).map((piece) =>
      typeof piece === "string" ? utf8(piece) : piece
    );
    this.#body = pieces;
    const { length = pieces.reduce((total, piece) => total + piece.length, 0), ...more } = request;
    const headers = [...(request.headers ?? [])];
    const has = (name: string) => headers.some(([other]) => other.toLowerCase() === name);
    if (length === "chunked") headers.push(["transfer-encoding", "chunked"]);
    else if (length !== "unknown" && length > 0 && !has("content-length")) {
      headers.push(["content-length", String(length)]);
    }
    const packets: Uint8Array[] = [forwardPacket({ ...more, headers }, this.packetSize)];
    if (typeof length === "number" && length > 0 && pieces.length > 0) packets.push(this.#nextData(this.packetSize));
    this.write(...packets);
  }

  /** Sends a data packet. */
  sendData(data: string | Uint8Array): void {
    this.write(dataPacket(data));
  }

  /** Sends the end of the body, in httpd's spelling. */
  sendEnd(): void {
    this.sendData("");
  }

  /** The next packet, or null once the container has sent its last. */
  async nextPacket(): Promise<codec.ContainerPacket | null> {
    const input = this.#input;
    while (input.length < 4 || input.length < 4 + ((input.peek(2) << 8) | input.peek(3))) {
      if (this.#ended) {
        if (input.length > 0) throw new Error(`The last packet is cut off: ${input.length} bytes of it`);
        return null;
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const header = input.take(4);
    if (header[0] !== 0x41 || header[1] !== 0x42) throw new Error(`bad signature ${header[0]} ${header[1]}`);
    const length = (header[2]! << 8) | header[3]!;
    if (length + 4 > this.packetSize) throw new Error(`A packet of ${length + 4} bytes is too big`);
    const payload = input.take(length);
    const packet = codec.decodeContainerPacket(payload);
    if (packet.type === "SendBodyChunk" && (packet.data.length !== length - 4 || payload[length - 1] !== 0)) {
      throw new Error("mod_proxy_ajp takes no body chunk without exactly one 0 after it");
    }
    if (packet.type === "SendHeaders") checkHeaders(packet, payload);
    if (packet.type === "GetBodyChunk" && (packet.length === 0 || packet.length === 0xffff)) {
      throw new Error(`mod_jk does not take a Get Body Chunk of ${packet.length}`);
    }
    return packet;
  }

  /** Sends CPing and expects CPong and nothing else. */
  async cping(): Promise<void> {
    this.write(CPING);
    const packet = await this.nextPacket();
    if (packet?.type !== "CPong") throw new Error(`Got ${packet?.type ?? "the end"} instead of a CPong`);
  }

  /** The rest of the packets of one response, whose Get Body Chunks are answered. */
  async readResponse(): Promise<AjpResponse> {
    const packets: codec.ContainerPacket[] = [];
    for (;;) {
      const packet = await this.nextPacket();
      if (packet === null) break;
      packets.push(packet);
      if (packet.type === "GetBodyChunk") this.write(this.#nextData(packet.length + wire.DATA_OVERHEAD));
      if (packet.type === "EndResponse") break;
    }
    return toResponse(packets);
  }

  /** Sends a request and reads its response. */
  async fetch(request: AjpRequest = {}, body: AjpBody = []): Promise<AjpResponse> {
    this.send(request, body);
    return await this.readResponse();
  }

  /** Resolves when the container has sent its last, by FIN or by a reset. What it sent may still have to be read. */
  closed(): Promise<void> {
    return this.#closed;
  }

  /** Bytes that have arrived and that nobody has read. */
  get unread(): number {
    return this.#input.length;
  }

  /** Stops reading from the socket. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends the connection as a web server does whose client went away. */
  close(): void {
    this.socket.destroy();
  }

  #nextData(packetSize: number): Uint8Array {
    const piece = this.#body.shift();
    if (piece === undefined) return dataPacket("");
    const most = Math.min(packetSize, this.packetSize) - wire.DATA_OVERHEAD;
    if (piece.length > most) this.#body.unshift(piece.subarray(most));
    return dataPacket(piece.subarray(0, most));
  }
}

export const CPING: Uint8Array = written(codec.encodeCPing);

/** A data packet; an empty one is the end of a body. */
export function dataPacket(data: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return written((writer) => codec.encodeData(writer, typeof data === "string" ? utf8(data) : data));
}

export { forwardPacket, forwardRequest };

/** What every real web server insists on in a Send Headers. */
function checkHeaders(packet: codec.ContainerPacket & { type: "SendHeaders" }, payload: Uint8Array): void {
  if (packet.status < 200 || packet.status > 599) throw new Error(`Status ${packet.status} cannot be passed on`);
  if (packet.reason === "") throw new Error("mod_jk takes no empty reason");
  for (const [name, value] of packet.headers) {
    // deno-lint-ignore no-control-regex
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value) || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      throw new Error(`Header ${JSON.stringify(name)} cannot be passed on: ${JSON.stringify(value)}`);
    }
  }
  // The names that have a code are sent as it.
  const rewritten = written((writer) =>
    codec.encodeSendHeaders(writer, packet.status, packet.reason, packet.headers, wire.MAX_PACKET_SIZE)
  );
  if (packet.headers.some(([name]) => RESPONSE_CODES.has(name)) && rewritten.length !== payload.length + 4) {
    throw new Error("A header name that has a code is spelled out");
  }
}

function toResponse(packets: codec.ContainerPacket[]): AjpResponse {
  const body: Uint8Array[] = [];
  const asked: number[] = [];
  let head: (codec.ContainerPacket & { type: "SendHeaders" }) | undefined;
  let reuse: boolean | undefined;
  let flushes = 0;
  let flushed = false;
  for (const packet of packets) {
    switch (packet.type) {
      case "SendHeaders":
        if (head !== undefined) throw new Error("A second Send Headers");
        head = packet;
        break;
      case "SendBodyChunk":
        if (head === undefined) throw new Error("A body chunk before Send Headers");
        if (packet.data.length > 0) {
          body.push(packet.data);
        } else {
          if (flushed) throw new Error("Two flush packets in a row");
          flushes++;
        }
        flushed = packet.data.length === 0;
        break;
      case "GetBodyChunk":
        asked.push(packet.length);
        break;
      case "EndResponse":
        if (head === undefined) throw new Error("End Response before Send Headers");
        reuse = packet.reuse;
        break;
      case "CPong":
        throw new Error("A CPong within a response");
    }
  }
  const headers = head?.headers ?? [];
  const bytes = concat(body);
  const all = (name: string) => headers.filter(([other]) => other === name).map(([, value]) => value);
  return {
    status: head?.status ?? 0,
    reason: head?.reason ?? "",
    headers,
    header: (name) => {
      const values = all(name);
      if (values.length > 1) throw new Error(`${values.length} headers ${name}`);
      return values[0];
    },
    all,
    body: bytes,
    text: new TextDecoder().decode(bytes),
    reuse,
    chunks: body.map((chunk) => chunk.length),
    flushes,
    asked,
    packets: packets.map((packet) =>
      packet.type === "SendBodyChunk" && packet.data.length === 0 ? "Flush" : packet.type
    ),
  };
}
