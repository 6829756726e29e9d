/** What is told when it was not done soon. */
export interface Waiter {
  onWaiting(): void;
}

/**
 * Tells what has not been done by the next turn of the event loop. Responses use it to send what they have when their
 * next piece is slow, and to send all at once when it is not. One timer serves all.
 */
export class Soon {
  #waiters = new Set<Waiter>();
  #scheduled = false;

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      if (this.#waiters.size === 0) return;
      const waiters = this.#waiters;
      this.#waiters = new Set();
      for (const waiter of waiters) waiter.onWaiting();
    }, 0);
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }
}
