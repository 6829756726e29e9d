// Plain CGI as a web server's handler runs it: a process for one request, under the runtime that runs the tests.
import { once } from "node:events";
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { environment, type Exit, ISTHMUS, Program, RUN } from "../support/program.ts";
import { pattern, sha } from "../support/sockets.ts";

const SERVE_SPAWNED = fileURLToPath(new URL("../support/serve_spawned.ts", import.meta.url));

const APP = `
  import { createHash } from "node:crypto";
  import { log } from "node:console";
  import process, { stdout } from "node:process";

  console.log("loaded, HTTP_PROXY is", process.env.HTTP_PROXY);

  async function answer(request, info) {
    const { pathname, searchParams } = new URL(request.url);
    switch (pathname) {
      case "/hash": {
        const hash = createHash("sha256");
        let bytes = 0;
        for await (const chunk of request.body ?? []) {
          hash.update(chunk);
          bytes += chunk.length;
        }
        return Response.json({ bytes, sha256: hash.digest("hex") });
      }
      case "/unread":
        return new Response("not read");
      case "/info": {
        const { protocol, role, remoteAddr, peerAddr, remoteUser, authType } = info;
        const header = request.headers.get("x-name");
        const { method, url } = request;
        return Response.json({ protocol, role, remoteAddr, peerAddr, remoteUser, authType, header, method, url });
      }
      case "/params":
        return Response.json(Object.fromEntries(info.params));
      case "/log":
        console.log("log %d", 1);
        console.info("info");
        console.debug("debug");
        console.dir({ dir: 1 });
        console.table([{ table: 1 }]);
        console.group("group");
        console.groupEnd();
        console.count("count");
        log("named log");
        stdout.write("named stdout\\n");
        process.stdout.write("stdout of process\\n");
        return new Response("quiet");
      case "/boom":
        throw new Error("The database is on fire");
      case "/timers":
        setInterval(() => {}, 1000);
        return new Response("done");
      case "/bytes":
        return new Response(new Uint8Array(Number(searchParams.get("count"))).fill(7));
      case "/endless":
        request.signal.addEventListener("abort", () => console.error("aborted"));
        return new Response(
          new ReadableStream({
            start: () => console.error("started"),
            pull: (controller) => controller.enqueue(new Uint8Array(1000)),
            cancel: () => console.error("cancelled"),
          }),
        );
      case "/waits":
        console.error("started");
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        console.error("aborted");
        return new Response("too late");
      case "/fetch":
        return await fetch(searchParams.get("url"));
      default:
        return new Response("hello\\n", { headers: [["set-cookie", "a=1"], ["set-cookie", "b=2"]] });
    }
  }

  export default answer;
`;

let dir: string;
let app: string;
const running: Program[] = [];

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-cgi-")));
  app = join(dir, "app.mjs");
  writeFileSync(app, APP);
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((program) => program.end()));
  rmSync(dir, { recursive: true, force: true });
});

interface Answer extends Exit {
  status: string;
  head: string[];
  body: Uint8Array;
  text: string;
}

/** Starts the program for a request. Its stdin stays open. */
function start(variables: Record<string, string> = {}, command = [...ISTHMUS, "serve", app]): Program {
  const program = new Program(command, {
    cwd: dir,
    env: environment({
      GATEWAY_INTERFACE: "CGI/1.1",
      SERVER_PROTOCOL: "HTTP/1.1",
      SERVER_NAME: "www.example.com",
      SERVER_PORT: "80",
      REMOTE_ADDR: "203.0.113.9",
      REMOTE_PORT: "40000",
      REQUEST_METHOD: "GET",
      REQUEST_URI: "/",
      HTTP_HOST: "www.example.com",
      ...variables,
    }),
  });
  running.push(program);
  return program;
}

async function answerOf(program: Program): Promise<Answer> {
  const exit = await program.exit;
  const text = Array.from(exit.output.subarray(0, 65536), (byte) => String.fromCharCode(byte)).join("");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) throw new Error(`No head in ${JSON.stringify(text)}\n${exit.stderr}`);
  const [first = "", ...head] = text.slice(0, end).split("\r\n");
  const body = exit.output.slice(end + 4);
  return { ...exit, status: first, head, body, text: new TextDecoder().decode(body) };
}

