// Words of the command line → what to do. Knows nothing of servers.
import { parseArgs } from "node:util";
import type { ListenOptions, ProtocolName, ServeAjpOptions, ServeFastCgiOptions } from "../../src/mod.ts";
import { parseAddress } from "./address.ts";
import { usageError } from "./errors.ts";

/** One address to listen on. */
export interface Endpoint {
  protocol: ProtocolName | "any";
  /** The address as it was given. */
  text: string;
  listen: ListenOptions;
}

/** Where to listen, and how. */
export interface ServingArguments {
  /** Empty where whoever starts the program passes a socket or a request on. */
  endpoints: Endpoint[];
  /** What every address gets. */
  common: Pick<ServeFastCgiOptions, "mount">;
  /** What the addresses that understand AJP get besides. */
  ajp: Pick<ServeAjpOptions, "secret" | "packetSize">;
}

/** What `isthmus serve` was told. */
export interface ServeArguments extends ServingArguments {
  module: string;
}

type Options = Record<string, { type: "string" | "boolean"; short?: string; multiple?: boolean }>;

const TOP_OPTIONS: Options = {
  help: { type: "boolean", short: "h" },
  version: { type: "boolean" },
};
const SERVE_OPTIONS: Options = {
  ajp: { type: "string", multiple: true },
  fastcgi: { type: "string", multiple: true },
  scgi: { type: "string", multiple: true },
  any: { type: "string", multiple: true },
  secret: { type: "string" },
  "packet-size": { type: "string" },
  mount: { type: "string" },
  mode: { type: "string" },
  help: { type: "boolean", short: "h" },
};
const COMMANDS = ["serve", "inspect"] as const;
type Command = typeof COMMANDS[number];
/** Where `isthmus inspect` listens unless told otherwise. */
const INSPECT_ADDRESSES = { ajp: "8009", fastcgi: "9000" } as const;

const PROTOCOL_OF: Record<string, Endpoint["protocol"]> = { ajp: "ajp", fastcgi: "fastcgi", scgi: "scgi", any: "any" };
const MIN_PACKET_SIZE = 8192;
const MAX_PACKET_SIZE = 65536;
/** Further apart than this, a suggestion is a guess. */
const MAX_TYPOS = 2;

/** What the first word asks for; the words after a command are the command's. */
export function parseTop(words: string[]): "help" | "version" | Command {
  const [first] = words;
  if (first === undefined) throw usageError("no command. See isthmus --help");
  const command = COMMANDS.find((name) => name === first);
  if (command !== undefined) return command;
  if (!first.startsWith("-")) {
    throw usageError(`unknown command ${first}${suggest(first, COMMANDS)} See isthmus --help`);
  }
  const { values } = parseWords([first], TOP_OPTIONS, "isthmus --help");
  return values.has("help") ? "help" : "version";
}

/** The words after `serve`; "help" where they ask for it. `environmentSecret` counts where no flag gives one. */
export function parseServe(words: string[], environmentSecret?: string): ServeArguments | "help" {
  const { values, positionals } = parseWords(words, SERVE_OPTIONS, "isthmus serve --help");
  if (values.has("help")) return "help";

  const [module, extra] = positionals;
  if (module === undefined) throw usageError("serve needs a module, for example ./app.ts. See isthmus serve --help");
  if (extra !== undefined) throw usageError(`unexpected argument ${extra}. See isthmus serve --help`);

  return { module, ...readServing(values, environmentSecret) };
}

/** The words after `inspect`, as those after `serve`, but for loopback alone. */
export function parseInspect(words: string[], environmentSecret?: string): ServingArguments | "help" {
  const { values, positionals } = parseWords(words, SERVE_OPTIONS, "isthmus inspect --help");
  if (values.has("help")) return "help";
  const [extra] = positionals;
  if (extra !== undefined) throw usageError(`unexpected argument ${extra}. See isthmus inspect --help`);
  if (!Object.keys(PROTOCOL_OF).some((name) => values.has(name))) {
    for (const [name, text] of Object.entries(INSPECT_ADDRESSES)) values.set(name, [text]);
  }

  const args = readServing(values, environmentSecret);
  for (const { protocol, text, listen } of args.endpoints) {
    // What an inherited descriptor listens on shows only once it does.
    if (listen.path !== undefined || (listen.fd === undefined && isLoopback(listen.hostname))) continue;
    throw usageError(
      `Cannot use "${text}" for --${protocol}: inspect listens on loopback or a unix socket only, as it shows requests`,
    );
  }
  return args;
}

