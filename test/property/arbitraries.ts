import fc from "fast-check";
import { type Command, COMMANDS, type Step } from "../support/commanded_driver.ts";
import { splitAt } from "../support/hex.ts";

/** Text of which each character is one byte. */
export function latin1Text(constraints: { minLength?: number; maxLength?: number } = {}): fc.Arbitrary<string> {
  return fc.uint8Array(constraints).map((bytes) => String.fromCharCode(...bytes));
}

/** Text that a header value can hold. */
export const headerValue: fc.Arbitrary<string> = latin1Text({ maxLength: 20 }).map((text) =>
  text.replace(/[^\P{Cc}\t\x80-\x9f]/gu, "_").replace(/^[ \t]+|[ \t]+$/g, "")
);

export const token: fc.Arbitrary<string> = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);

/** Positions to cut at, as fractions of a length that is not known yet. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

export function cutUp(bytes: Uint8Array, fractions: number[]): Uint8Array[] {
  return splitAt(bytes, fractions.map((fraction) => Math.floor(fraction * bytes.length)));
}

/** One thing done to bytes that were right. */
export interface Mutation {
  kind: "flip" | "set" | "insert" | "delete" | "truncate" | "repeat";
  at: number;
  value: number;
}

export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("flip", "set", "insert", "delete", "truncate", "repeat"),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xa0, 0xff)),
  }),
  { minLength: 1, maxLength: 5 },
);

export function mutate(bytes: Uint8Array, changes: Mutation[]): Uint8Array {
  const list = [...bytes];
  for (const { kind, at, value } of changes) {
    const index = Math.floor(at * list.length);
    if (kind === "flip" && list.length > 0) list[index]! ^= 1 << (value & 7);
    else if (kind === "set" && list.length > 0) list[index] = value;
    else if (kind === "insert") list.splice(index, 0, value);
    else if (kind === "delete") list.splice(index, 1 + (value & 7));
    else if (kind === "truncate" && value > 200) list.length = index;
    else if (kind === "repeat") list.splice(index, 0, ...list.slice(index, index + value));
  }
  return Uint8Array.from(list);
}

/** Some often, so that most conversations get far. */
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.constant("pull" as const) },
  { weight: 3, arbitrary: fc.constant("end" as const) },
  { weight: 6, arbitrary: fc.constantFrom(...COMMANDS) },
);

/** What a driver does when it is told something, one after the other. */
export const commands: fc.Arbitrary<Command[]> = fc.array(command, { maxLength: 30, size: "max" });

/** What happens on a connection. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: fc.record({ feed: fc.double({ min: 0, max: 0.3, noNaN: true }) }) },
    { weight: 24, arbitrary: fc.record({ command, which: fc.nat(3) }) },
    { weight: 1, arbitrary: fc.record({ other: fc.constantFrom("drain", "timeout", "end") }) },
  ),
  { maxLength: 40, size: "max" },
);
