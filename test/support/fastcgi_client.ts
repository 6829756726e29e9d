// A web server's side of FastCGI for tests: sends what it is told to, in any order, and takes what comes apart.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import * as codec from "../../src/fastcgi/codec.ts";
import * as wire from "../../src/fastcgi/constants.ts";
import { decodeNameValuePairs } from "../../src/fastcgi/name_value.ts";
import type { Addr } from "../../src/types.ts";
import { begin, pairs, type ReadRecord, record } from "./fastcgi.ts";
import { splitAt, utf8, written } from "./hex.ts";
import { concat } from "./sockets.ts";

export type Variables = Record<string, string>;

/** The variables that any web server sends, and what `more` says. */
export function variables(more: Variables = {}): Variables {
  return {
    GATEWAY_INTERFACE: "CGI/1.1",
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

/** A response as the web server sees it. */
export interface CgiResponse {
  status: number;
  reason: string;
  /** In their order, Status left out. */
  headers: [string, string][];
  body: Uint8Array<ArrayBuffer>;
  text: string;
  stderr: string;
  /** Of END_REQUEST; undefined where there was none. */
  appStatus: number | undefined;
  protocolStatus: number | undefined;
}

/** Takes apart what was sent for one request. */
export function readResponse(records: ReadRecord[]): CgiResponse {
  const stdout = content(records, wire.STDOUT);
  const end = records.find(({ type }) => type === wire.END_REQUEST);
  const { appStatus, protocolStatus } = end === undefined
    ? { appStatus: undefined, protocolStatus: undefined }
    : codec.decodeEndRequest(end.content);
  const response: CgiResponse = {
    status: 0,
    reason: "",
    headers: [],
    body: new Uint8Array(0),
    text: "",
    stderr: new TextDecoder().decode(content(records, wire.STDERR)),
    appStatus,
    protocolStatus,
  };
  if (stdout.length === 0) return response;
  const head = readHead(stdout);
  Object.assign(response, head);
  response.text = new TextDecoder().decode(response.body);
  return response;
}

/** The values of a header, whose name may be in any case. */
export function header(response: CgiResponse, name: string): string | undefined {
  const values = response.headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(" | ");
}

function readHead(stdout: Uint8Array): Pick<CgiResponse, "status" | "reason" | "headers" | "body"> {
  // A character for each byte, so that positions are those of the bytes.
  const text = Array.from(stdout.subarray(0, 200_000), (byte) => String.fromCharCode(byte)).join("");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) throw new Error(`No end of the head in ${JSON.stringify(text.slice(0, 300))}`);
  const [first, ...lines] = text.slice(0, end).split("\r\n");
  const status = /^Status: (\d{3}) ([^\r\n]+)$/.exec(first!);
  if (status === null) throw new Error(`The head begins with ${JSON.stringify(first)}`);
  return {
    status: Number(status[1]),
    reason: status[2]!,
    headers: lines.map((line) => {
      const field = /^([^:\s]+): ([^\r\n]*)$/.exec(line);
      if (field === null) throw new Error(`Not a header: ${JSON.stringify(line)}`);
      return [field[1]!, field[2]!];
    }),
    body: stdout.slice(end + 4) as Uint8Array<ArrayBuffer>,
  };
}

function content(records: ReadRecord[], type: number): Uint8Array {
  return concat(records.filter((record) => record.type === type).map(({ content }) => content));
}

/** One connection to an application. */
export class FastCgiClient {
  readonly socket: Socket;
  /** Resolves with FIN, or with whatever ended the connection. */
  readonly ended: Promise<void>;
  readonly #closed: Promise<string | undefined>;
  readonly #records: ReadRecord[] = [];
  #received: Uint8Array = new Uint8Array(0);
  #over = false;
  #arrived: (() => void) | undefined;
  /** Everything that came so far. */
  bytesReceived = 0;
  /** Records of no version, which break a response off. */
  brokenEnds = 0;

  /** Connects, half-open allowed. */
  static async open(addr: Addr): Promise<FastCgiClient> {
    const target = addr.transport === "tcp" ? { host: addr.hostname, port: addr.port } : { path: addr.path };
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const client = new FastCgiClient(socket);
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
    socket.on("data", (chunk: Uint8Array) => this.#take(chunk));
    const onOver = () => {
      this.#over = true;
      this.#arrived?.();
    };
    socket.once("end", onOver);
    socket.once("close", onOver);
  }

  /** Sends any bytes. */
  send(...bytes: Uint8Array[]): this {
    if (!this.socket.destroyed) this.socket.write(concat(bytes));
    return this;
  }

  begin(id: number, { role = wire.ROLE_RESPONDER, keepConn = true } = {}): this {
    return this.send(begin(id, keepConn, role));
  }

  /** Sends variables, or raw bytes, and the end of PARAMS; a record begins at each of `splits`. */
  params(id: number, content: Variables | Uint8Array, splits: number[] = []): this {
    const bytes = content instanceof Uint8Array ? content : pairs(content);
    for (const part of splitAt(bytes, splits)) {
      this.send(written((writer) => codec.encodeStream(writer, wire.PARAMS, id, part)));
    }
    return this.send(record(wire.PARAMS, id));
  }

  stdin(id: number, body: Uint8Array | string): this {
    const bytes = typeof body === "string" ? utf8(body) : body;
    return this.send(written((writer) => codec.encodeStream(writer, wire.STDIN, id, bytes)));
  }

  stdinEnd(id: number): this {
    return this.send(record(wire.STDIN, id));
  }

  /** The file of a filter. */
  data(id: number, file: Uint8Array | string): this {
    const bytes = typeof file === "string" ? utf8(file) : file;
    return this.send(written((writer) => codec.encodeStream(writer, wire.DATA, id, bytes)));
  }

  dataEnd(id: number): this {
    return this.send(record(wire.DATA, id));
  }

  abort(id: number): this {
    return this.send(written((writer) => codec.encodeAbortRequest(writer, id)));
  }

  /** A whole request. CONTENT_LENGTH is that of the body unless the variables say another. */
  request(id: number, more: Variables = {}, body: Uint8Array | string = "", keepConn = true): this {
    const bytes = typeof body === "string" ? utf8(body) : body;
    const length: Variables = bytes.length > 0 ? { CONTENT_LENGTH: String(bytes.length) } : {};
    return this.begin(id, { keepConn }).params(id, variables({ ...length, ...more })).stdin(id, bytes).stdinEnd(id);
  }

  /** A whole request and its response. */
  fetch(id: number, more: Variables = {}, body: Uint8Array | string = "", keepConn = true): Promise<CgiResponse> {
    this.request(id, more, body, keepConn);
    return this.response(id);
  }

  /** Asks for values and returns the answer. */
  async getValues(...names: string[]): Promise<Variables> {
    const asked = Object.fromEntries(names.map((name) => [name, ""]));
    this.send(record(wire.GET_VALUES, wire.MANAGEMENT_ID, pairs(asked)));
    const { content } = await this.record(({ type }) => type === wire.GET_VALUES_RESULT);
    return Object.fromEntries(decodeNameValuePairs(content));
  }

  /** The first record that fits and has not been taken; rejects when the connection ends without one. */
  async record(fits: (record: ReadRecord) => boolean = () => true): Promise<ReadRecord> {
    for (;;) {
      const found = this.#records.findIndex(fits);
      if (found >= 0) return this.#records.splice(found, 1)[0]!;
      if (this.#over) throw new Error("The connection ended before the record came");
      await this.#arrival();
    }
  }

  /** The next content of a request's STDOUT as text. */
  async stdout(id: number): Promise<string> {
    const { content } = await this.record(({ type, requestId }) => type === wire.STDOUT && requestId === id);
    return new TextDecoder().decode(content);
  }

  /** The whole response to a request, up to its END_REQUEST. */
  async response(id: number): Promise<CgiResponse> {
    const records: ReadRecord[] = [];
    do {
      records.push(await this.record(({ requestId }) => requestId === id));
    } while (records.at(-1)!.type !== wire.END_REQUEST);
    return readResponse(records);
  }

  /** What came for a request until the connection ended. */
  async rest(id: number): Promise<CgiResponse> {
    await this.ended;
    return readResponse(this.#records.filter(({ requestId }) => requestId === id));
  }

  /** Records that have come and not been taken. */
  get untaken(): readonly ReadRecord[] {
    return this.#records;
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

  #arrival(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#arrived;
      this.#arrived = () => {
        before?.();
        resolve();
      };
    });
  }

  #take(chunk: Uint8Array): void {
    this.bytesReceived += chunk.length;
    // Plain arrays, not Buffers, as those compare by their class too.
    const plain = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    const bytes = this.#received.length === 0 ? plain : concat([this.#received, plain]);
    let at = 0;
    while (bytes.length - at >= wire.RECORD_HEADER_LENGTH) {
      if (bytes[at] === 0) {
        // A web server gives up here, as does this one.
        this.brokenEnds++;
        at = bytes.length;
        break;
      }
      const head = codec.decodeRecordHeader(bytes.subarray(at, at + wire.RECORD_HEADER_LENGTH));
      const start = at + wire.RECORD_HEADER_LENGTH;
      const end = start + head.contentLength;
      if (end + head.paddingLength > bytes.length) break;
      this.#records.push({ ...head, content: bytes.subarray(start, end) });
      at = end + head.paddingLength;
    }
    this.#received = bytes.subarray(at);
    const arrived = this.#arrived;
    this.#arrived = undefined;
    arrived?.();
  }
}