function isLoopback(hostname = ""): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

/** The options that `serve` and `inspect` share. */
function readServing(values: Map<string, string[]>, environmentSecret: string | undefined): ServingArguments {
  const mode = last(values, "mode", readMode);
  const endpoints: Endpoint[] = [];
  for (const [name, protocol] of Object.entries(PROTOCOL_OF)) {
    for (const text of values.get(name) ?? []) {
      const listen = parseAddress(text, `--${name}`);
      if (mode !== undefined && listen.path !== undefined) listen.mode = mode;
      endpoints.push({ protocol, text, listen });
    }
  }
  // An option without effect is a mistake; with --secret it would be one that leaves a door open.
  const hasAjp = endpoints.some(({ protocol }) => protocol === "ajp" || protocol === "any");
  for (const name of ["secret", "packet-size"]) {
    if (values.has(name) && !hasAjp) throw usageError(`--${name} is for AJP, but there is no --ajp or --any`);
  }
  if (mode !== undefined && !endpoints.some(({ listen }) => listen.path !== undefined)) {
    throw usageError("--mode is for unix sockets, but no address begins with unix:");
  }

  const mount = last(values, "mount", readMount);
  const packetSize = last(values, "packet-size", readPacketSize);
  const secret = last(values, "secret", readSecret) ?? (environmentSecret || undefined);
  return {
    endpoints,
    common: { ...(mount !== undefined && { mount }) },
    ajp: { ...(secret !== undefined && { secret }), ...(packetSize !== undefined && { packetSize }) },
  };
}

function readSecret(text: string): string {
  // Most likely a variable that was not set, and an empty secret would mean none.
  if (text === "") throw usageError("--secret is empty");
  return text;
}

function readPacketSize(text: string): number {
  const size = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  if (size >= MIN_PACKET_SIZE && size <= MAX_PACKET_SIZE) return size;
  throw usageError(`--packet-size ${text}: expected a number from ${MIN_PACKET_SIZE} to ${MAX_PACKET_SIZE}`);
}

function readMount(text: string): string {
  if (text.startsWith("/")) return text;
  throw usageError(`--mount ${text}: expected a path that begins with /, for example /app`);
}

function readMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return parseInt(text, 8);
  throw usageError(`--mode ${text}: expected octal permissions, for example 660`);
}

function last<T>(values: Map<string, string[]>, name: string, read: (text: string) => T): T | undefined {
  const text = values.get(name)?.at(-1);
  return text === undefined ? undefined : read(text);
}

/** `parseArgs` without its own errors, which differ between the runtimes and take several sentences. */
function parseWords(words: string[], options: Options, help: string) {
  const { tokens } = parseArgs({ args: words, options, strict: false, allowPositionals: true, tokens: true });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (option === undefined) {
      const known = Object.keys(options).map((name) => `--${name}`);
      throw usageError(`unknown option ${token.rawName}${suggest(token.rawName, known)} See ${help}`);
    }
    if (option.type === "boolean" && token.value !== undefined) throw usageError(`${token.rawName} takes no value`);
    // `--secret --ajp 8009` is a forgotten value; one that does begin with a dash is given as --secret=-x.
    const forgotten = token.value === undefined || (!token.inlineValue && token.value.startsWith("-"));
    if (option.type === "string" && forgotten) throw usageError(`${token.rawName} needs a value. See ${help}`);
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? ""]);
  }
  return { values, positionals };
}

/** The end of a sentence about an unknown word: with the known word that was probably meant, if there is one. */
function suggest(word: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, typos: distance(word, name) }))
    .filter(({ typos }) => typos <= MAX_TYPOS)
    .sort((a, b) => a.typos - b.typos);
  return nearest === undefined ? "." : `, did you mean ${nearest.name}?`;
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
