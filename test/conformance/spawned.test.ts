// The program as a web server's child: the listening socket is descriptor 0, and signals say when to end.
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FastCgiClient } from "../support/fastcgi_client.ts";
import { environment, ISTHMUS, Program, RUN, socketsOf, withSockets } from "../support/program.ts";
import type { Addr } from "../../src/types.ts";

const SERVE_SPAWNED = fileURLToPath(new URL("../support/serve_spawned.ts", import.meta.url));

/** Says when a request has come, and answers it once one for /go has come. */
const APP = `
  let go;
  const gone = new Promise((resolve) => go = resolve);
  export default async (request, info) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/go") go();
    if (pathname === "/slow") {
      console.error("started");
      await gone;
    }
    if (pathname === "/never") {
      console.error("started");
      await new Promise(() => {});
    }
    if (pathname === "/log") console.log("logged");
    return new Response(info.protocol + " " + pathname);
  };
  setInterval(() => {}, 1000);
`;

let dir: string;
let app: string;
const running: Program[] = [];
const clients: FastCgiClient[] = [];

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-spawned-")));
  app = join(dir, "app.mjs");
  writeFileSync(app, APP);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await Promise.all(running.splice(0).map((program) => program.end()));
  rmSync(dir, { recursive: true, force: true });
});

function start(command: string[], variables: Record<string, string> = {}): Program {
  const program = new Program(command, { cwd: dir, env: environment(variables), stdio: ["ignore", "pipe", "pipe"] });
  running.push(program);
  return program;
}

/** Starts the command line with a listening socket as descriptor 0. */
async function spawned(
  address: string,
  variables: Record<string, string> = {},
  command = [...ISTHMUS, "serve", app],
): Promise<{ program: Program; addr: Addr }> {
  const program = start(withSockets(0, [address], command), variables);
  const [socket = ""] = await socketsOf(program);
  const addr: Addr = socket.startsWith("/")
    ? { transport: "unix", path: socket }
    : { transport: "tcp", hostname: address, port: Number(socket) };
  return { program, addr };
}

async function open(addr: Addr): Promise<FastCgiClient> {
  const client = await FastCgiClient.open(addr);
  clients.push(client);
  return client;
}

async function get(addr: Addr, path = "/"): Promise<string> {
  const client = await open(addr);
  return (await client.fetch(1, { REQUEST_URI: path })).text;
}

/** Resolves once nothing accepts connections there any more. */
async function refused(addr: Addr): Promise<void> {
  const target = addr.transport === "tcp" ? { host: addr.hostname, port: addr.port } : { path: addr.path };
  while (
    await new Promise<boolean>((resolve) => {
      const socket = connect(target);
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(true));
      socket.once("connect", () => socket.destroy());
    })
  );
}

