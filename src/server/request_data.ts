import type { BodyEvents, ExchangeData } from "../connection/machine.ts";
import { RequestBody } from "../http/request_body.ts";
import type { FilterData } from "../types.ts";

/** The file that a FastCGI filter is given, as `info.data`. */
export class RequestData implements FilterData, BodyEvents {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly length: number | undefined;
  readonly lastModified: Date | undefined;
  /** Whether the handler waits for a piece. */
  wanted = false;
  readonly #data: ExchangeData;
  readonly #body: RequestBody;

  /** @param connection what sends the commands that reading leads to */
  constructor(data: ExchangeData, connection: { flush(): void }) {
    this.#data = data;
    this.#body = new RequestBody({
      pullBody: () => {
        this.wanted = true;
        data.pullBody();
        connection.flush();
      },
      discardBody: () => {
        this.wanted = false;
        data.discardBody();
        connection.flush();
      },
    });
    this.stream = this.#body.stream;
    this.length = data.length < 0 ? undefined : data.length;
    this.lastModified = data.lastModified < 0 ? undefined : new Date(data.lastModified * 1000);
    data.events = this;
  }

  /** Whether the handler has begun to read, or may. */
  get touched(): boolean {
    return this.#body.touched;
  }

  /** Fails, and lets go what comes. */
  giveUp(error: unknown): void {
    this.fail(error);
    this.#data.discardBody();
  }

  onBody(chunk: Uint8Array): void {
    this.wanted = false;
    this.#body.push(chunk);
  }

  onBodyEnd(): void {
    this.wanted = false;
    this.#body.end();
  }

  fail(error: unknown): void {
    this.wanted = false;
    this.#body.fail(error);
  }
}
