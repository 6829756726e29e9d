import type { BodyEvents, ExchangeData } from "../connection/machine.ts";
import { RequestBody } from "../http/request_body.ts";
import type { FilterData } from "../types.ts";

/** The file that a FastCGI filter is given, as `info.data`. */
export class RequestData implements FilterData, BodyEvents {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly length: number | undefined;
  readonly lastModified: Date | undefined;
  readonly #body: RequestBody;

  /** @param connection what sends the commands that reading leads to */
  constructor(data: ExchangeData, connection: { flush(): void }) {
    this.#body = new RequestBody({
      pullBody(): void {
        data.pullBody();
        connection.flush();
      },
      discardBody(): void {
        data.discardBody();
        connection.flush();
      },
    });
    this.stream = this.#body.stream;
    this.length = data.length < 0 ? undefined : data.length;
    this.lastModified = data.lastModified < 0 ? undefined : new Date(data.lastModified * 1000);
    data.events = this;
  }

  onBody(chunk: Uint8Array): void {
    this.#body.push(chunk);
  }

  onBodyEnd(): void {
    this.#body.end();
  }

  fail(error: unknown): void {
    this.#body.fail(error);
  }
}
