import { expect, test } from "vitest";
import { findViolations } from "../../../scripts/check_imports.ts";

function check(path: string, text: string): string[] {
  return findViolations([{ path, text }]);
}

test("findViolations accepts what the rules allow", () => {
  expect(check("src/ajp/server.ts", `import { x } from "../http/url.ts"; import { y } from "./codec.ts";`)).toEqual([]);
  expect(check("src/bytes/std.ts", `export { concat } from "@std/bytes";`)).toEqual([]);
  expect(check("src/mod.ts", `export { a } from "./server/server.ts"; export type { B } from "./types.ts";`)).toEqual(
    [],
  );
  expect(check("adapters/node.ts", `import net from "node:net"; import { a } from "./_node_net.ts";`)).toEqual([]);
});

test("findViolations names file, line and target", () => {
  expect(check("src/http/url.ts", `\nimport { x } from "../ajp/codec.ts";`)).toEqual([
    "src/http/url.ts:2: may not import src/ajp/codec.ts",
  ]);
});

test.each([
  ["a runtime module in the core", "src/http/url.ts", `import fs from "node:fs";`],
  ["a package in the core", "src/http/url.ts", `import { concat } from "@std/bytes";`],
  ["an import for its effects", "src/http/url.ts", `import "../server/server.ts";`],
  ["a re-export", "src/http/url.ts", `export * from "../server/server.ts";`],
  ["an import type node", "src/http/url.ts", `export type A = typeof import("../server/server.ts");`],
  ["one protocol from another", "src/ajp/server.ts", `import { x } from "../fastcgi/codec.ts";`],
  ["the driver from a machine", "src/fastcgi/server.ts", `import { x } from "../server/server.ts";`],
  ["cgi from ajp", "src/ajp/server.ts", `import { x } from "../cgi/meta_variables.ts";`],
  ["a machine from its codec", "src/ajp/codec.ts", `import { x } from "./server.ts";`],
  ["a machine from the driver", "src/server/server.ts", `import { x } from "../ajp/server.ts";`],
  ["a core file behind the public entry", "adapters/node.ts", `import { x } from "../src/server/server.ts";`],
  ["another adapter", "adapters/bun.ts", `import { x } from "./node.ts";`],
  ["a file that no rule covers", "src/new_folder/a.ts", ``],
])("findViolations refuses %s", (_name, path, text) => {
  expect(check(path, text)).toHaveLength(1);
});

test("findViolations lets src/connection import types but no values of http", () => {
  expect(check("src/connection/machine.ts", `import type { A } from "../http/request_head.ts";`)).toEqual([]);
  expect(check("src/connection/machine.ts", `import { type A } from "../http/request_head.ts";`)).toEqual([]);
  expect(check("src/connection/machine.ts", `import { type A, b } from "../http/request_head.ts";`)).toHaveLength(1);
});

test("findViolations allows dynamic import in the command line only", () => {
  expect(check("adapters/cli/main.ts", `await import(process.argv[2]);`)).toEqual([]);
  expect(check("adapters/node.ts", `await import("node:net");`)).toHaveLength(1);
  expect(check("src/http/url.ts", `await import(name);`)).toHaveLength(1);
});

test("findViolations is not misled by comments and strings", () => {
  expect(check("src/http/url.ts", `// import "node:fs";\nconst a = 'import "node:fs"';`)).toEqual([]);
});
