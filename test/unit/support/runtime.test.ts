import process from "node:process";
import { expect, test } from "vitest";
import { runtime } from "../../support/runtime.ts";

test("runtime is the one the runner asked for", () => {
  expect(runtime).toBe(process.env["ISTHMUS_TEST_RUNTIME"] ?? "node");
});

test("runtime globals are the real ones inside a test", () => {
  const globals = globalThis as { Deno?: { version: { deno: string } }; Bun?: { version: string } };
  const versions: Record<string, string | undefined> = process.versions;
  expect(globals.Deno?.version.deno).toBe(versions["deno"]);
  expect(globals.Bun?.version).toBe(versions["bun"]);
});
