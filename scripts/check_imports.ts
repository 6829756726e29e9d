// Checks who may import whom in src/ and adapters/. Prints each violation; exit code 1 if there is one.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const BYTES = "src/bytes/";
const HTTP = "src/http/";
const CGI = "src/cgi/";
const CONNECTION = "src/connection/";
const ERRORS = "src/errors.ts";
const TYPES = "src/types.ts";
const PROTOCOLS = "src/protocols.ts";
const CORE = "src/mod.ts";

/** What a protocol's machines may import besides their own folder. */
const MACHINE = [HTTP, CGI, "src/connection/machine.ts", BYTES, ERRORS, TYPES];

/**
 * For the files under `in` (a folder that ends in "/", or one file, or a prefix that ends in "*"): what they may
 * import. A target is written the same way; "type:" before it allows `import type` alone. A folder's files may always
 * import each other unless `alone` is set. The first rule that fits a file counts, and each file needs one.
 */
interface Rule {
  in: string;
  may: string[];
  alone?: boolean;
}

const RULES: Rule[] = [
  { in: "src/mod.ts", may: ["src/*"] },
  { in: "src/errors.ts", may: [] },
  { in: "src/types.ts", may: [`type:${ERRORS}`] },
  {
    in: "src/protocols.ts",
    may: ["src/ajp/", "src/fastcgi/", "src/scgi/", "src/server/detect.ts", CGI, CONNECTION, TYPES],
  },
  { in: "src/bytes/std.ts", may: ["@std/bytes"] },
  { in: BYTES, may: [] },
  { in: HTTP, may: [BYTES, ERRORS, TYPES] },
  { in: CGI, may: [HTTP, BYTES, ERRORS, TYPES, CONNECTION] },
  { in: CONNECTION, may: [`type:${BYTES}`, `type:${HTTP}`, `type:${ERRORS}`, `type:${TYPES}`] },

  // Codecs are pure: they know bytes and numbers, no machine.
  { in: "src/ajp/constants.ts", may: [], alone: true },
  { in: "src/ajp/codec.ts", may: [BYTES, ERRORS, "src/ajp/constants.ts"], alone: true },
  { in: "src/ajp/", may: MACHINE.filter((target) => target !== CGI) },
  { in: "src/fastcgi/constants.ts", may: [], alone: true },
  { in: "src/fastcgi/name_value.ts", may: [BYTES, ERRORS, "src/fastcgi/constants.ts"], alone: true },
  {
    in: "src/fastcgi/codec.ts",
    may: [BYTES, ERRORS, "src/fastcgi/constants.ts", "src/fastcgi/name_value.ts"],
    alone: true,
  },
  { in: "src/fastcgi/", may: MACHINE },
  { in: "src/scgi/codec.ts", may: [BYTES, ERRORS], alone: true },
  { in: "src/scgi/", may: MACHINE },

  // A machine made of those of the table, which is given to it.
  { in: "src/server/detect.ts", may: [BYTES, `type:${CONNECTION}`, ERRORS, `type:${PROTOCOLS}`, `type:${TYPES}`] },
  // The drivers meet a machine only through the interface and the table of protocols.
  { in: "src/server/", may: [HTTP, CONNECTION, TYPES, ERRORS, PROTOCOLS, BYTES, "src/transport/"] },
  { in: "src/client/", may: [HTTP, CONNECTION, TYPES, ERRORS, PROTOCOLS] },
  { in: "src/transport/", may: [TYPES] },

  // An adapter may use its own runtime, the core's public entry, and what adapters share in _ files.
  {
    in: "adapters/cli/",
    may: [
      CORE,
      "adapters/node.ts",
      "adapters/deno.ts",
      "adapters/bun.ts",
      "adapters/hono.ts",
      "adapters/_environment.ts",
      "adapters/_spawned.ts",
      "isthmus",
      "isthmus/*",
      "node:*",
    ],
  },
  { in: "adapters/bun.ts", may: [CORE, "adapters/_*", "node:*", "bun"] },
  { in: "adapters/hono.ts", may: [CORE, "adapters/_*"] },
  { in: "adapters/node.ts", may: [CORE, "adapters/_*", "node:*"] },
  { in: "adapters/deno.ts", may: [CORE, "adapters/_*", "node:*"] },
  { in: "adapters/_*", may: [CORE, "adapters/_*", "node:*"] },
];

