// Starts a real web server for tests, private to them: own configuration, port and folder, nothing of the system's.
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const START_MS = 15_000;
const STOP_MS = 10_000;
const PORT_ATTEMPTS = 5;

/** What a configuration can refer to. */
export interface WebServerContext {
  port: number;
  /** The server's own temporary folder, which its workers may read. */
  dir: string;
}

/** How one kind of web server is started. */
export interface WebServerProgram {
  /** For people. */
  title: string;
  /** Its executable; undefined where it is not installed. */
  program: string | undefined;
  /** What it is called with, so that it stays in the foreground. */
  args: (context: WebServerContext) => string[];
  /** Files by name, written into the folder before the start. */
  files: (context: WebServerContext) => Record<string, string>;
  /** Ends it at once, without waiting for connections. */
  stopSignal?: NodeJS.Signals;
}

export interface WebServer {
  port: number;
  url: string;
  dir: string;
  /** What it has written to stdout and stderr. */
  log(): string;
  stop(): Promise<void>;
}

/** The first of the paths where a program is. */
export function findProgram(...paths: string[]): string | undefined {
  return paths.find(isExecutable);
}

/** Starts a web server and resolves once it accepts connections. */
export async function startWebServer(server: WebServerProgram): Promise<WebServer> {
  for (let attempt = 1;; attempt++) {
    try {
      return await startOnce(server, await freePort());
    } catch (error) {
      // Between finding a free port and the server's bind another process may take it.
      const taken = error instanceof Error && /address already in use/i.test(error.message);
      if (!taken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function startOnce(server: WebServerProgram, port: number): Promise<WebServer> {
  if (server.program === undefined) throw new Error(`Cannot start ${server.title}: it is not installed`);
  const dir = mkdtempSync(join(tmpdir(), "isthmus-web-server-"));
  // Started as root, its workers run as another user and must get in.
  chmodSync(dir, 0o755);
  // Where the workers may write what they cannot hold.
  mkdirSync(join(dir, "tmp"));
  chmodSync(join(dir, "tmp"), 0o1777);
  const context = { port, dir };
  for (const [name, text] of Object.entries(server.files(context))) await writeFile(join(dir, name), text);

  const child = spawn(server.program, server.args(context), {
    cwd: dir,
    // Caddy keeps its state where this says.
    env: { ...process.env, HOME: dir, XDG_CONFIG_HOME: dir, XDG_DATA_HOME: dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding("utf8").on("data", (text) => output += text);
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error) => {
      output += error.message;
      resolve();
    });
  });
  // A test process that dies must not leave its server behind.
  const killAtExit = () => void child.kill("SIGKILL");
  process.once("exit", killAtExit);

  async function stop(): Promise<void> {
    child.kill(server.stopSignal ?? "SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await exited;
    clearTimeout(timer);
    process.removeListener("exit", killAtExit);
    rmSync(dir, { recursive: true, force: true });
  }

  try {
    await answers(port, child);
  } catch (error) {
    await stop();
    throw new Error(`Cannot start ${server.title}: ${(error as Error).message}\n${output}`);
  }
  return { port, url: `http://127.0.0.1:${port}`, dir, log: () => output, stop };
}

/** Waits until the port accepts a connection, or the server is gone. */
export async function answers(
  port: number,
  child: ChildProcess,
  isUp: (port: number) => Promise<boolean> = accepts,
): Promise<void> {
  const deadline = Date.now() + START_MS;
  while (!await isUp(port)) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) throw new Error("it exited");
    if (Date.now() > deadline) throw new Error(`no answer on port ${port} within ${START_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/**
 * Whether an answer to a request comes. Apache listens while it reads its configuration for the first time, and then
 * closes that socket with the connections that wait on it: that it accepts means nothing yet.
 */
export function speaksHttp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("OPTIONS * HTTP/1.0\r\n\r\n"));
    socket.setTimeout(START_MS, () => socket.destroy());
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}

/** A port that nothing listens on just now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
