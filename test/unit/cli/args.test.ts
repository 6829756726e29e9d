import { expect, test } from "vitest";
import { parseInspect, parseServe, parseTop } from "../../../adapters/cli/args.ts";
import { CliError } from "../../../adapters/cli/errors.ts";

/** The message of the usage error that `parse` must end in. */
function usageErrorOf(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    expect(error).toBeInstanceOf(CliError);
    expect((error as CliError).status).toBe(2);
    return (error as CliError).message;
  }
  throw new Error("no error");
}

test.each([
  [["--help"], "help"],
  [["-h"], "help"],
  [["--version"], "version"],
  [["serve"], "serve"],
  [["serve", "--help"], "serve"],
  [["inspect"], "inspect"],
])("parseTop understands %j", (words, expected) => {
  expect(parseTop(words)).toBe(expected);
});

test.each([
  [[], "no command. See isthmus --help"],
  [["sevre"], "unknown command sevre, did you mean serve? See isthmus --help"],
  [["inspct"], "unknown command inspct, did you mean inspect? See isthmus --help"],
  [["./app.ts"], "unknown command ./app.ts. See isthmus --help"],
  [["--verison"], "unknown option --verison, did you mean --version? See isthmus --help"],
  [["--ajp", "8009"], "unknown option --ajp. See isthmus --help"],
  [["--help=x"], "--help takes no value"],
])("parseTop refuses %j", (words, message) => {
  expect(usageErrorOf(() => parseTop(words))).toBe(message);
});

test("parseServe reads every option", () => {
  const words =
    "app.ts --ajp 8009 --secret s3cret --packet-size 16384 --fastcgi unix:/run/a.sock --mount /app --mode 660";
  expect(parseServe(words.split(" "))).toEqual({
    module: "app.ts",
    endpoints: [
      { protocol: "ajp", text: "8009", listen: { hostname: "127.0.0.1", port: 8009 } },
      { protocol: "fastcgi", text: "unix:/run/a.sock", listen: { path: "/run/a.sock", mode: 0o660 } },
    ],
    common: { mount: "/app" },
    ajp: { secret: "s3cret", packetSize: 16384 },
  });
});

test("parseServe leaves out what nobody asked for", () => {
  expect(parseServe(["--ajp=8009", "app.ts"])).toEqual({
    module: "app.ts",
    endpoints: [{ protocol: "ajp", text: "8009", listen: { hostname: "127.0.0.1", port: 8009 } }],
    common: {},
    ajp: {},
  });
});

test("parseServe leaves it to whoever starts the program where no address is given", () => {
  expect(parseServe(["app.ts", "--mount", "/app"])).toEqual({
    module: "app.ts",
    endpoints: [],
    common: { mount: "/app" },
    ajp: {},
  });
});

test("parseServe takes several addresses of each protocol", () => {
  const args = parseServe(["app.ts", "--ajp", "1", "--fastcgi", "2", "--ajp", "3", "--fastcgi", "fd:4"]);
  if (args === "help") throw new Error("help");
  expect(args.endpoints.map(({ protocol, text }) => `${protocol} ${text}`)).toEqual([
    "ajp 1",
    "ajp 3",
    "fastcgi 2",
    "fastcgi fd:4",
  ]);
});

test("parseServe takes --scgi and --any like the others", () => {
  const words = "app.ts --any 9000 --scgi 4000 --scgi unix:/run/s.sock --any [::1]:9001 --mode 660 --secret s";
  expect(parseServe(words.split(" "))).toEqual({
    module: "app.ts",
    endpoints: [
      { protocol: "scgi", text: "4000", listen: { hostname: "127.0.0.1", port: 4000 } },
      { protocol: "scgi", text: "unix:/run/s.sock", listen: { path: "/run/s.sock", mode: 0o660 } },
      { protocol: "any", text: "9000", listen: { hostname: "127.0.0.1", port: 9000 } },
      { protocol: "any", text: "[::1]:9001", listen: { hostname: "::1", port: 9001 } },
    ],
    common: {},
    ajp: { secret: "s" },
  });
  expect(parseServe(["app.ts", "--any", "1"], "env")).toMatchObject({ ajp: { secret: "env" } });
});

test("parseServe takes the secret from the environment unless a flag gives one", () => {
  expect(parseServe(["app.ts", "--ajp", "1"], "env")).toMatchObject({ ajp: { secret: "env" } });
  expect(parseServe(["app.ts", "--ajp", "1", "--secret", "flag"], "env")).toMatchObject({ ajp: { secret: "flag" } });
  expect(parseServe(["app.ts", "--ajp", "1"], "")).toMatchObject({ ajp: {} });
  expect(parseServe(["app.ts", "--fastcgi", "1"], "env")).toMatchObject({ module: "app.ts" });
});

test("parseServe takes a value that begins with a dash after an equals sign", () => {
  expect(parseServe(["app.ts", "--ajp", "1", "--secret=-x"])).toMatchObject({ ajp: { secret: "-x" } });
});

test("parseServe takes a module that begins with a dash after --", () => {
  expect(parseServe(["--ajp", "1", "--", "--app.ts"])).toMatchObject({ module: "--app.ts" });
});

test("parseServe asks for help before anything else is missing", () => {
  expect(parseServe(["--help"])).toBe("help");
  expect(parseServe(["-h"])).toBe("help");
});