/** Only the command line loads what it is told at run time; a compiled executable loses every other dynamic import. */
const MAY_IMPORT_DYNAMICALLY = ["adapters/cli/"];

/** A file to check: its path from the root of the checkout, with forward slashes, and its text. */
export interface SourceText {
  path: string;
  text: string;
}

interface Import {
  specifier: string | undefined;
  typeOnly: boolean;
  dynamic: boolean;
  line: number;
}

/** One line for each import that the rules do not allow. */
export function findViolations(files: SourceText[]): string[] {
  return files.flatMap(({ path, text }) => {
    const rule = RULES.find((rule) => matches(path, rule.in));
    if (rule === undefined) return [`${path}: no rule says what it may import`];
    return importsOf(path, text).flatMap((found) => {
      const reason = objection(path, rule, found);
      return reason === undefined ? [] : [`${path}:${found.line}: ${reason}`];
    });
  });
}

function objection(path: string, rule: Rule, found: Import): string | undefined {
  if (found.dynamic && !MAY_IMPORT_DYNAMICALLY.some((folder) => matches(path, folder))) {
    return "dynamic import, which only " + MAY_IMPORT_DYNAMICALLY.join(", ") + " may use";
  }
  if (found.specifier === undefined) return undefined;
  const target = resolve(path, found.specifier);
  const allowed = rule.alone || !rule.in.endsWith("/") ? rule.may : [rule.in, ...rule.may];
  for (const entry of allowed) {
    if (entry.startsWith("type:")) {
      if (found.typeOnly && matches(target, entry.slice("type:".length))) return undefined;
    } else if (matches(target, entry)) {
      return undefined;
    }
  }
  return `may not import ${target}` + (found.typeOnly ? " (not even its types)" : "");
}

function resolve(from: string, specifier: string): string {
  return specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : specifier;
}

function matches(path: string, pattern: string): boolean {
  if (pattern.endsWith("*")) return path.startsWith(pattern.slice(0, -1));
  return pattern.endsWith("/") ? path.startsWith(pattern) : path === pattern;
}

function importsOf(path: string, text: string): Import[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  function add(node: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean, dynamic = false): void {
    found.push({
      specifier: specifier !== undefined && ts.isStringLiteralLike(specifier) ? specifier.text : undefined,
      typeOnly,
      dynamic,
      line: source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1,
    });
  }
  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node)) {
      add(node, node.moduleSpecifier, isTypeOnlyImport(node.importClause));
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      add(node, node.moduleSpecifier, isTypeOnlyExport(node));
    } else if (ts.isImportTypeNode(node)) {
      add(node, ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined, true);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], false, true);
    }
    ts.forEachChild(node, visit);
  }
  visit(source);
  return found;
}

function isTypeOnlyImport(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.isTypeOnly) return true;
  const bindings = clause.namedBindings;
  return clause.name === undefined && bindings !== undefined && ts.isNamedImports(bindings) &&
    bindings.elements.length > 0 && bindings.elements.every((element) => element.isTypeOnly);
}

function isTypeOnlyExport(node: ts.ExportDeclaration): boolean {
  if (node.isTypeOnly) return true;
  const clause = node.exportClause;
  return clause !== undefined && ts.isNamedExports(clause) && clause.elements.length > 0 &&
    clause.elements.every((element) => element.isTypeOnly);
}

function readFolder(root: string, folder: string): SourceText[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ path: relative(root, file).split(sep).join("/"), text: readFileSync(file, "utf8") }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const files = ["src", "adapters"].flatMap((folder) => readFolder(root, folder));
  const violations = findViolations(files);
  for (const violation of violations) console.error(violation);
  console.log(`${files.length} files, ${violations.length} forbidden imports`);
  if (violations.length > 0) process.exitCode = 1;
}
