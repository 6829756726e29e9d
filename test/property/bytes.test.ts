import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteQueue } from "../../src/bytes/byte_queue.ts";
import { ByteWriter } from "../../src/bytes/byte_writer.ts";
import { decodeLatin1, encodeLatin1, latin1ToUtf8 } from "../../src/bytes/latin1.ts";
import { concat } from "../../src/bytes/std.ts";
import { toHex } from "../support/hex.ts";
import { latin1Text } from "./arbitraries.ts";

const queueCommand = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant("push" as const), bytes: fc.uint8Array({ maxLength: 12 }) }) },
  fc.record({ op: fc.constantFrom("take" as const, "takeUpTo" as const, "skip" as const), n: fc.nat(30) }),
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const) }) },
);

test("ByteQueue behaves like a plain array", () => {
  fc.assert(fc.property(fc.array(queueCommand, { maxLength: 200 }), (commands) => {
    const queue = new ByteQueue();
    let model: number[] = [];
    for (const command of commands) {
      switch (command.op) {
        case "push":
          queue.push(command.bytes);
          model.push(...command.bytes);
          break;
        case "take": {
          const n = Math.min(command.n, model.length);
          expect([...queue.take(n)]).toEqual(model.splice(0, n));
          break;
        }
        case "takeUpTo": {
          const taken = [...queue.takeUpTo(command.n)];
          if (model.length > 0 && command.n > 0) expect(taken.length).toBeGreaterThan(0);
          expect(taken.length).toBeLessThanOrEqual(command.n);
          expect(taken).toEqual(model.splice(0, taken.length));
          break;
        }
        case "skip":
          expect(queue.skip(command.n)).toBe(model.splice(0, command.n).length);
          break;
        case "clear":
          queue.clear();
          model = [];
      }
      expect(queue.length).toBe(model.length);
      const seen = model.map((_, index) => queue.peek(index));
      expect(seen).toEqual(model);
    }
  }));
});

const writerCommand = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant("latin1" as const), text: latin1Text({ maxLength: 20 }) }) },
  fc.record({ op: fc.constant("bytes" as const), length: fc.oneof(fc.nat(20), fc.integer({ min: 2040, max: 2060 })) }),
  fc.record({ op: fc.constant("fill" as const), length: fc.integer({ min: 15_000, max: 17_000 }) }),
  fc.record({ op: fc.constantFrom("uint8" as const, "uint16" as const, "uint32" as const), value: fc.nat(255) }),
  { weight: 2, arbitrary: fc.record({ op: fc.constant("take" as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const) }) },
);

test("ByteWriter gives what was written in order, and writers that take turns never write over each other", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(2), writerCommand), { maxLength: 60 }), (commands) => {
    const writers = [0, 1, 2].map(() => ({
      writer: new ByteWriter(),
      model: [] as number[],
      pending: 0,
      taken: [] as Uint8Array[],
    }));
    let mark = 0;
    for (const [index, command] of commands) {
      const state = writers[index]!;
      const { writer, model } = state;
      const kept = model.length;
      mark = (mark + 1) & 255;
      switch (command.op) {
        case "latin1":
          writer.latin1(command.text);
          model.push(...encodeLatin1(command.text));
          break;
        case "fill":
          writer.latin1("x".repeat(command.length));
          for (let i = 0; i < command.length; i++) model.push(0x78);
          break;
        case "bytes": {
          const data = new Uint8Array(command.length).fill(mark);
          writer.bytes(data);
          model.push(...data);
          break;
        }
        case "uint8":
          writer.uint8(command.value);
          model.push(command.value);
          break;
        case "uint16":
          writer.uint16(command.value * 257);
          model.push(command.value, command.value);
          break;
        case "uint32":
          writer.uint32(command.value * 16843009);
          model.push(command.value, command.value, command.value, command.value);
          break;
        case "take": {
          const { length } = writer;
          const chunks = writer.take();
          expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(length);
          state.taken.push(...chunks);
          state.pending = 0;
          continue;
        }
        case "clear":
          writer.clear();
          model.length -= state.pending;
          state.pending = 0;
          continue;
      }
      state.pending += model.length - kept;
      expect(writer.length).toBe(state.pending);
    }
    for (const { writer, model, taken } of writers) {
      taken.push(...writer.take());
      // Looked at only now, after everybody has written.
      expect(toHex(concat(taken)) === toHex(Uint8Array.from(model))).toBe(true);
    }
  }));
});

test("decodeLatin1 and encodeLatin1 undo each other, whatever the bytes and the range", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 5000 }), fc.nat(40), fc.nat(40), (bytes, head, tail) => {
    const end = Math.max(head, bytes.length - tail);
    const text = decodeLatin1(bytes, head, Math.min(end, bytes.length));
    expect(encodeLatin1(text)).toEqual(bytes.slice(head, end));
  }));
});

test("latin1ToUtf8 reads back what was UTF-8", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const bytes = new TextEncoder().encode(text);
    expect(latin1ToUtf8(decodeLatin1(bytes))).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  }));
});
