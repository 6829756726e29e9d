// MODULE → its handler.
import { statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { stripVTControlCharacters } from "node:util";
import type { Handler, HandlerObject } from "../../src/mod.ts";
import { CliError } from "./errors.ts";

const EXPECTED = "expected a function (request, info) => Response, or an object with a fetch method such as a Hono app";

/** Loads a module by a path relative to `cwd`, by the name of a package or by a URL, and returns its default export. */
export async function loadHandler(name: string, cwd: string): Promise<Handler | HandlerObject> {
  const path = resolve(cwd, name);
  const specifier = locate(name, path, cwd);
  let module: { default?: unknown };
  try {
    module = await import(specifier);
  } catch (error) {
    throw new CliError(1, `Cannot load ${name}: ${describe(error, path)}`, { cause: error });
  }
  const exported = module.default;
  if (isHandler(exported)) return exported;
  const found = exported === undefined ? "it has no default export" : "its default export is no handler";
  throw new CliError(1, `Cannot serve ${name}: ${found}; ${EXPECTED}`);
}

/** What `import()` is given. A file goes before a package of the same name. */
function locate(name: string, path: string, cwd: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile()) return pathToFileURL(path).href;
  // npm:, jsr:, https:, file: and whatever else the runtime knows. One letter is a drive.
  if (/^[a-z][a-z0-9+.-]+:/i.test(name)) return name;
  if (stat?.isDirectory()) throw new CliError(1, `Cannot load ${name}: ${path} is a directory`);
  if (name.startsWith(".") || isAbsolute(name) || /\.[cm]?[jt]sx?$/.test(name)) {
    throw new CliError(1, `Cannot load ${name}: there is no file ${path}`);
  }
  try {
    // Not imported above, as Deno would load node:console with it, before stdout can be kept clean of it.
    const { createRequire } = process.getBuiltinModule("node:module");
    // A package belongs to the application, so it is looked for from there and not from here.
    const found = createRequire(join(cwd, "_")).resolve(name);
    return isAbsolute(found) ? pathToFileURL(found).href : found;
  } catch {
    // A package that only `import` may load has still a chance beside this program.
    return name;
  }
}

function isHandler(value: unknown): value is Handler | HandlerObject {
  if (typeof value === "function") return true;
  return typeof value === "object" && value !== null && typeof (value as Partial<HandlerObject>).fetch === "function";
}

/** What a module threw, or why it could not be loaded, on one line and with the place where the runtime tells it. */
function describe(error: unknown, path: string): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describe(error.errors[0], path);
  if (!(error instanceof Error)) return String(error);
  const name = error.name === "Error" || error.message.includes("Error:") ? "" : `${error.name}: `;
  const message = stripVTControlCharacters(error.message)
    .split("\n")
    .map((line) => line.trim())
    // Deno draws the line of code.
    .filter((line) => line !== "" && !/^\d* ?\|/.test(line))
    .join(" ");
  if (message.includes(path)) return name + message;
  const line = (error as { position?: { line: number } | null }).position?.line ??
    /^\d+/.exec(error.stack?.split(`${path}:`)[1] ?? "")?.[0];
  return name + message + (line === undefined ? "" : ` (${path}:${line})`);
}
