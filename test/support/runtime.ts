/** The runtimes the whole suite runs in. */
export type Runtime = "node" | "deno" | "bun";

function detect(): Runtime {
  if ("Bun" in globalThis) return "bun";
  if ("Deno" in globalThis) return "deno";
  return "node";
}

/** The runtime this very process is, told by its globals: both others also answer to `process.versions.node`. */
export const runtime: Runtime = detect();

/** The running runtime's adapter. The others are not even loaded, for they need globals that are not there. */
export function adapter(): Promise<typeof import("../../adapters/node.ts")> {
  return import(/* @vite-ignore */ new URL(`../../adapters/${runtime}.ts`, import.meta.url).href);
}
