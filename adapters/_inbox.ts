/**
 * What makes a socket that pushes its bytes into one that is read: for Node and Bun.
 *
 * @module
 */

/** The part of a socket that an inbox steers, so that a peer that sends faster than is read has to wait. */
export interface Source {
  pause(): void;
  resume(): void;
}

/** Bytes that have arrived, for one reader. Whoever pushes without being read is paused at once. */
export class Inbox {
  readonly #source: Source;
  readonly #received: Uint8Array[] = [];
  #paused = false;
  #ended = false;
  #error: unknown;
  #resolve: ((bytes: Uint8Array | null) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Whether anything is here that was not read. */
  get unread(): boolean {
    return this.#received.length > 0;
  }

  /** The next bytes, null at the end, or a rejection when the connection has failed. */
  read(): Promise<Uint8Array | null> {
    const bytes = this.#received.shift();
    if (bytes !== undefined) return Promise.resolve(bytes);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    const promise = new Promise<Uint8Array | null>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (this.#paused) {
      this.#paused = false;
      this.#source.resume();
    }
    return promise;
  }

  /** Bytes have arrived. */
  push(bytes: Uint8Array): void {
    const resolve = this.#resolve;
    if (resolve !== undefined) {
      this.#resolve = this.#reject = undefined;
      resolve(bytes);
      return;
    }
    if (this.#ended) return;
    this.#received.push(bytes);
    if (this.#paused) return;
    this.#paused = true;
    this.#source.pause();
  }

  /** Nothing more comes: what is here is read first, then `error` or, without one, null. */
  end(error?: unknown): void {
    if (this.#ended && error === undefined) return;
    this.#ended = true;
    this.#error ??= error;
    const resolve = this.#resolve;
    const reject = this.#reject;
    this.#resolve = this.#reject = undefined;
    if (error === undefined) resolve?.(null);
    else reject?.(error);
  }

  /** Throws away what is here and ends. */
  discard(): void {
    this.#received.length = 0;
    this.end();
  }
}
