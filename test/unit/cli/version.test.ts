import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VERSION } from "../../../adapters/cli/version.ts";

test.each(["package.json", "deno.json"])("VERSION is that of %s", (file) => {
  const text = readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8");
  expect(VERSION).toBe((JSON.parse(text) as { version: string }).version);
});
