// The TypeScript examples of the documentation and of the docstrings, so that tests can check and run them.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SOURCES = ["src", "adapters", "docs", "README.md"];

export interface DocExample {
  /** File and number within it. */
  name: string;
  code: string;
  /** The runtime whose adapter it imports, if any. */
  runtime: string | undefined;
}

/** Every block that is marked as ts. */
export function docExamples(): DocExample[] {
  return SOURCES.flatMap((source) => filesOf(join(ROOT, source))).flatMap((file) => {
    const text = readFileSync(file, "utf8");
    // A block of a docstring has a star before each line.
    const blocks = file.endsWith(".md")
      ? [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1]!)
      : [...text.matchAll(/^ *\* ```ts\n(.*?)^ *\* ```$/gms)].map((match) => match[1]!.replace(/^ *\* ?/gm, ""));
    return blocks.map((code, index) => ({
      name: `${relative(ROOT, file)} ${index + 1}`,
      code,
      runtime: /from "isthmus\/(node|deno|bun)"/.exec(code)?.[1],
    }));
  });
}

function filesOf(path: string): string[] {
  if (/\.(ts|md)$/.test(path)) return [path];
  return readdirSync(path, { withFileTypes: true })
    .flatMap((entry) => entry.isDirectory() || /\.(ts|md)$/.test(entry.name) ? filesOf(join(path, entry.name)) : []);
}
