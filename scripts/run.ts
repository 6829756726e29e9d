import { spawn } from "node:child_process";
import process from "node:process";
import { ROOT } from "./runtimes.ts";

/** No step takes minutes; one that does hangs, and must not hang its caller. */
const LIMIT_MS = 10 * 60_000;

export interface RunOptions {
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Pass output straight on, instead of collecting it. */
  inherit?: boolean;
}

export interface RunResult {
  ok: boolean;
  output: string;
}

/** Runs a command to its end. A command that cannot start, or is killed by a signal, has failed too. */
export function run(command: string[], options: RunOptions = {}): Promise<RunResult> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: options.inherit ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  let output = "";
  child.stdout?.on("data", (chunk) => output += chunk);
  child.stderr?.on("data", (chunk) => output += chunk);
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ ok: false, output: `${output}${error.message}\n` }));
    child.once("close", (code, signal) => {
      if (signal !== null) output += `${program} was ended by ${signal}\n`;
      resolve({ ok: code === 0, output });
    });
  });
}

/** Seconds since `start`, for people. */
export function since(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
