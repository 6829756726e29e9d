#!/usr/bin/env node
// The command line: words and environment → a command → an exit status.
import process from "node:process";
import { dropProxyHeader } from "../_environment.ts";
import { parseInspect, parseServe, parseTop } from "./args.ts";
import { CliError } from "./errors.ts";
import { HELP, INSPECT_HELP, SERVE_HELP } from "./help.ts";
import { inspect } from "./inspect.ts";
import { serve, serveHandler } from "./serve.ts";
import { VERSION } from "./version.ts";

async function run(words: string[]): Promise<void> {
  switch (parseTop(words)) {
    case "help":
      process.stdout.write(HELP);
      return;
    case "version":
      console.log(`isthmus ${VERSION}`);
      return;
    case "serve": {
      const args = parseServe(words.slice(1), takeSecret());
      if (args === "help") process.stdout.write(SERVE_HELP);
      else await serve(args);
      return;
    }
    case "inspect": {
      const args = parseInspect(words.slice(1), takeSecret());
      if (args === "help") process.stdout.write(INSPECT_HELP);
      else await serveHandler(args, inspect);
      return;
    }
  }
}

/** What the application starts has no business with the secret. */
function takeSecret(): string | undefined {
  const secret = process.env["ISTHMUS_SECRET"];
  delete process.env["ISTHMUS_SECRET"];
  return secret;
}

async function main(): Promise<void> {
  // First of all: in a CGI request it is the browser who says what HTTP_PROXY is.
  dropProxyHeader();
  let status = 0;
  try {
    await run(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    console.error(`isthmus: ${error.message}`);
    status = error.status;
  }
  // Timers and connections of the application would keep the process alive.
  await new Promise((resolve) => process.stdout.write("", resolve));
  process.exit(status);
}

// Not awaited: an error that the application leaves unhandled ends Bun only once the top level has been passed.
main();