describe("a CGI program", () => {
  test("answers a GET and ends with status 0", async () => {
    const { status, head, text, code, signal } = await answerOf(start());
    expect({ status, text, code, signal }).toEqual({
      status: "Status: 200 OK",
      text: "hello\n",
      code: 0,
      signal: null,
    });
    expect(head.filter((line) => line.startsWith("Set-Cookie"))).toEqual(["Set-Cookie: a=1", "Set-Cookie: b=2"]);
  });

  test("tells the handler what the web server says", async () => {
    const { text } = await answerOf(start({
      REQUEST_URI: "/info?a=1&b=%C3%A9",
      HTTPS: "on",
      REMOTE_USER: "zoë",
      AUTH_TYPE: "Basic",
    }));
    expect(JSON.parse(text)).toEqual({
      protocol: "cgi",
      role: "responder",
      remoteAddr: { transport: "tcp", hostname: "203.0.113.9", port: 40000 },
      remoteUser: "zoë",
      authType: "Basic",
      header: null,
      method: "GET",
      url: "https://www.example.com/info?a=1&b=%C3%A9",
    });
  });

  test("takes a body of CONTENT_LENGTH bytes and does not wait for the end of stdin", async () => {
    const body = pattern(3_000_001);
    const program = start({ REQUEST_METHOD: "POST", REQUEST_URI: "/hash", CONTENT_LENGTH: String(body.length) });
    program.child.stdin!.write(body);
    expect(JSON.parse((await answerOf(program)).text)).toEqual({ bytes: body.length, sha256: sha(body) });
  });

  test("reads nothing beyond the body", async () => {
    // What the program leaves is for whoever reads next.
    const rest = join(dir, "rest");
    const shell = ["sh", "-c", `cat "$FILE" | { "$@"; cat > "${rest}"; }`, "sh", ...ISTHMUS, "serve", app];
    const file = join(dir, "body");
    writeFileSync(file, "hello and more");
    const { text } = await answerOf(
      start({ REQUEST_METHOD: "POST", REQUEST_URI: "/hash", CONTENT_LENGTH: "5", FILE: file }, shell),
    );
    expect(JSON.parse(text)).toEqual({ bytes: 5, sha256: sha(new TextEncoder().encode("hello")) });
    expect(readFileSync(rest, "utf8")).toBe(" and more");
  });

  test.each([
    ["a file", `exec "$@" < "$FILE"`],
    ["a pipe", `cat "$FILE" | exec "$@"`],
  ])("takes a body from %s", async (_name, script) => {
    const body = pattern(1_000_001);
    const file = join(dir, "body");
    writeFileSync(file, body);
    const { text } = await answerOf(
      start(
        { REQUEST_METHOD: "POST", REQUEST_URI: "/hash", CONTENT_LENGTH: String(body.length), FILE: file },
        ["sh", "-c", script, "sh", ...ISTHMUS, "serve", app],
      ),
    );
    expect(JSON.parse(text)).toEqual({ bytes: body.length, sha256: sha(body) });
  });

  test.each([undefined, "", "0"])("takes no body with CONTENT_LENGTH %j and waits for none", async (length) => {
    const program = start({
      REQUEST_METHOD: "POST",
      REQUEST_URI: "/hash",
      ...(length !== undefined && { CONTENT_LENGTH: length }),
    });
    program.child.stdin!.write("not a body");
    expect(JSON.parse((await answerOf(program)).text)).toMatchObject({ bytes: 0 });
  });

  // Its end would look the same if the browser had left in the middle.
  test("answers 411 to a body that came in chunks", async () => {
    const program = start({ REQUEST_METHOD: "POST", REQUEST_URI: "/hash", HTTP_TRANSFER_ENCODING: "chunked" });
    program.child.stdin!.end("a body");
    const { status, code } = await answerOf(program);
    expect({ status, code }).toEqual({ status: "Status: 411 Length Required", code: 0 });
  });

  test("answers 400 to a body that is shorter than CONTENT_LENGTH", async () => {
    const program = start({ REQUEST_METHOD: "POST", REQUEST_URI: "/hash", CONTENT_LENGTH: "1000" });
    program.child.stdin!.end("short");
    const { status, code, stderr } = await answerOf(program);
    expect({ status, code }).toEqual({ status: "Status: 400 Bad Request", code: 0 });
    expect(stderr).toContain("The body is shorter than its CONTENT_LENGTH");
  });

  test.each(["-1", "1e3", "99999999999999"])("refuses CONTENT_LENGTH %s", async (length) => {
    const { status, code } = await answerOf(start({ REQUEST_METHOD: "POST", CONTENT_LENGTH: length }));
    expect({ status, code }).toEqual({
      status: length.startsWith("99") ? "Status: 413 Content Too Large" : "Status: 400 Bad Request",
      code: 0,
    });
  });

  test("lets the web server send all of a body that nobody reads", async () => {
    const program = start({ REQUEST_METHOD: "POST", REQUEST_URI: "/unread", CONTENT_LENGTH: "3000000" });
    await new Promise<void>((resolve, reject) => {
      program.child.stdin!.write(pattern(3_000_000), (error) => error ? reject(error) : resolve());
    });
    expect(await answerOf(program)).toMatchObject({ text: "not read", code: 0 });
  });

  test("sends a large response whole to a reader that is slow to start", async () => {
    const program = start({ REQUEST_URI: "/bytes?count=5000000" });
    program.child.stdout!.pause();
    await program.line("loaded", "stderr");
    program.child.stdout!.resume();
    const { body, code } = await answerOf(program);
    expect({ length: body.length, code }).toEqual({ length: 5_000_000, code: 0 });
    expect(body.every((byte) => byte === 7)).toBe(true);
  });

  test("has the bytes of the environment, also those that are no UTF-8", async () => {
    const script = `export HTTP_X_NAME="$(printf 'caf\\351\\200')" X_PATH="$(printf 'caf\\303\\251')"; exec "$@"`;
    const shell = ["sh", "-c", script, "sh", ...ISTHMUS, "serve", app];
    expect(JSON.parse((await answerOf(start({ REQUEST_URI: "/info" }, shell))).text)).toMatchObject({
      header: "caf\xe9\x80",
    });
    const params = JSON.parse((await answerOf(start({ REQUEST_URI: "/params" }, shell))).text);
    expect(params).toMatchObject({ HTTP_X_NAME: "caf\xe9\x80", X_PATH: "café" });
  });

  test("answers 500 when the handler throws; why stands on stderr only", async () => {
    const { status, stdout, stderr, code } = await answerOf(start({ REQUEST_URI: "/boom" }));
    expect({ status, code }).toEqual({ status: "Status: 500 Internal Server Error", code: 0 });
    expect(stdout).not.toContain("fire");
    expect(stderr).toContain("The database is on fire");
    expect(stderr).toContain("app.mjs");
  });

  test("keeps stdout for the response", async () => {
    const { stdout, text, stderr } = await answerOf(start({ REQUEST_URI: "/log" }));
    expect(text).toBe("quiet");
    expect(stdout).toMatch(/^Status: 200 OK\r\n([\w-]+: [^\r\n]+\r\n)+\r\nquiet$/);
    const logged = ["loaded", "log 1", "info", "debug", "dir: 1", "table", "group", "count: 1"];
    for (const line of [...logged, "named log", "named stdout", "stdout of process"]) expect(stderr).toContain(line);
  });

  test("ends although timers are left", async () => {
    expect(await answerOf(start({ REQUEST_URI: "/timers" }))).toMatchObject({ text: "done", code: 0, signal: null });
  });

  test("does not take its arguments for a query", async () => {
    const { text } = await answerOf(start({ REQUEST_URI: "/info" }, [...ISTHMUS, "serve", app]));
    expect(JSON.parse(text)).toMatchObject({ url: "http://www.example.com/info" });
  });

  test("removes HTTP_PROXY before the application is loaded, and does not use it", async () => {
    const proxy = createServer((_request, response) => response.end("by way of the proxy"));
    const origin = createServer((_request, response) => response.end("straight"));
    const [proxyPort, port] = await Promise.all([proxy, origin].map((server) =>
      new Promise<number>((resolve) => {
        server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
      })
    ));
    try {
      const url = encodeURIComponent(`http://127.0.0.1:${port}/`);
      const { text, stderr } = await answerOf(
        start({ REQUEST_URI: `/fetch?url=${url}`, HTTP_PROXY: `http://127.0.0.1:${proxyPort}` }),
      );
      expect(text).toBe("straight");
      expect(stderr).toContain("HTTP_PROXY is undefined");
      const params = await answerOf(start({ REQUEST_URI: "/params", HTTP_PROXY: "http://127.0.0.1:1" }));
      expect(JSON.parse(params.text)).not.toHaveProperty("HTTP_PROXY");
    } finally {
      for (const server of [proxy, origin]) {
        server.closeAllConnections();
        server.close();
      }
    }
  });

  test("ends in silence when the web server no longer reads", async () => {
    const program = start({ REQUEST_URI: "/endless" });
    await program.line("started", "stderr");
    program.child.stdout!.destroy();
    const { code, signal, stderr } = await program.exit;
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stderr).toContain("aborted");
    expect(stderr).toContain("cancelled");
    expect(stderr).not.toMatch(/EPIPE|ECONNRESET|isthmus:/);
  });

  test.each(["SIGTERM", "SIGINT", "SIGUSR1"] as const)("%s aborts the request and ends it", async (signal) => {
    const program = start({ REQUEST_URI: "/waits" });
    await program.line("started", "stderr");
    program.kill(signal);
    const exit = await program.exit;
    expect(exit).toMatchObject({ code: 0, signal: null, stdout: "" });
    expect(exit.stderr).toContain("aborted");
  });

  test("SIGTERM ends it although the web server neither sends the body nor reads the response", async () => {
    const body = { REQUEST_METHOD: "POST", REQUEST_URI: "/hash", CONTENT_LENGTH: "1000" };
    const reading = start(body);
    await reading.line("loaded", "stderr");
    const writing = start({ REQUEST_URI: "/endless" });
    writing.child.stdout!.pause();
    await writing.line("started", "stderr");
    const ended = Promise.all([once(reading.child, "exit"), once(writing.child, "exit")]);
    for (const program of [reading, writing]) program.kill("SIGTERM");
    await ended;
    writing.child.stdout!.resume();
    for (const program of [reading, writing]) expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });

  test("says on stderr why the application cannot be loaded, and nothing on stdout", async () => {
    const { code, stdout, stderr } = await start({}, [...ISTHMUS, "serve", join(dir, "nope.mjs")]).exit;
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^isthmus: Cannot load [^\n]+\n$/);
  });

  test("by FCGI_FORCE_CGI, where GATEWAY_INTERFACE is missing", async () => {
    expect(await answerOf(start({ GATEWAY_INTERFACE: "", FCGI_FORCE_CGI: "Yes" }))).toMatchObject({
      status: "Status: 200 OK",
      code: 0,
    });
    expect(await answerOf(start({ GATEWAY_INTERFACE: "", REQUEST_METHOD: "", FCGI_FORCE_CGI: "Y" }))).toMatchObject({
      status: "Status: 400 Bad Request",
    });
  });
});

describe("serveSpawned", () => {
  test("resolves finished when the response is out, and counts it", async () => {
    const { text, stderr, code } = await answerOf(start({}, [...RUN, SERVE_SPAWNED]));
    expect({ text, code }).toEqual({ text: "by cgi", code: 0 });
    expect(stderr).toContain("onListen");
    expect(JSON.parse(stderr.trim().split("\n").at(-1)!)).toMatchObject({
      connections: 0,
      activeRequests: 0,
      totalConnections: 1,
      totalRequests: 1,
      protocolErrors: 0,
    });
  });
});
