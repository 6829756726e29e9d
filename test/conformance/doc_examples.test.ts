// Every TypeScript example of the README, the docs and the docstrings is type-checked and run.
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { docExamples } from "../support/doc_examples.ts";
import { runtime } from "../support/runtime.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
// In the checkout, so that "isthmus" and "hono" are found; each runtime has its own.
const DIR = join(ROOT, "test", `.doc_examples_${runtime}`);

const all = docExamples();
/** Those without a runtime are run on all. */
const examples = all.filter((example) => example.runtime === undefined || example.runtime === runtime);

function fileOf(name: string): string {
  return join(DIR, `${name.replace(/[^a-z0-9]+/gi, "_")}.ts`);
}

beforeAll(() => {
  rmSync(DIR, { recursive: true, force: true });
  mkdirSync(DIR, { recursive: true });
  for (const { name, code } of examples) writeFileSync(fileOf(name), `${code}\nexport {};\n`);
  // The ports are other ones, as other tests may use those of the examples at the same time. An example that goes on
  // serving is ended once it has come to its last line.
  writeFileSync(
    join(DIR, "run.ts"),
    `import net from "node:net";
import process from "node:process";
function anyPort(options) {
  return typeof options.port === "number" ? { ...options, port: 0 } : options;
}
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (options, ...more) {
  return listen.call(this, anyPort(options), ...more);
};
for (const runtime of [globalThis.Deno, globalThis.Bun]) {
  if (runtime === undefined) continue;
  const { listen } = runtime;
  runtime.listen = (options) => listen.call(runtime, anyPort(options));
}
await import(process.argv[2]);
setTimeout(() => process.exit(0), 50);
`,
  );
});

afterAll(() => rmSync(DIR, { recursive: true, force: true }));

describe("the examples of the documentation", () => {
  test("are there", () => {
    expect(examples.length).toBeGreaterThan(5);
  });

  test.each(examples.map(({ name }) => name))("%s runs", async (name) => {
    const run = join(DIR, "run.ts");
    const command: Record<typeof runtime, string[]> = {
      node: [process.execPath, "--import", "tsx", run, fileOf(name)],
      deno: [process.execPath, "run", "-A", "--no-check", run, fileOf(name)],
      bun: [process.execPath, run, fileOf(name)],
    };
    const [program, ...args] = command[runtime];
    const { code, stderr } = await execute(program!, args);
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });

  // One compiler checks those of all runtimes.
  if (runtime === "node") {
    test("are right by their types", async () => {
      for (const { name, code } of all) writeFileSync(fileOf(name), `${code}\nexport {};\n`);
      const files = all.map(({ name }) => fileOf(name));
      const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
      const options = "--noEmit --strict --skipLibCheck --target es2023 --module nodenext --allowImportingTsExtensions";
      const { stdout } = await execute(process.execPath, [tsc, ...options.split(" "), "--types", "node", ...files]);
      expect(stdout).toBe("");
    }, 60_000);
  }
});

function execute(program: string, args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    // A request of plain CGI, for the examples of what web servers start.
    const env = { ...process.env, GATEWAY_INTERFACE: "CGI/1.1", REQUEST_METHOD: "GET", REQUEST_URI: "/" };
    execFile(program, args, { cwd: ROOT, env, timeout: 15_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}
