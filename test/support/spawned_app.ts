// The example app as an executable that a web server starts, whatever user the web server runs it as.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { configurationUnder } from "./doc_blocks.ts";
import { ISTHMUS } from "./program.ts";
import { runtime } from "./runtime.ts";
import { until } from "./until.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** All that the example app and the command line need of the checkout. */
const NEEDED = ["adapters", "src", "examples", "package.json", "deno.json"];
const NEEDED_PACKAGES = ["tsx", "esbuild", "@esbuild", "hono", "@std", "deno-std"];
/** As whom web servers run programs where they are started by root. */
const OTHER_USER = ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups"];

const PROCESSES_END_MS = 10_000;

/** An executable file, and the processes that it became. */
export interface SpawnedApp {
  /** A folder that the web server's user may write to. */
  dir: string;
  /** The executable. */
  program: string;
  /** One for each process so far. */
  pids(): number[];
  /** Resolves once none of the processes is left. */
  ended(): Promise<void>;
  /** Removes everything, and whatever still runs. */
  remove(): void;
}

/** Writes the executable, and makes sure that the web server's user can run it. */
export function spawnedApp(...options: string[]): SpawnedApp {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-app-"));
  chmodSync(dir, 0o777);
  const program = join(dir, "run");
  const words = [...ISTHMUS, "serve", join(ROOT, "examples/hono.ts"), ...options];
  writeScript(dir, program, words);
  if (failureOf(program) !== undefined) {
    // The checkout or the runtime is where others may not look, such as under /root.
    writeScript(dir, program, copyFor(dir, words));
    const failure = failureOf(program);
    if (failure !== undefined) {
      rmSync(dir, { recursive: true, force: true });
      throw new Error(`The web server's user cannot run ${program}, not even with all it needs beside it:\n${failure}`);
    }
  }
  writeFileSync(join(dir, "pids"), "");
  chmodSync(join(dir, "pids"), 0o666);
  const pids = () => readFileSync(join(dir, "pids"), "utf8").split("\n").slice(0, -1).map(Number);
  return {
    dir,
    program,
    pids,
    ended: () => until(() => !pids().some(isRunning), "the end of all processes", PROCESSES_END_MS),
    remove() {
      // A test that failed must not leave them behind.
      for (const pid of pids().filter(isRunning)) process.kill(pid, "SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The script of docs/spawned.md with this runtime and this app. */
function writeScript(dir: string, program: string, words: string[]): void {
  mkdirSync(join(dir, "deno"), { recursive: true });
  chmodSync(join(dir, "deno"), 0o777);
  const start = `echo $$ >> "${join(dir, "pids")}"\nexec ${words.map((word) => `'${word}'`).join(" ")}`;
  const script = configurationUnder("Started by the web server", "spawned.md")
    .replace("/var/cache/deno", join(dir, "deno"))
    // By a function, as "$$" means something else in a text.
    .replace(/^exec .*$/m, () => start);
  writeFileSync(program, script);
  chmodSync(program, 0o755);
}

/** What keeps it from answering a request as the user that the web server will run it as; undefined for nothing. */
function failureOf(program: string): string | undefined {
  const [command = "", ...args] = process.getuid?.() === 0 ? [...OTHER_USER, program] : [program];
  const { stdout, stderr, error } = spawnSync(command, args, {
    env: { PATH: process.env["PATH"] ?? "", GATEWAY_INTERFACE: "CGI/1.1", REQUEST_METHOD: "GET", REQUEST_URI: "/json" },
    cwd: "/",
  });
  // Whatever the path that it is mounted at.
  return /^Status: \d/.test(String(stdout)) ? undefined : `${error?.message ?? ""}${stdout}${stderr}`;
}

/** Copies everything that `words` name, and returns them with the names of the copies. */
function copyFor(dir: string, words: string[]): string[] {
  const copy = join(dir, "copy");
  mkdirSync(join(copy, "node_modules"), { recursive: true });
  const binary = join(copy, runtime);
  copyFileSync(process.execPath, binary);
  cp(NEEDED.map((name) => join(ROOT, name)), copy);
  cp(NEEDED_PACKAGES.map((name) => join(ROOT, "node_modules", name)), join(copy, "node_modules"));
  spawnSync("chmod", ["-R", "a+rX", copy, binary]);
  return [binary, ...words.slice(1)].map((word) => word.replace(ROOT, `${copy}/`));
}

function cp(from: string[], to: string): void {
  const { status, stderr } = spawnSync("cp", ["-RL", ...from, to]);
  if (status !== 0) throw new Error(`Cannot copy to ${to}: ${stderr}`);
}

function isRunning(pid: number): boolean {
  try {
    // Who has ended and was not waited for does not count.
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
