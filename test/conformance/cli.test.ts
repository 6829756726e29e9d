// The command line as a user runs it: a process of its own, under the runtime that runs the tests.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseAddress } from "../../adapters/cli/address.ts";
import { hex } from "../support/hex.ts";
import { runtime } from "../support/runtime.ts";
import { ScgiClient } from "../support/scgi_client.ts";
import { client, closed, receive } from "../support/sockets.ts";

const MAIN = fileURLToPath(new URL("../../adapters/cli/main.ts", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));
const COMMAND = {
  node: ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href, MAIN],
  deno: ["run", "-A", MAIN],
  bun: [MAIN],
}[runtime];

const CPING = hex("12 34 00 01 0a");
const CPONG = hex("41 42 00 01 09");
/** GET /hi?a=1 over AJP. */
const GET = hex(`
  12 34 00 6e 02 02 00 08 48 54 54 50 2f 31 2e 31 00 00 03 2f 68 69 00 00 08 31 30 2e 30 2e 30 2e
  37 00 ff ff 00 0f 77 77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 00 50 00 00 01 a0 0b 00 0f 77
  77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 05 00 03 61 3d 31 00 0a 00 0f 41 4a 50 5f 52 45 4d
  4f 54 45 5f 50 4f 52 54 00 00 05 35 33 30 39 37 00 ff`);
/** FCGI_GET_VALUES for FCGI_MPXS_CONNS, and the answer "1". */
const GET_VALUES = hex("01 09 00 00 00 11 00 00 0f 00 46 43 47 49 5f 4d 50 58 53 5f 43 4f 4e 4e 53");
const GET_VALUES_RESULT = hex("01 0a 00 00 00 12 00 00 0f 01 46 43 47 49 5f 4d 50 58 53 5f 43 4f 4e 4e 53 31");
/** How an End Response of AJP begins, up to its reuse flag. */
const END_RESPONSE = "AB\x00\x02\x05";

const HELLO = `export default (request) => new Response("hello from " + new URL(request.url).pathname);`;
/** Says when a request has come, and answers it once a line comes on stdin. */
const SLOW = `
  import process from "node:process";
  export default async () => {
    console.log("started");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    return new Response("finished");
  };
  // What keeps a process alive must not keep it from ending.
  setInterval(() => {}, 1000);
`;

let dir: string;
const running: Cli[] = [];

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-cli-")));
});

afterEach(async () => {
  for (const cli of running.splice(0)) {
    cli.kill("SIGKILL");
    await cli.exit;
  }
  rmSync(dir, { recursive: true, force: true });
});

