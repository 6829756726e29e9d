/** The coarsest step in which time limits are checked, in milliseconds. */
const MAX_STEP = 1000;
const MIN_STEP = 10;

/**
 * Time limits of many connections on one timer: a timer for each would cost more than the request that it guards.
 * A limit may so be exceeded by a quarter of itself, or by a second if that is less.
 */
export class Deadlines {
  readonly #pending = new Set<Deadline>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #step = MAX_STEP;

  /** Makes a time limit that does not run yet. */
  create(onExpire: () => void): Deadline {
    return new Deadline(this, onExpire);
  }

  /** For {@linkcode Deadline} only. */
  add(deadline: Deadline, timeout: number): void {
    this.#pending.add(deadline);
    const step = Math.max(MIN_STEP, Math.min(MAX_STEP, timeout / 4));
    if (this.#timer === undefined || step < this.#step) {
      this.#step = this.#timer === undefined ? step : Math.min(step, this.#step);
      clearTimeout(this.#timer);
      this.#schedule();
    }
  }

  /** For {@linkcode Deadline} only. */
  delete(deadline: Deadline): void {
    this.#pending.delete(deadline);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const now = performance.now();
      for (const deadline of this.#pending) if (deadline.at <= now) deadline.expire();
      // What expired may have begun a limit anew, and with it the timer.
      if (this.#pending.size > 0 && this.#timer === undefined) this.#schedule();
    }, this.#step);
  }
}

/** One time limit. */
export class Deadline {
  /** When it expires, on the clock of `performance.now()`; 0 while it does not run. */
  at = 0;
  readonly #deadlines: Deadlines;
  readonly #onExpire: () => void;

  constructor(deadlines: Deadlines, onExpire: () => void) {
    this.#deadlines = deadlines;
    this.#onExpire = onExpire;
  }

  /** Begins anew; a `timeout` of 0 is none. */
  start(timeout: number): void {
    if (timeout === 0 || timeout === Infinity) {
      this.stop();
      return;
    }
    this.at = performance.now() + timeout;
    this.#deadlines.add(this, timeout);
  }

  stop(): void {
    if (this.at === 0) return;
    this.at = 0;
    this.#deadlines.delete(this);
  }

  /** For {@linkcode Deadlines} only. */
  expire(): void {
    this.stop();
    this.#onExpire();
  }
}
