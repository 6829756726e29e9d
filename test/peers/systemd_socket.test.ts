// The program as a systemd service: sockets passed on from descriptor 3 on, and datagrams to the service manager.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ajpFetch } from "../support/ajp_get.ts";
import { describeSystemd } from "../support/describe_spawners.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { FastCgiClient } from "../support/fastcgi_client.ts";
import { environment, ISTHMUS, Program, withSockets } from "../support/program.ts";
import { client, receiveAll } from "../support/sockets.ts";

const APP = `
  import process from "node:process";
  import { execFileSync } from "node:child_process";
  export default async (request, info) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/env") {
      const names = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
      const child = execFileSync("env", { encoding: "utf8" });
      return Response.json(names.filter((name) => name in process.env || child.includes(name + "=")));
    }
    if (pathname === "/slow") {
      console.error("started");
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    return new Response(info.protocol + " " + pathname);
  };
`;

/** A service manager's end: prints each datagram on a line. */
const RECEIVER = `
  use strict; use Socket;
  my $name = shift; $name =~ s/^@/\\0/;
  socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
  bind($socket, sockaddr_un($name)) or die $!;
  $| = 1; print "ready\\n";
  while (defined recv($socket, my $text, 4096, 0)) { next if $text eq "BARRIER=1"; $text =~ s/\\n/ /g; print "$text\\n" }
`;

let dir: string;
let app: string;
const running: Program[] = [];

beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "isthmus-systemd-")));
  app = join(dir, "app.mjs");
  writeFileSync(app, APP);
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((program) => program.end()));
  rmSync(dir, { recursive: true, force: true });
});

function start(command: string[], variables: Record<string, string> = {}): Program {
  const program = new Program(command, { cwd: dir, env: environment(variables), stdio: ["ignore", "pipe", "pipe"] });
  running.push(program);
  return program;
}

async function receiver(name: string): Promise<Program> {
  const program = start(["perl", "-e", RECEIVER, name]);
  await program.line("ready");
  return program;
}

async function getFastCgi(path: string, uri = "/"): Promise<string> {
  const client = await FastCgiClient.open({ transport: "unix", path });
  try {
    return (await client.fetch(1, { REQUEST_URI: uri })).text;
  } finally {
    client.close();
  }
}

async function getScgi(path: string): Promise<string> {
  const variables = "CONTENT_LENGTH\x000\x00SCGI\x001\x00REQUEST_METHOD\x00GET\x00REQUEST_URI\x00/hi\x00";
  const socket = await client({ transport: "unix", path });
  socket.write(`${variables.length}:${variables},`);
  return new TextDecoder().decode(await receiveAll(socket));
}

const SERVE = [...ISTHMUS, "serve"];

