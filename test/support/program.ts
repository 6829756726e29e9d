// Programs of their own, under the runtime that runs the tests, started as web servers and systemd start them.
import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { runtime } from "./runtime.ts";
import { concat } from "./sockets.ts";

const MAIN = fileURLToPath(new URL("../../adapters/cli/main.ts", import.meta.url));

/** How this runtime runs a TypeScript file: the words before the file. */
export const RUN: string[] = [
  process.execPath,
  ...{
    node: ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href],
    deno: ["run", "-A"],
    bun: [],
  }[runtime],
];

/** The command line under this runtime. */
export const ISTHMUS: string[] = [...RUN, MAIN];

/** How a program ended. */
export interface Exit {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
  /** What `stdout` is made of. */
  output: Uint8Array;
}

/** A program that runs. */
export class Program {
  readonly child: ChildProcess;
  readonly exit: Promise<Exit>;
  readonly #stdout: Uint8Array[] = [];
  readonly #stderr: Uint8Array[] = [];
  #ended = false;

  constructor(command: string[], options: { env?: Record<string, string>; cwd?: string; stdio?: StdioOptions } = {}) {
    const [program = "", ...args] = command;
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    this.child = child;
    child.stdout?.on("data", (chunk: Uint8Array) => this.#stdout.push(chunk));
    child.stderr?.on("data", (chunk: Uint8Array) => this.#stderr.push(chunk));
    // A program need not read all that it is given.
    child.stdin?.on("error", () => {});
    child.once("exit", () => this.#ended = true);
    this.exit = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        const output = concat(this.#stdout);
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr, output });
      });
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  get stdout(): string {
    return new TextDecoder().decode(concat(this.#stdout));
  }

  get stderr(): string {
    return new TextDecoder().decode(concat(this.#stderr));
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#ended) return;
    try {
      // Deno's ChildProcess.kill would take the signal for the way it ended.
      process.kill(this.pid, signal);
    } catch {
      // It has ended just now.
    }
  }

  /** All lines of stdout, or of stderr, as soon as one of them fits; rejects if it ends before. */
  lines(fits: (lines: string[]) => boolean, from: "stdout" | "stderr" = "stdout"): Promise<string[]> {
    const stream = this.child[from]!;
    return new Promise((resolve, reject) => {
      const look = () => {
        const lines = this[from].split("\n").slice(0, -1);
        if (!fits(lines)) return;
        stream.off("data", look);
        resolve(lines);
      };
      stream.on("data", look);
      look();
      this.exit.then(({ stdout, stderr }) => {
        reject(new Error(`It ended before it printed what was waited for:\n${stdout}${stderr}`));
      }, reject);
    });
  }

  /** Resolves once a line of stdout, or of stderr, contains `text`. */
  async line(text: string, from: "stdout" | "stderr" = "stdout"): Promise<string> {
    const lines = await this.lines((lines) => lines.some((line) => line.includes(text)), from);
    return lines.find((line) => line.includes(text))!;
  }

  /** Ends it in any way. */
  async end(): Promise<void> {
    this.kill("SIGKILL");
    await this.exit.catch(() => {});
  }
}

/**
 * Opens sockets, makes them the descriptors from the first argument on, and becomes the program in the remaining
 * arguments. An address is a path or an IPv4 address, whose port is printed; several are separated by commas.
 */
const LISTEN = `
  use strict; use Socket; use POSIX (); use Fcntl;
  my ($fd, $addresses, @command) = @ARGV;
  my (@sockets, @names);
  for my $address (split /,/, $addresses) {
    my $unix = $address =~ m{^/};
    socket(my $socket, $unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0) or die $!;
    bind($socket, $unix ? sockaddr_un($address) : sockaddr_in(0, inet_aton($address))) or die $!;
    listen($socket, 64) or die $!;
    push @names, $unix ? $address : (sockaddr_in(getsockname($socket)))[0];
    # Out of the way of the numbers that they are to have.
    push @sockets, fcntl($socket, F_DUPFD, 50) || die $!;
  }
  POSIX::dup2($sockets[$_], $fd + $_), POSIX::close($sockets[$_]) for 0 .. $#sockets;
  if (exists $ENV{LISTEN_FDS}) { $ENV{LISTEN_PID} //= $$ }
  $| = 1; print "listening on @names\\n";
  exec { $command[0] } @command or die $!;
`;

/** The command that listens on `addresses`, passes the sockets on from descriptor `fd` on, and becomes `command`. */
export function withSockets(fd: number, addresses: string[], command: string[]): string[] {
  return ["perl", "-e", LISTEN, String(fd), addresses.join(","), ...command];
}

/** The ports and paths that a command of `withSockets` has printed. */
export async function socketsOf(program: Program): Promise<string[]> {
  return (await program.line("listening on ")).slice("listening on ".length).split(" ");
}

/** The environment of the tests without what would change how a program starts, and with `more`. */
export function environment(more: Record<string, string> = {}): Record<string, string> {
  const { PATH = "", HOME, TMPDIR } = process.env;
  return { PATH, ...(HOME !== undefined && { HOME }), ...(TMPDIR !== undefined && { TMPDIR }), ...more };
}
