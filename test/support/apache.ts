// A real, private Apache httpd for tests: own configuration, own port, own folder, nothing of the system's service.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { answers, findProgram, freePort, speaksHttp } from "./web_server.ts";

const PROGRAM = findProgram("/usr/sbin/apache2", "/usr/local/sbin/apache2");
const MODULES = "/usr/lib/apache2/modules";

/** Every server needs these; the others are asked for by name. */
const BASE_MODULES = [
  "mpm_event",
  "authn_core",
  "authz_core",
  "authz_host",
  "alias",
  "dir",
  "env",
  "headers",
  "mime",
  "setenvif",
  "proxy",
  "proxy_ajp",
  "proxy_fcgi",
  "proxy_http",
];
const AUTH_MODULES = ["auth_basic", "authn_file", "authz_user"];

const STOP_MS = 10_000;
const PORT_ATTEMPTS = 5;

/** What a configuration can refer to. */
export interface ApacheContext {
  port: number;
  /** The server's own temporary folder; Apache's workers may read it. */
  dir: string;
  /** The password file, if `auth` was given. */
  htpasswd: string;
}

export interface ApacheOptions {
  /** Modules beyond the usual ones, without "mod_" and "_module". */
  modules?: string[];
  /** Lines for httpd.conf, placed last. */
  config: (context: ApacheContext) => string;
  /** Users for Basic authentication, name to password. */
  auth?: Record<string, string>;
}

export interface Apache {
  port: number;
  url: string;
  dir: string;
  errorLog(): Promise<string>;
  stop(): Promise<void>;
}

/** Whether Apache httpd and its modules are installed. */
export function apacheAvailable(): boolean {
  return PROGRAM !== undefined && existsSync(join(MODULES, "mod_proxy_ajp.so"));
}

/** A line for an Apache password file. */
export function htpasswd(user: string, password: string): string {
  return `${user}:{SHA}${createHash("sha1").update(password).digest("base64")}\n`;
}

/** Starts Apache and resolves once it accepts connections. */
export async function startApache(options: ApacheOptions): Promise<Apache> {
  for (let attempt = 1;; attempt++) {
    try {
      return await startOnce(options, await freePort());
    } catch (error) {
      // Between finding a free port and Apache's bind another process may take it.
      const taken = error instanceof Error && error.message.includes("Address already in use");
      if (!taken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function startOnce(options: ApacheOptions, port: number): Promise<Apache> {
  if (PROGRAM === undefined) throw new Error("Cannot start Apache httpd: it is not installed");
  const dir = mkdtempSync(join(tmpdir(), "isthmus-apache-"));
  // As root, Apache's workers run as another user and must get in.
  chmodSync(dir, 0o755);
  const context: ApacheContext = { port, dir, htpasswd: join(dir, "htpasswd") };
  const errorLog = join(dir, "error.log");
  await writeFile(join(dir, "httpd.conf"), configuration(options, context));
  await writeFile(context.htpasswd, Object.entries(options.auth ?? {}).map(([u, p]) => htpasswd(u, p)).join(""));
  await writeFile(errorLog, "");

  const child = spawn(PROGRAM, ["-d", dir, "-f", join(dir, "httpd.conf"), "-DFOREGROUND"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr!.on("data", (chunk) => stderr += chunk);
  const exited = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error) => {
      stderr += error.message;
      resolve();
    });
  });
  // A test process that dies must not leave its server behind.
  const killAtExit = () => void child.kill("SIGKILL");
  process.once("exit", killAtExit);

  async function readErrorLog(): Promise<string> {
    return stderr + await readFile(errorLog, "utf8");
  }
  async function stop(): Promise<void> {
    await end(child, exited);
    process.removeListener("exit", killAtExit);
    rmSync(dir, { recursive: true, force: true });
  }

  try {
    await answers(port, child, speaksHttp);
  } catch (error) {
    const log = await readErrorLog();
    await stop();
    throw new Error(`Cannot start Apache httpd: ${(error as Error).message}\n${log}`);
  }
  return { port, url: `http://127.0.0.1:${port}`, dir, errorLog: readErrorLog, stop };
}

function configuration(options: ApacheOptions, context: ApacheContext): string {
  const modules = new Set([
    ...BASE_MODULES,
    ...(options.auth === undefined ? [] : AUTH_MODULES),
    ...(options.modules ?? []),
  ]);
  return [
    `ServerRoot "${context.dir}"`,
    `ServerName 127.0.0.1`,
    `Listen 127.0.0.1:${context.port}`,
    `PidFile "${context.dir}/httpd.pid"`,
    `DefaultRuntimeDir "${context.dir}"`,
    `Mutex file:${context.dir} default`,
    `ErrorLog "${context.dir}/error.log"`,
    `LogLevel warn`,
    // What Debian builds into the program has no module file to load.
    ...[...modules]
      .filter((name) => existsSync(join(MODULES, `mod_${name}.so`)))
      .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    ...(process.getuid?.() === 0 ? ["User www-data", "Group www-data"] : []),
    // Room for 500 requests at once, each of which holds a thread while it is proxied; all of it from the start, for
    // Apache adds processes only one second after another.
    `StartServers 8`,
    `ServerLimit 8`,
    `ThreadLimit 64`,
    `ThreadsPerChild 64`,
    `MaxRequestWorkers 512`,
    `MinSpareThreads 64`,
    `MaxSpareThreads 512`,
    `Timeout 20`,
    `KeepAlive On`,
    `MaxKeepAliveRequests 0`,
    `TypesConfig /dev/null`,
    `DocumentRoot "${context.dir}"`,
    options.config(context),
    "",
  ].join("\n");
}

/** Asks the server to stop at once, and kills it if it does not. */
async function end(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await exited;
  clearTimeout(timer);
}