describeSystemd("systemd", () => {
  test("a socket is served, left as it is, and the service manager is told", async () => {
    const socket = join(dir, "app.sock");
    const manager = await receiver(join(dir, "notify"));
    const program = start(withSockets(3, [socket], [...SERVE, app]), {
      LISTEN_FDS: "1",
      LISTEN_FDNAMES: "app.socket",
      NOTIFY_SOCKET: join(dir, "notify"),
    });
    await program.line("isthmus: FastCGI on fd:3");
    await manager.line("READY=1");
    const { ino, mode } = statSync(socket);
    expect(await getFastCgi(socket, "/one")).toBe("fastcgi /one");
    expect(JSON.parse(await getFastCgi(socket, "/env"))).toEqual([]);
    const slow = getFastCgi(socket, "/slow");
    await program.line("started", "stderr");
    program.kill("SIGTERM");
    await manager.line("STOPPING=1");
    expect(await slow).toBe("fastcgi /slow");
    expect(await program.exit).toMatchObject({ code: 0, signal: null, stderr: "started\n" });
    expect(manager.stdout.split("\n").slice(1, -1)).toEqual(["READY=1", "STOPPING=1"]);
    expect(existsSync(socket)).toBe(true);
    expect(statSync(socket)).toMatchObject({ ino, mode });
  });

  test("to an abstract name, and of an address of its own", async () => {
    const name = `@isthmus-test-${process.pid}-${Date.now()}`;
    const manager = await receiver(name);
    const program = start([...SERVE, app, "--fastcgi", "0"], { NOTIFY_SOCKET: name });
    await manager.line("READY=1");
    program.kill("SIGTERM");
    await manager.line("STOPPING=1");
    expect(await program.exit).toMatchObject({ code: 0, stderr: "" });
  });

  test("a watchdog gets signs of life at half its time", async () => {
    const manager = await receiver(join(dir, "notify"));
    start([...SERVE, app, "--fastcgi", "0"], { NOTIFY_SOCKET: join(dir, "notify"), WATCHDOG_USEC: "600000" });
    await manager.line("READY=1");
    const begin = performance.now();
    await manager.lines((lines) => lines.filter((line) => line === "WATCHDOG=1").length >= 3);
    expect(performance.now() - begin).toBeGreaterThan(700);
  });

  test("somebody else's watchdog does not", async () => {
    const manager = await receiver(join(dir, "notify"));
    const program = start([...SERVE, app, "--fastcgi", "0"], {
      NOTIFY_SOCKET: join(dir, "notify"),
      WATCHDOG_USEC: "20000",
      WATCHDOG_PID: "1",
    });
    await manager.line("READY=1");
    await new Promise((resolve) => setTimeout(resolve, 200));
    program.kill("SIGTERM");
    await program.exit;
    expect(manager.stdout).not.toContain("WATCHDOG");
  });

  test("the name of a socket says its protocol", async () => {
    const names = ["ajp", "fastcgi", "scgi", "any", "other"];
    const sockets = names.map((name) => join(dir, name));
    const [ajp = "", fastcgi = "", scgi = "", any = "", other = ""] = sockets;
    const program = start(withSockets(3, sockets, [...SERVE, app]), {
      LISTEN_FDS: String(names.length),
      LISTEN_FDNAMES: names.join(":"),
    });
    await program.lines((lines) => lines.filter((line) => line.startsWith("isthmus:")).length === names.length);
    expect(program.stdout.split("\n").slice(1, -1)).toEqual([
      "isthmus: AJP on fd:3",
      "isthmus: FastCGI on fd:4",
      "isthmus: SCGI on fd:5",
      "isthmus: AJP, FastCGI or SCGI on fd:6",
      "isthmus: FastCGI on fd:7",
    ]);
    expect(await ajpFetch({ transport: "unix", path: ajp })).toContain("ajp /hi");
    expect(await ajpFetch({ transport: "unix", path: any })).toContain("ajp /hi");
    for (const path of [fastcgi, any, other]) expect(await getFastCgi(path)).toBe("fastcgi /");
    for (const path of [scgi, any]) expect(await getScgi(path)).toContain("scgi /hi");
  });

  test("sockets that are for another process are not taken", async () => {
    const program = start(withSockets(3, [join(dir, "app.sock")], [...SERVE, app]), {
      LISTEN_FDS: "1",
      LISTEN_PID: "1",
    });
    const { code, stderr } = await program.exit;
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("no address to listen on") });
  });

  test("a descriptor that does not listen ends it with one line", async () => {
    const script = `exec 3< /dev/null; export LISTEN_PID=$$; exec "$@"`;
    const { code, stderr } = await start(["sh", "-c", script, "sh", ...SERVE, app], { LISTEN_FDS: "1" }).exit;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^isthmus: Cannot listen on file descriptor 3: [^\n]+\n$/);
  });

  test("a service manager that cannot be reached is said once, and ends nothing", async () => {
    const program = start([...SERVE, app, "--fastcgi", "0"], { NOTIFY_SOCKET: join(dir, "nobody") });
    await program.line("Cannot send READY=1 to systemd", "stderr");
    program.kill("SIGTERM");
    const { code, stderr } = await program.exit;
    expect(code).toBe(0);
    expect(stderr.match(/Cannot send/g)).toHaveLength(1);
  });

  test("the documented units are units", () => {
    const socket = configurationUnder("systemd", "spawned.md");
    const service = configurationUnder("The service", "spawned.md");
    writeFileSync(join(dir, "app.socket"), socket);
    const run = join(dir, "run");
    writeFileSync(run, "#!/bin/sh\n", { mode: 0o755 });
    writeFileSync(join(dir, "app.service"), replaceAll(service, { "/srv/app/run": run }));
    const { status, stderr } = spawnSync("systemd-analyze", ["verify", "./app.socket", "./app.service"], {
      cwd: dir,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  test("systemd-socket-activate starts it at the first connection", async () => {
    const socket = join(dir, "app.sock");
    const program = start(["systemd-socket-activate", "-l", socket, "-E", "PATH", "-E", "HOME", ...SERVE, app]);
    await program.line("Listening on", "stderr");
    expect(await getFastCgi(socket, "/first")).toBe("fastcgi /first");
    expect(await getFastCgi(socket, "/second")).toBe("fastcgi /second");
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });
});
