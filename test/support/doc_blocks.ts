// The configurations of the documentation, so that tests can run them.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Addr } from "../../src/mod.ts";

const DOCS = fileURLToPath(new URL("../../docs/", import.meta.url));

/** The first block under the heading with this text in a file of docs/ that is not TypeScript. */
export function configurationUnder(heading: string, file = "web_servers.md"): string {
  const text = readFileSync(DOCS + file, "utf8");
  const start = text.search(new RegExp(`^#+ ${heading}$`, "m"));
  const block = start < 0 ? null : /^```(?!ts\n)\w+\n((?:(?!```).)*?)^```$/ms.exec(text.slice(start));
  if (block === null) throw new Error(`docs/${file} has no configuration under "${heading}"`);
  return block[1]!;
}

/** `text` with each of the keys, which must be there, replaced by its value. */
export function replaceAll(text: string, replacements: Record<string, string>): string {
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`The configuration does not have "${from}":\n${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** An address as web servers write it. */
export function addressOf(addr: Addr): string {
  return addr.transport === "unix" ? `unix:${addr.path}` : `${addr.hostname}:${addr.port}`;
}