describe("isthmus serve", () => {
  test("prints a line for each address once all listen, and serves both protocols over TCP and unix sockets", async () => {
    const app = write("app.mjs", HELLO);
    const socket = (name: string) => `unix:${join(dir, name)}`;
    const cli = isthmus(
      ["serve", app, "--ajp", "0", "--ajp", socket("a"), "--fastcgi", "0", "--fastcgi", socket("f"), "--mode", "660"],
    );
    const lines = await cli.lines(4);
    expect(lines[0]).toMatch(/^isthmus: AJP on 127\.0\.0\.1:\d+$/);
    expect(lines[1]).toBe(`isthmus: AJP on ${socket("a")}`);
    expect(lines[2]).toMatch(/^isthmus: FastCGI on 127\.0\.0\.1:\d+$/);
    expect(lines[3]).toBe(`isthmus: FastCGI on ${socket("f")}`);
    expect(statSync(join(dir, "a")).mode & 0o777).toBe(0o660);

    for (const line of lines.slice(0, 2)) {
      const peer = await connectTo(line);
      peer.write(CPING);
      expect(await receive(peer, CPONG.length)).toEqual(CPONG);
      expect(await get(peer)).toEqual({ status: 200, text: expect.stringContaining("hello from /hi") });
      peer.destroy();
    }
    for (const line of lines.slice(2)) {
      const peer = await connectTo(line);
      peer.write(GET_VALUES);
      expect(await receive(peer, GET_VALUES_RESULT.length)).toEqual(GET_VALUES_RESULT);
      peer.destroy();
    }

    cli.kill("SIGTERM");
    expect(await cli.exit).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(existsSync(join(dir, "a"))).toBe(false);
    expect(existsSync(join(dir, "f"))).toBe(false);
  });

  test("serves SCGI, and all protocols on one port, over TCP and unix sockets", async () => {
    const app = write("app.mjs", `export default (_, info) => new Response("by " + info.protocol);`);
    const socket = `unix:${join(dir, "s")}`;
    const words = ["serve", app, "--scgi", "0", "--scgi", socket, "--any", "0", "--any", `${socket}2`, "--mode", "660"];
    const cli = isthmus(words, { ISTHMUS_SECRET: "s3cret" });
    const lines = await cli.lines(4);
    expect(lines[0]).toMatch(/^isthmus: SCGI on 127\.0\.0\.1:\d+$/);
    expect(lines[1]).toBe(`isthmus: SCGI on ${socket}`);
    expect(lines[2]).toMatch(/^isthmus: AJP, FastCGI or SCGI on 127\.0\.0\.1:\d+$/);
    expect(lines[3]).toBe(`isthmus: AJP, FastCGI or SCGI on ${socket}2`);
    for (const line of lines) {
      const scgi = new ScgiClient(await connectTo(line));
      expect(await scgi.fetch()).toMatchObject({ status: 200, text: "by scgi" });
    }
    for (const line of lines.slice(2)) {
      expect(await get(await connectTo(line))).toMatchObject({ status: 403 });
      expect(await get(await connectTo(line), withSecret(GET, "s3cret"))).toEqual({
        status: 200,
        text: expect.stringContaining("by ajp"),
      });
      const peer = await connectTo(line);
      peer.write(GET_VALUES);
      expect(await receive(peer, GET_VALUES_RESULT.length)).toEqual(GET_VALUES_RESULT);
      peer.destroy();
    }
    cli.kill("SIGTERM");
    expect(await cli.exit).toMatchObject({ code: 0, signal: null });
  });

  test("serves the examples", async () => {
    const hono = isthmus(["serve", join(EXAMPLES, "hono.ts"), "--ajp", "0"]);
    const bare = isthmus(["serve", join(EXAMPLES, "handler.ts"), "--ajp", "0", "--mount", "/hi"]);
    expect(await get(await connectTo((await hono.lines(1))[0]))).toMatchObject({ status: 404 });
    expect(await get(await connectTo((await bare.lines(1))[0]))).toEqual({
      status: 200,
      text: expect.stringContaining("Hello 10.0.0.7, by way of ajp."),
    });
  });

  test("loads TypeScript, relative to the current directory, where no package.json says how", async () => {
    write("app.ts", `export default { fetch(_: Request): Response { return new Response("typed"); } };`);
    const cli = isthmus(["serve", "app.ts", "--ajp", "0"]);
    expect(await get(await connectTo((await cli.lines(1))[0]))).toMatchObject({
      text: expect.stringContaining("typed"),
    });
  });

  test("loads a package of the application", async () => {
    mkdirSync(join(dir, "node_modules/shop"), { recursive: true });
    write("node_modules/shop/package.json", `{ "name": "shop", "type": "module", "exports": "./index.js" }`);
    write("node_modules/shop/index.js", HELLO);
    const cli = isthmus(["serve", "shop", "--ajp", "0"]);
    expect(await get(await connectTo((await cli.lines(1))[0]))).toMatchObject({ status: 200 });
  });

  test("takes the secret from the environment, and out of it", async () => {
    const app = write(
      "env.mjs",
      `import process from "node:process";
export default () => new Response(String(process.env.ISTHMUS_SECRET));`,
    );
    const cli = isthmus(["serve", app, "--ajp", "0"], { ISTHMUS_SECRET: "s3cret" });
    const [line] = await cli.lines(1);
    expect(await get(await connectTo(line))).toMatchObject({ status: 403 });
    expect(await get(await connectTo(line), withSecret(GET, "wrong"))).toMatchObject({ status: 403 });
    expect(await get(await connectTo(line), withSecret(GET, "s3cret"))).toMatchObject({
      status: 200,
      text: expect.stringContaining("undefined"),
    });
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "%s finishes the request that runs and ends with status 0",
    async (signal) => {
      const cli = isthmus(["serve", write("slow.mjs", SLOW), "--ajp", "0", "--fastcgi", "0"]);
      const [ajp, fastcgi] = await cli.lines(2);
      const answer = get(await connectTo(ajp));
      await cli.lines(3);
      cli.kill(signal);
      await refused(ajp);
      await refused(fastcgi);
      cli.child.stdin!.write("go on\n");
      expect(await answer).toEqual({ status: 200, text: expect.stringContaining("finished") });
      expect(await cli.exit).toMatchObject({ code: 0, signal: null, stderr: "" });
    },
  );

  test.each([["SIGTERM", "SIGTERM"], ["SIGINT", "SIGINT"], ["SIGTERM", "SIGINT"]] as const)(
    "%s, then %s, ends it at once",
    async (first, second) => {
      const cli = isthmus(["serve", write("slow.mjs", SLOW), "--ajp", "0"]);
      const [line] = await cli.lines(1);
      const peer = await connectTo(line);
      peer.write(GET);
      await cli.lines(2);
      cli.kill(first);
      await refused(line);
      // One that comes within a key press of the first counts as the same.
      const again = setInterval(() => cli.kill(second), 50);
      const { code, signal } = await cli.exit;
      clearInterval(again);
      expect({ code, signal }).toEqual({ code: null, signal: second });
    },
  );

  test("a Ctrl-C that npm passes on, and so arrives twice, still finishes the request", async () => {
    const cli = isthmus(["serve", write("slow.mjs", SLOW), "--ajp", "0"]);
    const [line] = await cli.lines(1);
    const answer = get(await connectTo(line));
    await cli.lines(2);
    cli.kill("SIGINT");
    cli.kill("SIGINT");
    await refused(line);
    cli.child.stdin!.write("go on\n");
    expect(await answer).toMatchObject({ status: 200 });
    expect(await cli.exit).toMatchObject({ code: 0, signal: null });
  });

  test("leaves an unhandled rejection of the application to the runtime", async () => {
    const app = write("app.mjs", `${HELLO}\nsetTimeout(() => Promise.reject(new Error("stray")), 10);`);
    const { code, stderr } = await isthmus(["serve", app, "--ajp", "0"]).exit;
    expect(code).not.toBe(0);
    expect(stderr).toContain("stray");
  });
});

describe("isthmus ends with one line on stderr", () => {
  async function failure(words: string[]): Promise<{ code: number | null; line: string }> {
    const { code, stdout, stderr } = await isthmus(words).exit;
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^isthmus: [^\n]+\n$/);
    return { code, line: stderr.slice("isthmus: ".length, -1) };
  }

  test.each([
    [["serve", "app.mjs", "--ajpp", "8009"], "unknown option --ajpp, did you mean --ajp? See isthmus serve --help"],
    [["srve"], "unknown command srve, did you mean serve? See isthmus --help"],
    [
      ["serve", "app.mjs", "--ajp", "localhost"],
      `Cannot use "localhost" for --ajp: it has no port. Accepted forms: 8009, 127.0.0.1:8009, [::1]:8009, ` +
      "unix:/run/app.sock, fd:3",
    ],
  ])("and status 2 for %j", async (words, line) => {
    expect(await failure(words)).toEqual({ code: 2, line });
  });

  test("where there is no address, and nobody who passes a socket on", async () => {
    const { code, line } = await failure(["serve", "app.mjs"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^no address to listen on, and no web server has started this: give an address .*--help$/);
  });

  test("for a file that is missing", async () => {
    expect(await failure(["serve", "nope.ts", "--ajp", "0"])).toEqual({
      code: 1,
      line: `Cannot load nope.ts: there is no file ${join(dir, "nope.ts")}`,
    });
  });

  test("for a package that is missing", async () => {
    const { code, line } = await failure(["serve", "no-such-package", "--ajp", "0"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^Cannot load no-such-package: .*no-such-package/);
  });

  test("for a directory", async () => {
    expect(await failure(["serve", ".", "--ajp", "0"])).toEqual({
      code: 1,
      line: `Cannot load .: ${dir} is a directory`,
    });
  });

  test("for a module that throws", async () => {
    const app = write("boom.mjs", `const reason = "no database";\nthrow new Error(reason + "\\nat all");`);
    expect(await failure(["serve", app, "--ajp", "0"])).toEqual({
      code: 1,
      line: `Cannot load ${app}: no database at all (${app}:2)`,
    });
  });

  test("for a module with a syntax error", async () => {
    const app = write("bad.ts", "export default (request: Request) =>\n  const;\n");
    const { code, line } = await failure(["serve", app, "--ajp", "0"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^Cannot load \S+bad\.ts: .*expected/i);
    expect(line).toMatch(/: .*bad\.ts:2/);
  });

  test("for a module whose import is missing", async () => {
    const app = write("app.mjs", `import "./missing.mjs";\n${HELLO}`);
    const { code, line } = await failure(["serve", app, "--ajp", "0"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^Cannot load .*app\.mjs: .*missing\.mjs/);
  });

  test.each([
    ["export const app = 1;", "it has no default export"],
    ["export default { port: 3000 };", "its default export is no handler"],
    ["export default null;", "its default export is no handler"],
  ])("for a module without a handler: %s", async (text, found) => {
    const app = write("app.mjs", text);
    expect(await failure(["serve", app, "--ajp", "0"])).toEqual({
      code: 1,
      line: `Cannot serve ${app}: ${found}; expected a function (request, info) => Response, or an object with a ` +
        "fetch method such as a Hono app",
    });
  });

  test("for a port in use, and frees what it already had", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    const app = write("app.mjs", HELLO);
    const words = ["serve", app, "--ajp", `unix:${join(dir, "a")}`, "--fastcgi", `${port}`];
    expect(await failure(words)).toEqual({
      code: 1,
      line: `Cannot listen on 127.0.0.1:${port}: the address is in use`,
    });
    expect(existsSync(join(dir, "a"))).toBe(false);
    await new Promise((resolve) => other.close(resolve));
  });

  test("for a port for all beyond loopback, secret or not", async () => {
    const { code, line } = await failure(["serve", write("app.mjs", HELLO), "--any", "0.0.0.0:0", "--secret", "s"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^Cannot listen on 0\.0\.0\.0 for AJP, FastCGI or SCGI, .*: give AJP an address of its own/);
  });

  test("for AJP beyond loopback without a secret", async () => {
    const { code, line } = await failure(["serve", write("app.mjs", HELLO), "--ajp", "0.0.0.0:0"]);
    expect(code).toBe(1);
    expect(line).toMatch(/^Cannot listen on 0\.0\.0\.0 .*: give --secret, or ISTHMUS_SECRET in the environment$/);
  });
});

describe("isthmus shows", () => {
  test.each([
    [["--help"], /^isthmus \d[^]*isthmus serve MODULE/],
    [["serve", "--help"], /^Usage: isthmus serve MODULE[^]*--packet-size N[^]*ajp:\/\/127[^]*fcgi:\/\/127/],
    [["--version"], /^isthmus \d+\.\d+\.\d+\n$/],
  ])("%j", async (words, expected) => {
    const { code, stdout, stderr } = await isthmus(words).exit;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(expected);
  });
});

/** A running command. */
interface Cli {
  child: ChildProcess;
  kill(signal: NodeJS.Signals): void;
  exit: Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;
  /** All lines of stdout as soon as there are `count`; rejects if it ends before. */
  lines(count: number): Promise<[string, ...string[]]>;
}

function isthmus(words: string[], environment: Record<string, string> = {}): Cli {
  const { ISTHMUS_SECRET: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [...COMMAND, ...words], {
    cwd: dir,
    env: { ...inherited, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr!.setEncoding("utf8").on("data", (text) => stderr += text);
  const exit = new Promise<Awaited<Cli["exit"]>>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  function lines(count: number): Promise<[string, ...string[]]> {
    return new Promise((resolve, reject) => {
      function look(): void {
        const found = stdout.split("\n").slice(0, -1);
        if (found.length < count) return;
        child.stdout!.off("data", look);
        resolve(found as [string, ...string[]]);
      }
      child.stdout!.on("data", look);
      look();
      exit.then(() => reject(new Error(`It ended before it printed ${count} lines:\n${stdout}${stderr}`)));
    });
  }
  let ended = false;
  child.once("exit", () => ended = true);
  function kill(signal: NodeJS.Signals): void {
    if (ended) return;
    try {
      // Deno's ChildProcess.kill would take the signal for the way it ended.
      process.kill(child.pid!, signal);
    } catch {
      // It has ended just now.
    }
  }
  const cli = { child, kill, exit, lines };
  running.push(cli);
  return cli;
}

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

/** Connects to the address of a line that the command printed. */
function connectTo(line: string | undefined): Promise<Socket> {
  const { hostname = "", port = 0, path } = parseAddress(line!.split(" on ")[1]!, "the test");
  return client(path === undefined ? { transport: "tcp", hostname, port } : { transport: "unix", path });
}

/** Resolves once nothing accepts connections there any more. */
async function refused(line: string | undefined): Promise<void> {
  while (true) {
    try {
      const peer = await connectTo(line);
      // Accepted by the system but closed by a server that ends, or not yet noticed by it.
      peer.destroy();
      await closed(peer);
    } catch {
      return;
    }
  }
}

/** Sends a request over AJP, reads the answer to its End Response, and closes as a web server does when told to. */
async function get(peer: Socket, request: Uint8Array = GET): Promise<{ status: number; text: string }> {
  peer.write(request);
  const text = await new Promise<string>((resolve, reject) => {
    let received = "";
    function onData(chunk: Uint8Array): void {
      received += latin1(chunk);
      if (!received.slice(0, -1).endsWith(END_RESPONSE)) return;
      peer.off("close", onClose).end();
      resolve(received);
    }
    const onClose = () => reject(new Error(`closed after ${JSON.stringify(received)}`));
    peer.on("data", onData).once("close", onClose);
  });
  return { status: text.charCodeAt(5) * 256 + text.charCodeAt(6), text };
}

/** The Forward Request with a secret (attribute 0x0C) before its terminator. */
function withSecret(packet: Uint8Array, secret: string): Uint8Array {
  const attribute = [0x0c, 0, secret.length, ...Array.from(secret, (c) => c.charCodeAt(0)), 0];
  const payload = [...packet.subarray(4, -1), ...attribute, 0xff];
  return Uint8Array.from([0x12, 0x34, payload.length >> 8, payload.length & 0xff, ...payload]);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
