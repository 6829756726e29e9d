import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { kindOfDescriptor } from "../../../adapters/_descriptor.ts";

test("a file, a closed descriptor and a number that is none are no sockets", () => {
  const fd = openSync("/dev/null", "r");
  expect(kindOfDescriptor(fd)).toBe("other");
  closeSync(fd);
  expect(kindOfDescriptor(fd)).toBe("other");
  expect(kindOfDescriptor(99_999)).toBe("other");
  // What listens is told apart in test/conformance/spawned.test.ts, where descriptor 0 is such a socket.
});
