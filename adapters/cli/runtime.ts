// The running runtime's serve functions. All three adapters are imported statically, so that a compiled executable
// holds the one it needs; an adapter touches its runtime's globals only when it listens.
import * as bun from "../bun.ts";
import * as deno from "../deno.ts";
import * as node from "../node.ts";
import type {
  ServeAjpOptions,
  ServeAnyOptions,
  ServeFastCgiOptions,
  ServeFunction,
  ServeScgiOptions,
  ServeSpawnedOptions,
} from "../../src/mod.ts";

interface Adapter {
  serve: ServeFunction<ServeAnyOptions>;
  serveAjp: ServeFunction<ServeAjpOptions>;
  serveFastCgi: ServeFunction<ServeFastCgiOptions>;
  serveScgi: ServeFunction<ServeScgiOptions>;
  serveSpawned: ServeFunction<ServeSpawnedOptions>;
}

export const adapter: Adapter = "Bun" in globalThis ? bun : "Deno" in globalThis ? deno : node;
