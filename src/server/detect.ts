/**
 * One port for several protocols: a machine that looks at the first bytes of a connection and hands everything to the
 * machine of the protocol that begins so. The table of protocols says how each begins.
 *
 * | first bytes          | then                                                                        |
 * |----------------------|-----------------------------------------------------------------------------|
 * | of a protocol        | all input, past and future, is that machine's; this one only passes on       |
 * | the first part of it | waits, within the time limit of a head                                       |
 * | A–Z                  | HTTP by mistake: an answer that says what this port is, then lingering close |
 * | any other            | closed, ERR_UNKNOWN_PROTOCOL                                                |
 *
 * The first bytes tell the protocols apart for good: 01 is the version of FastCGI, a digit 1 to 9 begins the netstring
 * of SCGI, and 12 34 every packet of AJP.
 *
 * @module
 */

import { ByteWriter } from "../bytes/byte_writer.ts";
import type { Closing, OnRejected, OnRequest, ServerMachine, Waiting } from "../connection/machine.ts";
import { ProtocolError } from "../errors.ts";
import type { MachineOptions, Protocol } from "../protocols.ts";
import type { ProtocolName } from "../types.ts";

const LETTER_A = 0x41;
const LETTER_Z = 0x5a;

/** What a browser shows, or an operator who tries the port with curl. */
const HTTP_ANSWER_BODY = `400 Bad Request

This port does not speak HTTP. It is for a web server, which speaks AJP, FastCGI or SCGI to it.
Open the address of the web server instead. To point the web server here, use one of

  Apache httpd   ProxyPass "/" "fcgi://HOST:PORT/"
                 ProxyPass "/" "scgi://HOST:PORT/"
                 ProxyPass "/" "ajp://HOST:PORT/" secret=SECRET
  nginx          location / { include fastcgi_params; fastcgi_pass HOST:PORT; }
                 location / { include scgi_params; scgi_pass HOST:PORT; }

with the host and port of this address.
`;
const HTTP_ANSWER = "HTTP/1.1 400 Bad Request\r\n" +
  "Content-Type: text/plain;charset=UTF-8\r\n" +
  `Content-Length: ${HTTP_ANSWER_BODY.length}\r\n` +
  `Connection: close\r\n\r\n${HTTP_ANSWER_BODY}`;

/** The application's side of a connection whose protocol is not known yet, and then of that protocol. */
export class DetectingServer implements ServerMachine {
  readonly #candidates: readonly Protocol[];
  readonly #options: MachineOptions;
  readonly #onRequest: OnRequest;
  readonly #onRejected: OnRejected;
  /** The first bytes, while they are those of more than one protocol or of none yet. */
  #first: number[] = [];
  #machine: ServerMachine | undefined;
  /** Of this machine's own, without another. */
  readonly #output = new ByteWriter();
  #closing: Closing = "open";

  /** @param candidates what is spoken here; each has a `prefix` */
  constructor(
    candidates: readonly Protocol[],
    options: MachineOptions,
    onRequest: OnRequest,
    onRejected: OnRejected,
  ) {
    this.#candidates = candidates;
    this.#options = options;
    this.#onRequest = onRequest;
    this.#onRejected = onRejected;
  }

  /** Only a request asks, and there is none before the protocol is known. */
  get protocol(): ProtocolName {
    return this.#machine?.protocol ?? "fastcgi";
  }

  get output(): ByteWriter {
    return this.#machine?.output ?? this.#output;
  }

  get wantsInput(): boolean {
    return this.#machine?.wantsInput ?? true;
  }

  get closing(): Closing {
    return this.#machine?.closing ?? this.#closing;
  }

  get waiting(): Waiting {
    return this.#machine?.waiting ?? (this.#closing === "open" ? "head" : "nothing");
  }

  get progress(): number {
    return this.#machine?.progress ?? 0;
  }

  get active(): number {
    return this.#machine?.active ?? 0;
  }

  receive(chunk: Uint8Array): void {
    if (this.#machine !== undefined) {
      this.#machine.receive(chunk);
      return;
    }
    for (let i = 0; i < chunk.length && this.#closing === "open"; i++) {
      const held = this.#first.length;
      this.#first.push(chunk[i]!);
      const protocol = this.#detect();
      if (protocol === undefined) continue;
      const machine = protocol.createServer(this.#options, this.#onRequest, this.#onRejected);
      this.#machine = machine;
      // What came in earlier pieces, and then this one whole.
      const earlier = Uint8Array.from(this.#first.slice(0, held - i));
      this.#first = [];
      if (earlier.length > 0) machine.receive(earlier);
      machine.receive(chunk);
      return;
    }
  }

  receiveFin(): boolean {
    // A browser that has sent its request may well close its side before it has read the answer.
    return this.#machine?.receiveFin() ?? this.#closing === "linger";
  }

  receiveEnd(error: ProtocolError): void {
    if (this.#machine !== undefined) this.#machine.receiveEnd(error);
    else if (this.#closing === "open") this.#closing = "destroy";
  }

  timeout(): ProtocolError | undefined {
    if (this.#machine !== undefined) return this.#machine.timeout();
    this.#closing = "destroy";
    return new ProtocolError("ERR_TIMEOUT", "The web server did not send the head in time");
  }

  drain(): void {
    if (this.#machine !== undefined) this.#machine.drain();
    else if (this.#closing === "open") this.#closing = "end";
  }

  /**
   * The protocol that begins with the first bytes; undefined where more must be seen.
   *
   * @throws {ProtocolError} ERR_UNKNOWN_PROTOCOL where none does
   */
  #detect(): Protocol | undefined {
    const first = this.#first;
    let possible = false;
    for (const protocol of this.#candidates) {
      const { prefix } = protocol;
      if (!first.every((byte, i) => i >= prefix.length || (byte >= prefix[i]![0] && byte <= prefix[i]![1]))) continue;
      if (first.length >= prefix.length) return protocol;
      possible = true;
    }
    if (possible) return undefined;
    const [byte] = first;
    if (byte! >= LETTER_A && byte! <= LETTER_Z) {
      this.#output.latin1(HTTP_ANSWER);
      this.#closing = "linger";
      throw new ProtocolError("ERR_UNKNOWN_PROTOCOL", "Cannot speak HTTP on a port for AJP, FastCGI and SCGI", {
        statusHint: 400,
      });
    }
    this.#closing = "destroy";
    const shown = first.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new ProtocolError("ERR_UNKNOWN_PROTOCOL", `Cannot tell the protocol of what begins with ${shown}`);
  }
}