test.each([
  ["", "serve needs a module, for example ./app.ts. See isthmus serve --help"],
  ["app.ts more.ts --ajp 1", "unexpected argument more.ts. See isthmus serve --help"],
  ["app.ts --ajpp 8009", "unknown option --ajpp, did you mean --ajp? See isthmus serve --help"],
  ["app.ts --fast-cgi 8009", "unknown option --fast-cgi, did you mean --fastcgi? See isthmus serve --help"],
  ["app.ts --workers 4", "unknown option --workers. See isthmus serve --help"],
  ["app.ts -p 4", "unknown option -p. See isthmus serve --help"],
  ["app.ts --constructor 4", "unknown option --constructor. See isthmus serve --help"],
  ["app.ts --ajp", "--ajp needs a value. See isthmus serve --help"],
  ["app.ts --secret --ajp 8009", "--secret needs a value. See isthmus serve --help"],
  ["app.ts --ajp 1 --secret=", "--secret is empty"],
  ["app.ts --fastcgi 1 --secret x", "--secret is for AJP, but there is no --ajp or --any"],
  ["app.ts --fastcgi 1 --packet-size 8192", "--packet-size is for AJP, but there is no --ajp or --any"],
  ["app.ts --scgi 1 --secret x", "--secret is for AJP, but there is no --ajp or --any"],
  ["app.ts --any 1 --mode 660", "--mode is for unix sockets, but no address begins with unix:"],
  ["app.ts --sgci 1", "unknown option --sgci, did you mean --scgi? See isthmus serve --help"],
  ["app.ts --scgi", "--scgi needs a value. See isthmus serve --help"],
  ["app.ts --ajp 1 --packet-size 8191", "--packet-size 8191: expected a number from 8192 to 65536"],
  ["app.ts --ajp 1 --packet-size 65537", "--packet-size 65537: expected a number from 8192 to 65536"],
  ["app.ts --ajp 1 --packet-size 8k", "--packet-size 8k: expected a number from 8192 to 65536"],
  ["app.ts --ajp 1 --mount app", "--mount app: expected a path that begins with /, for example /app"],
  ["app.ts --ajp unix:a --mode 888", "--mode 888: expected octal permissions, for example 660"],
  ["app.ts --ajp unix:a --mode 66", "--mode 66: expected octal permissions, for example 660"],
  ["app.ts --mode 660", "--mode is for unix sockets, but no address begins with unix:"],
  ["app.ts --ajp 1 --mode 660", "--mode is for unix sockets, but no address begins with unix:"],
])("parseServe refuses %j", (words, message) => {
  expect(usageErrorOf(() => parseServe(words.split(" ").filter((word) => word !== "")))).toBe(message);
});

test("parseInspect listens for AJP and FastCGI on loopback unless told otherwise", () => {
  expect(parseInspect([], "s3cret")).toEqual({
    endpoints: [
      { protocol: "ajp", text: "8009", listen: { hostname: "127.0.0.1", port: 8009 } },
      { protocol: "fastcgi", text: "9000", listen: { hostname: "127.0.0.1", port: 9000 } },
    ],
    common: {},
    ajp: { secret: "s3cret" },
  });
});

test("parseInspect reads the options of serve", () => {
  const words =
    "--scgi unix:/run/a --any [::1]:1 --fastcgi localhost:2 --ajp 127.9.9.9:3 --secret s --mode 600 --mount /x";
  expect(parseInspect(words.split(" "), "env")).toEqual({
    endpoints: [
      { protocol: "ajp", text: "127.9.9.9:3", listen: { hostname: "127.9.9.9", port: 3 } },
      { protocol: "fastcgi", text: "localhost:2", listen: { hostname: "localhost", port: 2 } },
      { protocol: "scgi", text: "unix:/run/a", listen: { path: "/run/a", mode: 0o600 } },
      { protocol: "any", text: "[::1]:1", listen: { hostname: "::1", port: 1 } },
    ],
    common: { mount: "/x" },
    ajp: { secret: "s" },
  });
  expect(parseInspect(["--help", "--fastcgi", "0.0.0.0:1"])).toBe("help");
});

test.each([
  ["--ajp 0.0.0.0:8009", "ajp", "0.0.0.0:8009"],
  ["--fastcgi 1 --fastcgi [::]:9000", "fastcgi", "[::]:9000"],
  ["--scgi 192.168.1.1:1", "scgi", "192.168.1.1:1"],
  ["--any example.com:1", "any", "example.com:1"],
  ["--any 127.example.com:1", "any", "127.example.com:1"],
  ["--fastcgi fd:3", "fastcgi", "fd:3"],
])("parseInspect refuses %j", (words, protocol, address) => {
  expect(usageErrorOf(() => parseInspect(words.split(" "), "s3cret"))).toBe(
    `Cannot use "${address}" for --${protocol}: inspect listens on loopback or a unix socket only, as it shows requests`,
  );
});

test.each([
  ["app.ts", "unexpected argument app.ts. See isthmus inspect --help"],
  ["--ajpp 1", "unknown option --ajpp, did you mean --ajp? See isthmus inspect --help"],
  ["--fastcgi 1 --secret x", "--secret is for AJP, but there is no --ajp or --any"],
])("parseInspect refuses %j", (words, message) => {
  expect(usageErrorOf(() => parseInspect(words.split(" ")))).toBe(message);
});
