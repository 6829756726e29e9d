import { expect, test } from "vitest";
import { ByteQueue } from "../../../src/bytes/byte_queue.ts";
import { hex, toHex } from "../../support/hex.ts";

function queueOf(...chunks: string[]): ByteQueue {
  const queue = new ByteQueue();
  for (const chunk of chunks) queue.push(hex(chunk));
  return queue;
}

test("ByteQueue that is new is empty", () => {
  const queue = new ByteQueue();
  expect(queue.length).toBe(0);
  expect(queue.take(0).length).toBe(0);
  expect(queue.takeUpTo(5).length).toBe(0);
  expect(queue.skip(5)).toBe(0);
});

test("ByteQueue.push ignores an empty chunk", () => {
  const queue = queueOf("", "01", "", "02", "");
  expect(queue.length).toBe(2);
  expect(toHex(queue.take(2))).toBe("0102");
});

test("ByteQueue.peek sees across chunks and behind what was taken", () => {
  const queue = queueOf("010203", "04", "0506");
  queue.take(2);
  expect([0, 1, 2, 3].map((index) => queue.peek(index))).toEqual([3, 4, 5, 6]);
  expect(queue.length).toBe(4);
});

test("ByteQueue.take returns the chunk itself when it is taken whole", () => {
  const chunk = hex("010203");
  const queue = new ByteQueue();
  queue.push(chunk);
  expect(queue.take(3)).toBe(chunk);
});

test("ByteQueue.take returns a view when it is within one chunk", () => {
  const chunk = hex("010203");
  const queue = new ByteQueue();
  queue.push(chunk);
  expect(queue.take(2).buffer).toBe(chunk.buffer);
});

test("ByteQueue.take joins what straddles chunks", () => {
  const queue = queueOf("0102", "0304", "0506");
  expect(toHex(queue.take(1))).toBe("01");
  expect(toHex(queue.take(4))).toBe("02030405");
  expect(toHex(queue.take(1))).toBe("06");
  expect(queue.length).toBe(0);
});

test("ByteQueue.take of 0 takes nothing", () => {
  const queue = queueOf("01");
  expect(queue.take(0).length).toBe(0);
  expect(queue.length).toBe(1);
});

test("ByteQueue.takeUpTo stops at the end of a chunk", () => {
  const queue = queueOf("0102", "03");
  expect(toHex(queue.takeUpTo(10))).toBe("0102");
  expect(toHex(queue.takeUpTo(10))).toBe("03");
});

test("ByteQueue.skip counts what it threw away", () => {
  const queue = queueOf("0102", "0304");
  expect(queue.skip(3)).toBe(3);
  expect(queue.skip(3)).toBe(1);
});

test("ByteQueue.clear empties it, and it can be used again", () => {
  const queue = queueOf("0102", "0304");
  queue.take(1);
  queue.clear();
  expect(queue.length).toBe(0);
  queue.push(hex("05"));
  expect(queue.peek(0)).toBe(5);
});

test("ByteQueue goes through thousands of small chunks", () => {
  const queue = new ByteQueue();
  for (let i = 0; i < 5000; i++) queue.push(Uint8Array.of(i & 255, i >> 8));
  for (let i = 0; i < 5000; i++) expect(queue.take(2)).toEqual(Uint8Array.of(i & 255, i >> 8));
  expect(queue.length).toBe(0);
});
