// Where the pinned runtimes are after `npm ci --ignore-scripts`.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const ROOT: string = dirname(dirname(fileURLToPath(import.meta.url)));

export type Runtime = "node" | "deno" | "bun";

/** The runtime's program. `node_modules/.bin/bun` is a stub while install scripts are blocked, so this looks past it. */
export function programOf(runtime: Runtime): string {
  if (runtime === "node") return process.execPath;
  if (runtime === "bun") {
    const name = process.platform === "win32" ? "bun.exe" : "bun";
    return join(ROOT, "node_modules", "@oven", `bun-${process.platform}-${process.arch}`, "bin", name);
  }
  const require = createRequire(import.meta.url);
  return require("../node_modules/deno/install_api.cjs").runInstall();
}