describe("FastCGI on descriptor 0", () => {
  test.each(["unix", "tcp"])("serves on a listening socket, %s, and writes nothing to stdout", async (kind) => {
    const { program, addr } = await spawned(kind === "unix" ? join(dir, "app.sock") : "127.0.0.1");
    expect(await get(addr, "/one")).toBe("fastcgi /one");
    expect(await Promise.all(Array.from({ length: 20 }, (_, i) => get(addr, `/${i}`)))).toEqual(
      Array.from({ length: 20 }, (_, i) => `fastcgi /${i}`),
    );
    program.kill("SIGTERM");
    const { code, signal, stdout, stderr } = await program.exit;
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
    expect(stdout).toMatch(/^listening on [^\n]+\n$/);
  });

  test("with stdout and stderr closed", async () => {
    const { program, addr } = await spawned(join(dir, "app.sock"), {}, [
      "sh",
      "-c",
      `exec "$@" >&- 2>&-`,
      "sh",
      ...ISTHMUS,
      "serve",
      app,
    ]);
    expect(await get(addr, "/log")).toBe("fastcgi /log");
    expect(await get(addr, "/again")).toBe("fastcgi /again");
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });

  test("outlives the reader of its stdout and stderr", async () => {
    const { program, addr } = await spawned(join(dir, "app.sock"));
    expect(await get(addr, "/before")).toBe("fastcgi /before");
    program.child.stdout!.destroy();
    program.child.stderr!.destroy();
    for (let i = 0; i < 5; i++) expect(await get(addr, "/log")).toBe("fastcgi /log");
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });

  test("takes the mount", async () => {
    const { addr } = await spawned("127.0.0.1", {}, [...ISTHMUS, "serve", app, "--mount", "/app"]);
    expect(await get(addr, "/app/x")).toBe("fastcgi /x");
  });

  test("FCGI_WEB_SERVER_ADDRS says who may connect", async () => {
    const open = await spawned("127.0.0.1", { FCGI_WEB_SERVER_ADDRS: "10.0.0.1, ::1,127.0.0.1" });
    expect(await get(open.addr)).toBe("fastcgi /");
    const closed = await spawned("127.0.0.1", { FCGI_WEB_SERVER_ADDRS: "10.0.0.1,::1" });
    await expect(get(closed.addr)).rejects.toThrow("The connection ended");
    const empty = await spawned("127.0.0.1", { FCGI_WEB_SERVER_ADDRS: "" });
    expect(await get(empty.addr)).toBe("fastcgi /");
    // Who can open a socket file is a matter of its permissions.
    const unix = await spawned(join(dir, "app.sock"), { FCGI_WEB_SERVER_ADDRS: "10.0.0.1" });
    expect(await get(unix.addr)).toBe("fastcgi /");
  });

  test("an unusable entry of FCGI_WEB_SERVER_ADDRS ends it with one line", async () => {
    const { program } = await spawned("127.0.0.1", { FCGI_WEB_SERVER_ADDRS: "127.0.0.1,localhost" });
    expect(await program.exit).toMatchObject({
      code: 1,
      stderr: `isthmus: Cannot use "localhost" of FCGI_WEB_SERVER_ADDRS: it must be an IP address\n`,
    });
  });

  test.each(["SIGTERM", "SIGINT", "SIGUSR1"] as const)("%s finishes the request that runs", async (signal) => {
    const { program, addr } = await spawned(join(dir, "app.sock"));
    const waiting = await open(addr);
    const other = await open(addr);
    await other.fetch(1, { REQUEST_URI: "/first" });
    waiting.request(1, { REQUEST_URI: "/slow" });
    await program.line("started", "stderr");
    // Begun before the end, so that it may finish the other.
    other.begin(2);
    await other.getValues("FCGI_MPXS_CONNS");
    program.kill(signal);
    await refused(addr);
    other.params(2, { REQUEST_METHOD: "GET", REQUEST_URI: "/go", HTTP_HOST: "x" }).stdinEnd(2);
    expect((await waiting.response(1)).text).toBe("fastcgi /slow");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });

  test("a request that never ends is cut off before mod_fcgid kills", async () => {
    const { program, addr } = await spawned(join(dir, "app.sock"));
    const client = await open(addr);
    client.request(1, { REQUEST_URI: "/never" });
    await program.line("started", "stderr");
    const begin = performance.now();
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
    const took = performance.now() - begin;
    expect(took).toBeGreaterThan(2000);
    expect(took).toBeLessThan(3000);
  });

  test("a signal during the start ends it", async () => {
    const stuck = join(dir, "stuck.mjs");
    writeFileSync(stuck, `console.error("loading");\nsetInterval(() => {}, 1000);\nawait new Promise(() => {});`);
    const { program } = await spawned("127.0.0.1", {}, [...ISTHMUS, "serve", stuck]);
    await program.line("loading", "stderr");
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });
});

describe("serveSpawned", () => {
  test("serves FastCGI on descriptor 0", async () => {
    const { program, addr } = await spawned(join(dir, "app.sock"), {}, [...RUN, SERVE_SPAWNED]);
    expect(await get(addr)).toBe("by fastcgi");
    expect(program.stderr).toContain("onListen");
  });

  test("says what it needs where no web server has started it", async () => {
    const { code, stderr } = await start([...RUN, SERVE_SPAWNED]).exit;
    expect(code).not.toBe(0);
    expect(stderr).toContain("Cannot tell what to serve: descriptor 0 is not a listening socket");
  });
});

describe("started by nobody, it says so in one line:", () => {
  const LINE = "isthmus: no address to listen on, and no web server has started this: give an address such as " +
    "--fastcgi 9000, or let a web server, spawn-fcgi or systemd start it. See isthmus serve --help\n";

  test.each([
    ["a file", `exec "$@" < "$APP"`],
    ["a pipe", `sleep 0 | exec "$@"`],
    ["nothing", `exec "$@" < /dev/null`],
    ["a closed descriptor", `exec "$@" <&-`],
  ])("with %s as descriptor 0", async (_name, script) => {
    const program = start(["sh", "-c", script, "sh", ...ISTHMUS, "serve", app], { APP: app });
    expect(await program.exit).toMatchObject({ code: 1, stdout: "", stderr: LINE });
  });

  test("with a connected socket, which is what mod_cgid gives", async () => {
    // What these runtimes call a pipe is one.
    const program = new Program([...ISTHMUS, "serve", app], { cwd: dir, env: environment() });
    running.push(program);
    expect(await program.exit).toMatchObject({ code: 1, stdout: "", stderr: LINE });
  });

  test("with a terminal", async () => {
    const command = [...ISTHMUS, "serve", app].map((word) => `'${word}'`).join(" ");
    const { code, stdout } = await start(["script", "-qec", command, "/dev/null"], { NO_COLOR: "1" }).exit;
    expect({ code, stdout }).toEqual({ code: 1, stdout: LINE.replace("\n", "\r\n") });
  });

  test("and with a GATEWAY_INTERFACE that is no request", async () => {
    expect(await start([...ISTHMUS, "serve", app], { GATEWAY_INTERFACE: "CGI/1.1" }).exit).toMatchObject({ code: 1 });
  });
});
