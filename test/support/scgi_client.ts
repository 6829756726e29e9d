// A web server's side of SCGI for tests: sends what it is told to, whole or in pieces, and takes the answer apart.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { encodeHeaders } from "../../src/scgi/codec.ts";
import type { Addr } from "../../src/types.ts";
import { latin1, utf8, written } from "./hex.ts";
import { concat } from "./sockets.ts";

export type Variables = Record<string, string>;

/** The variables that any web server sends but for the first two, and what `more` says. */
export function variables(more: Variables = {}): Variables {
  return {
    SERVER_PROTOCOL: "HTTP/1.1",
    SERVER_SOFTWARE: "test",
    SERVER_NAME: "www.example.com",
    SERVER_PORT: "80",
    REMOTE_ADDR: "203.0.113.9",
    REMOTE_PORT: "40000",
    REQUEST_METHOD: "GET",
    REQUEST_URI: "/",
    QUERY_STRING: "",
    HTTP_HOST: "www.example.com",
    ...more,
  };
}

/** The netstring of these headers and no others. */
export function netstring(...headers: [name: string, value: string][]): Uint8Array<ArrayBuffer> {
  const block = headers.map(([name, value]) => `${name}\0${value}\0`).join("");
  return latin1(`${block.length}:${block},`);
}

/** The head of a request as web servers send it: CONTENT_LENGTH first, then SCGI, then `more` over the usual ones. */
export function scgiHead(contentLength: number | string, more: Variables = {}): Uint8Array<ArrayBuffer> {
  return written((writer) =>
    encodeHeaders(writer, [
      ["CONTENT_LENGTH", String(contentLength)],
      ["SCGI", "1"],
      ...Object.entries(variables(more)),
    ])
  );
}

/** A whole request. CONTENT_LENGTH is that of the body. */
export function scgiRequest(more: Variables = {}, body: Uint8Array | string = ""): Uint8Array<ArrayBuffer> {
  const bytes = typeof body === "string" ? utf8(body) : body;
  return concat([scgiHead(bytes.length, more), bytes]) as Uint8Array<ArrayBuffer>;
}

/** A response as the web server sees it. */
export interface CgiResponse {
  /** 0 where nothing came. */
  status: number;
  reason: string;
  /** In their order, Status left out. */
  headers: [string, string][];
  body: Uint8Array<ArrayBuffer>;
  text: string;
}

/** Takes apart what an application sent. */
export function readCgiResponse(bytes: Uint8Array): CgiResponse {
  if (bytes.length === 0) return { status: 0, reason: "", headers: [], body: new Uint8Array(0), text: "" };
  // A character for each byte, so that positions are those of the bytes.
  const text = Array.from(bytes.subarray(0, 200_000), (byte) => String.fromCharCode(byte)).join("");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) throw new Error(`No end of the head in ${JSON.stringify(text.slice(0, 300))}`);
  const [first, ...lines] = text.slice(0, end).split("\r\n");
  const status = /^Status: (\d{3}) ([^\r\n]+)$/.exec(first!);
  if (status === null) throw new Error(`The head begins with ${JSON.stringify(first)}`);
  const body = bytes.slice(end + 4) as Uint8Array<ArrayBuffer>;
  return {
    status: Number(status[1]),
    reason: status[2]!,
    headers: lines.map((line) => {
      const field = /^([^:\s]+): ([^\r\n]*)$/.exec(line);
      if (field === null) throw new Error(`Not a header: ${JSON.stringify(line)}`);
      return [field[1]!, field[2]!];
    }),
    body,
    text: new TextDecoder().decode(body),
  };
}

/** The values of a header, whose name may be in any case. */
export function header(response: CgiResponse, name: string): string | undefined {
  const values = response.headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(" | ");
}

/** One connection, and so one request. */
export class ScgiClient {
  readonly socket: Socket;
  /** Resolves with FIN, or with whatever ended the connection. */
  readonly ended: Promise<void>;
  /** Resolves once the connection is closed both ways, with the code of its error if it had one. */
  readonly #closed: Promise<string | undefined>;
  readonly #chunks: Uint8Array[] = [];
  #over = false;
  #arrived: (() => void) | undefined;
  bytesReceived = 0;

  /** Connects, half-open allowed. */
  static async open(addr: Addr): Promise<ScgiClient> {
    const target = addr.transport === "tcp" ? { host: addr.hostname, port: addr.port } : { path: addr.path };
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const client = new ScgiClient(socket);
    await once(socket, "connect");
    return client;
  }

  constructor(socket: Socket) {
    this.socket = socket;
    this.#closed = new Promise((resolve) => {
      let code: string | undefined;
      socket.on("error", (error) => code = (error as { code?: string }).code ?? error.message);
      socket.once("close", () => resolve(code));
    });
    this.ended = new Promise((resolve) => {
      socket.once("end", resolve);
      socket.once("close", () => resolve());
    });
    socket.on("data", (chunk: Uint8Array) => {
      // Plain arrays, not Buffers, as those compare by their class too.
      this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
      this.bytesReceived += chunk.length;
      this.#arrived?.();
    });
    const onOver = () => {
      this.#over = true;
      this.#arrived?.();
    };
    socket.once("end", onOver);
    socket.once("close", onOver);
  }

  send(...chunks: (Uint8Array | string)[]): this {
    for (const chunk of chunks) this.socket.write(typeof chunk === "string" ? utf8(chunk) : chunk);
    return this;
  }

  /** A whole request. */
  request(more: Variables = {}, body: Uint8Array | string = ""): this {
    return this.send(scgiRequest(more, body));
  }

  /** A whole request and its response. */
  fetch(more: Variables = {}, body: Uint8Array | string = ""): Promise<CgiResponse> {
    return this.request(more, body).response();
  }

  /** The response, which ends with the connection; then closes it as a web server does. */
  async response(): Promise<CgiResponse> {
    await this.ended;
    this.socket.destroy();
    return readCgiResponse(this.received);
  }

  /** All that has come so far. */
  get received(): Uint8Array {
    return concat(this.#chunks);
  }

  /** The same as text, once it has all of `wanted`; rejects when the connection ends before. */
  async until(wanted: string): Promise<string> {
    for (;;) {
      const text = new TextDecoder().decode(this.received);
      if (text.includes(wanted)) return text;
      if (this.#over) throw new Error(`The connection ended before ${JSON.stringify(wanted)} came, with ${text}`);
      await new Promise<void>((resolve) => this.#arrived = resolve);
    }
  }

  /** Closes once the application has, and resolves with the code of the connection's error if it had one. */
  async closed(): Promise<string | undefined> {
    await this.ended;
    this.socket.destroy();
    return await this.#closed;
  }

  /** Closes the connection. */
  close(): void {
    this.socket.destroy();
  }
}
