import { delay } from "./sockets.ts";

/** Waits until `condition` holds, and fails when it does not in time. */
export async function until(condition: () => boolean, what: string = String(condition), ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${ms} ms in vain for ${what}`);
    await delay(2);
  }
}

/** A promise that somebody else settles. */
export class Gate<T = void> {
  readonly promise: Promise<T>;
  #resolve!: (value: T) => void;
  settled = false;

  constructor() {
    this.promise = new Promise((resolve) => this.#resolve = resolve);
  }

  open(value: T): void {
    this.settled = true;
    this.#resolve(value);
  }
}
