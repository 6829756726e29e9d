import { expect } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import type { AjpOptions, FastCgiOptions, ProtocolName } from "../../src/types.ts";
import { FakeDriver, responseHead, type Seen } from "./fake_driver.ts";
import { latin1 } from "./hex.ts";

export const COMMANDS = [
  "pull",
  "discard",
  "pull-data",
  "discard-data",
  "head",
  "body",
  "long",
  "flush",
  "log",
  "end",
  "end-close",
  "fail",
] as const;
export type Command = typeof COMMANDS[number];

/** One thing that happens: bytes come, a command is given, or something else. */
export type Step =
  | { feed: number }
  | { command: Command; which: number }
  | { other: "drain" | "timeout" | "end" };

/**
 * A driver that gives the commands it is told to, so far as they are legal: a head before a body, nothing after the
 * end, one pull at a time, and an answer to each abort.
 */
export class CommandedDriver {
  readonly driver: FakeDriver;
  readonly #reactions: Command[];
  readonly #states = new Map<
    Seen,
    {
      head: boolean;
      over: boolean;
      pulled: boolean;
      discarded: boolean;
      ended: boolean;
      data: { pulled: boolean; discarded: boolean; ended: boolean };
    }
  >();

  constructor(protocol: ProtocolName | "any", reactions: Command[], options: AjpOptions & FastCgiOptions = {}) {
    this.#reactions = [...reactions];
    this.driver = new FakeDriver(protocol, options, {
      onRequest: (seen) => {
        this.#states.set(seen, {
          head: false,
          over: false,
          pulled: false,
          discarded: false,
          ended: seen.exchange.head.contentLength === 0,
          data: { pulled: false, discarded: false, ended: false },
        });
        this.#react(seen);
      },
      onBody: (seen) => {
        const state = this.#states.get(seen)!;
        expect([state.pulled, state.discarded]).toEqual([true, false]);
        expect(seen.body.at(-1)!.length).toBeGreaterThan(0);
        state.pulled = false;
        this.#react(seen);
      },
      onBodyEnd: (seen) => {
        const state = this.#states.get(seen)!;
        state.ended = true;
        state.pulled = false;
        this.#react(seen);
      },
      onData: (seen) => {
        const { over, data } = this.#states.get(seen)!;
        expect([over, data.pulled, data.discarded, data.ended]).toEqual([false, true, false, false]);
        expect(seen.data.at(-1)!.length).toBeGreaterThan(0);
        data.pulled = false;
        this.#react(seen);
      },
      onDataEnd: (seen) => {
        const { over, data } = this.#states.get(seen)!;
        expect([over, data.discarded, data.ended]).toEqual([false, false, false]);
        data.ended = true;
        this.#react(seen);
      },
      onAbort: (seen, error) => {
        const state = this.#states.get(seen)!;
        if (error.statusHint !== 0 && !state.head) {
          if (!state.over) {
            this.command(seen, "head");
            this.command(seen, "end-close");
          }
        } else {
          this.command(seen, "fail");
        }
        state.over = true;
      },
    });
  }

  #react(seen: Seen): void {
    const command = this.#reactions.shift();
    if (command !== undefined) this.command(seen, command);
  }

  command(seen: Seen, command: Command): void {
    const state = this.#states.get(seen)!;
    const { exchange } = seen;
    if (state.over) return;
    switch (command) {
      case "pull":
        if (state.pulled || state.discarded || state.ended) return;
        state.pulled = true;
        return exchange.pullBody();
      case "discard":
        state.discarded = true;
        return exchange.discardBody();
      case "pull-data":
        if (exchange.data === undefined || state.data.pulled || state.data.discarded || state.data.ended) return;
        state.data.pulled = true;
        return exchange.data.pullBody();
      case "discard-data":
        state.data.discarded = true;
        return exchange.data?.discardBody();
      case "head":
        if (state.head) return;
        state.head = true;
        return exchange.sendHead(responseHead());
      case "body":
        if (state.head) exchange.sendBody(latin1("some bytes"));
        return;
      case "long":
        if (state.head) exchange.sendBody(new Uint8Array(70_000));
        return;
      case "flush":
        return exchange.flush();
      case "log":
        return exchange.log("a line\nand \x1b another");
      case "end":
      case "end-close":
        if (!state.head) this.command(seen, "head");
        state.over = true;
        return exchange.end(command === "end");
      case "fail":
        state.over = true;
        return exchange.fail();
    }
  }

  run(bytes: Uint8Array, steps: Step[]): void {
    const { driver } = this;
    const { machine } = driver;
    let at = 0;
    for (const step of steps) {
      if ("feed" in step) {
        const end = Math.min(bytes.length, at + Math.ceil(step.feed * bytes.length));
        driver.receive(bytes.subarray(at, end));
        at = end;
      } else if ("command" in step) {
        const seen = driver.seen[step.which % Math.max(1, driver.seen.length)];
        if (seen !== undefined) this.command(seen, step.command);
      } else if (step.other === "drain") {
        machine.drain();
      } else if (step.other === "timeout") {
        if (machine.waiting !== "nothing") expect(machine.timeout()).toBeInstanceOf(ProtocolError);
      } else {
        machine.receiveEnd(new ProtocolError("ERR_ABORTED", "It is gone"));
      }
      this.check();
    }
    driver.receive(bytes.subarray(at));
    machine.receiveEnd(new ProtocolError("ERR_ABORTED", "It is gone"));
    this.check();
    // Every request is over, and its reader has been told.
    expect(machine.active).toBe(0);
    expect(machine.closing).not.toBe("open");
    for (const seen of driver.seen) expect(this.#states.get(seen)!.over).toBe(true);
  }

  check(): void {
    for (const error of this.driver.thrown) expect(error).toBeInstanceOf(ProtocolError);
    for (const { ends, aborts, finishes } of this.driver.seen) {
      expect([ends <= 1, aborts.length <= 1, finishes <= 1]).toEqual([true, true, true]);
    }
  }
}
