/** What a {@linkcode RequestBody} reads from. */
export interface BodySource {
  /** Asks for one `push()`. */
  pullBody(): void;
  /** Nothing more is wanted. */
  discardBody(): void;
}

/**
 * The body of a request as a stream that asks for a piece only when somebody reads. It has no queue of its own: with a
 * high-water mark of 0, `pull` is not called before the first read, so a body that nobody reads is never asked for.
 */
export class RequestBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #open = true;
  #pulled = false;

  constructor(source: BodySource) {
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        this.#pulled = true;
        if (this.#open) source.pullBody();
      },
      cancel: () => {
        this.#open = false;
        source.discardBody();
      },
    }, { highWaterMark: 0 }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  }

  /** Whether it may still be read or broken. */
  get open(): boolean {
    return this.#open;
  }

  /** Whether somebody has begun to read, or may. */
  get touched(): boolean {
    return this.#pulled || this.stream.locked;
  }

  /** Gives a piece to the reader. */
  push(chunk: Uint8Array): void {
    if (this.#open) this.#controller.enqueue(chunk);
  }

  /** The body is whole. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#controller.close();
  }

  /** The body broke: whoever reads it gets `error`, never a clean end. */
  fail(error: unknown): void {
    if (!this.#open) return;
    this.#open = false;
    this.#controller.error(error);
  }
}
