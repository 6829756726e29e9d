import { expect, test } from "vitest";
import { gather } from "../../../adapters/_gather.ts";
import { concat, pattern } from "../../support/sockets.ts";

const KIB = 1024;

/** Chunks of the given lengths, all different. */
function chunksOf(...lengths: number[]): Uint8Array[] {
  const bytes = pattern(lengths.reduce((total, length) => total + length, 0));
  let offset = 0;
  return lengths.map((length) => bytes.subarray(offset, offset += length));
}

test.each<[string, number[], number[]]>([
  ["nothing", [], []],
  ["one empty chunk", [0], []],
  ["only empty chunks", [0, 0, 0], []],
  ["one chunk", [5], [5]],
  ["small chunks", [1, 0, 2, 3], [6]],
  ["small chunks up to the largest", [30 * KIB, 30 * KIB, 4 * KIB], [64 * KIB]],
  ["small chunks over the largest", [30 * KIB, 30 * KIB, 4 * KIB + 1], [60 * KIB, 4 * KIB + 1]],
  ["a large chunk among small ones", [8, 8, 32 * KIB, 8, 8], [16, 32 * KIB, 16]],
  ["large chunks", [100 * KIB, 0, 200 * KIB], [100 * KIB, 200 * KIB]],
  ["a large chunk first and last", [40 * KIB, 7, 40 * KIB], [40 * KIB, 7, 40 * KIB]],
])("gather, %s", (_name, lengths, expected) => {
  const chunks = chunksOf(...lengths);
  const gathered = gather(chunks);
  expect(gathered.map((chunk) => chunk.length)).toEqual(expected);
  expect(concat(gathered)).toEqual(concat(chunks));
});

test("gather does not copy what stays alone", () => {
  const [small] = chunksOf(5);
  expect(gather([small!])[0]).toBe(small);
  const large = chunksOf(8, 40 * KIB, 8);
  expect(gather(large)[1]).toBe(large[1]);
});
