import { concat } from "../../src/bytes/std.ts";
import type { Exchange, ServerMachine } from "../../src/connection/machine.ts";
import { ProtocolError } from "../../src/errors.ts";
import type { ResponseHead } from "../../src/http/response.ts";
import { PROTOCOLS } from "../../src/protocols.ts";
import { resolveSettings } from "../../src/server/settings.ts";
import type { AjpOptions, FastCgiOptions, ProtocolName } from "../../src/types.ts";
import { toHex } from "./hex.ts";

/** What became of one exchange. */
export interface Seen {
  readonly exchange: Exchange;
  body: Uint8Array[];
  ends: number;
  aborts: ProtocolError[];
  finishes: number;
  /** Of a filter's file. */
  data: Uint8Array[];
  dataEnds: number;
}

/** What a driver does when something happens. Each may give commands to the exchange. */
export interface Reactions {
  onRequest?(seen: Seen): void;
  onBody?(seen: Seen): void;
  onBodyEnd?(seen: Seen): void;
  onAbort?(seen: Seen, error: ProtocolError): void;
  onData?(seen: Seen): void;
  onDataEnd?(seen: Seen): void;
}

/** A machine with a driver that writes down what it is told, and keeps what is sent. */
export class FakeDriver {
  readonly machine: ServerMachine;
  readonly seen: Seen[] = [];
  /** Requests that the machine answered itself. */
  readonly rejected: ProtocolError[] = [];
  /** What `receive()` threw. */
  readonly thrown: unknown[] = [];
  #sent: Uint8Array[] = [];

  constructor(protocol: ProtocolName | "any", options: AjpOptions & FastCgiOptions = {}, reactions: Reactions = {}) {
    const settings = resolveSettings(options, () => {});
    const onRequest = (exchange: Exchange) => {
      const seen: Seen = { exchange, body: [], ends: 0, aborts: [], finishes: 0, data: [], dataEnds: 0 };
      this.seen.push(seen);
      exchange.events = {
        onBody: (chunk) => {
          // A copy, as the machine's own may be a view of what it goes on with.
          seen.body.push(chunk.slice());
          reactions.onBody?.(seen);
        },
        onBodyEnd: () => {
          seen.ends++;
          reactions.onBodyEnd?.(seen);
        },
        onAbort: (error) => {
          seen.aborts.push(error);
          reactions.onAbort?.(seen, error);
        },
        onFinished: () => {
          seen.finishes++;
        },
      };
      if (exchange.data !== undefined) {
        exchange.data.events = {
          onBody: (chunk) => {
            seen.data.push(chunk.slice());
            reactions.onData?.(seen);
          },
          onBodyEnd: () => {
            seen.dataEnds++;
            reactions.onDataEnd?.(seen);
          },
        };
      }
      reactions.onRequest?.(seen);
    };
    const onRejected = (error: ProtocolError) => {
      this.rejected.push(error);
    };
    this.machine = PROTOCOLS[protocol].createServer(settings, onRequest, onRejected);
  }

  /** Gives the machine a copy of `chunk`; what it throws is kept. */
  receive(...chunks: Uint8Array[]): this {
    for (const chunk of chunks) {
      try {
        this.machine.receive(chunk.slice());
      } catch (error) {
        this.thrown.push(error);
      }
    }
    return this;
  }

  /** All that was sent so far. */
  get sent(): Uint8Array<ArrayBuffer> {
    // Copied at once: what is taken must not be overwritten by what comes after.
    this.#sent.push(concat(this.machine.output.take()));
    this.#sent = [concat(this.#sent)];
    return this.#sent[0] as Uint8Array<ArrayBuffer>;
  }

  /** Everything that can be seen from outside, to compare two ways of feeding. Where a body was cut does not count. */
  get story(): unknown {
    return {
      requests: this.seen.map(({ exchange, body, ends, aborts, finishes, data, dataEnds }) => ({
        head: { ...exchange.head, meta: [...exchange.head.meta.params] },
        // How much of a body came before it broke depends on how the bytes were cut, and nobody may rely on it.
        body: aborts.length > 0 ? "broken" : toHex(concat(body)),
        data: aborts.length > 0 ? "broken" : toHex(concat(data)),
        dataEnds,
        ends,
        aborts: aborts.map(describe),
        finishes,
      })),
      rejected: this.rejected.map(describe),
      thrown: this.thrown.map(describe),
      sent: toHex(this.sent),
      closing: this.machine.closing,
      active: this.machine.active,
    };
  }
}

/**
 * A driver that reads each body to its end, then a filter's file, and sends both back; as with the real one, GET and
 * HEAD have no body.
 */
export function echo(protocol: ProtocolName | "any", options: AjpOptions & FastCgiOptions = {}): FakeDriver {
  const onBodyEnd = ({ exchange, body }: Seen) => {
    if (exchange.data === undefined) answer(exchange, concat(body));
    else exchange.data.pullBody();
  };
  return new FakeDriver(protocol, options, {
    onRequest: (seen) => {
      const { exchange } = seen;
      const { method, contentLength } = exchange.head;
      if (contentLength !== 0 && method !== "GET" && method !== "HEAD") {
        exchange.pullBody();
      } else {
        exchange.discardBody();
        onBodyEnd(seen);
      }
    },
    onBody: ({ exchange }) => exchange.pullBody(),
    onBodyEnd,
    onData: ({ exchange }) => exchange.data!.pullBody(),
    onDataEnd: ({ exchange, body, data }) => answer(exchange, concat([...body, ...data])),
    onAbort: ({ exchange }, error) => {
      if (error.statusHint === 0) exchange.fail();
      else answer(exchange, new Uint8Array(0), error.statusHint);
    },
  });
}

/** Sends a whole response. */
export function answer(exchange: Exchange, body: Uint8Array, status = 200): void {
  exchange.sendHead(responseHead(status, body.length));
  if (body.length > 0) exchange.sendBody(body);
  exchange.end(status === 200);
}

export function responseHead(status = 200, contentLength = -1): ResponseHead {
  return { status, reason: "Reason", headers: [["x-answer", "yes"]], contentLength };
}

function describe(error: unknown): string {
  if (!(error instanceof ProtocolError)) return `NOT A ProtocolError: ${String(error)}`;
  return `${error.code} ${error.statusHint} ${error.message}`;
}
