import { expect, test } from "vitest";
import { ByteWriter } from "../../../src/bytes/byte_writer.ts";
import { concat } from "../../../src/bytes/std.ts";
import { hex, latin1, toHex, written } from "../../support/hex.ts";

test("ByteWriter writes integers big-endian", () => {
  const bytes = written((writer) => {
    writer.uint8(0xff);
    writer.uint16(0x1234);
    writer.uint16(0xffff);
    writer.uint32(0x12345678);
    writer.uint32(0xffffffff);
    writer.uint32(0);
  });
  expect(toHex(bytes)).toBe("ff1234ffff12345678ffffffff00000000");
});

test.each([65536, 65537, 0x12345678, Infinity])("ByteWriter.uint16 throws for %d and writes nothing", (value) => {
  expect(written((writer) => expect(() => writer.uint16(value)).toThrow(RangeError)).length).toBe(0);
});

test("ByteWriter.uint32 throws for what 32 bits cannot hold", () => {
  expect(() => new ByteWriter().uint32(0x100000000)).toThrow(RangeError);
});

test("ByteWriter.latin1 writes one byte for each character, and ? for one that has none", () => {
  expect(toHex(written((writer) => writer.latin1("A\x00\x80\xffΩ€")))).toBe("410080ff3f3f");
});

test("ByteWriter.latin1 writes more than its buffer holds", () => {
  const text = "é".repeat(100_000);
  expect(toHex(written((writer) => writer.latin1(text)))).toBe("e9".repeat(100_000));
});

test("ByteWriter.length is what take() would return, before and after", () => {
  const writer = new ByteWriter();
  expect(writer.length).toBe(0);
  writer.uint8(1);
  writer.bytes(new Uint8Array(3000));
  writer.latin1("ab");
  expect(writer.length).toBe(3003);
  expect(concat(writer.take()).length).toBe(3003);
  expect(writer.length).toBe(0);
  expect(writer.take()).toEqual([]);
});

test("ByteWriter.bytes copies a small payload, so that it may change afterwards", () => {
  const writer = new ByteWriter();
  const data = hex("0102");
  writer.bytes(data);
  data[0] = 9;
  expect(toHex(concat(writer.take()))).toBe("0102");
});

test("ByteWriter.bytes hands a large payload on as it is, between what stands around it", () => {
  const writer = new ByteWriter();
  const large = new Uint8Array(2049);
  writer.uint16(1);
  writer.bytes(large);
  writer.uint8(2);
  const chunks = writer.take();
  expect(chunks.map((chunk) => chunk.length)).toEqual([2, 2049, 1]);
  expect(chunks[1]).toBe(large);
});

test("ByteWriter gathers small writes in one chunk", () => {
  const writer = new ByteWriter();
  for (let i = 0; i < 100; i++) writer.latin1("some text");
  expect(writer.take()).toHaveLength(1);
});

test("ByteWriter.clear forgets what was written and not what was taken", () => {
  const writer = new ByteWriter();
  writer.latin1("taken");
  const taken = writer.take();
  writer.latin1("forgotten");
  writer.bytes(new Uint8Array(5000));
  writer.clear();
  expect(writer.length).toBe(0);
  writer.latin1("kept");
  expect(writer.take().map((chunk) => concat([chunk]))).toEqual([latin1("kept")]);
  expect(taken[0]).toEqual(latin1("taken"));
});

test("ByteWriter does not write over what another has taken or is writing", () => {
  const a = new ByteWriter();
  const b = new ByteWriter();
  a.latin1("first of a");
  const first = a.take();
  b.latin1("b, ");
  a.latin1("second of a");
  b.latin1("still b");
  const second = a.take();
  a.latin1("third of a");
  const third = [...b.take(), ...a.take()];
  expect([first, second, third].map((chunks) => String.fromCharCode(...concat(chunks)))).toEqual([
    "first of a",
    "second of a",
    "b, still bthird of a",
  ]);
});
