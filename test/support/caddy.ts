// A real, private Caddy for tests.
import { execFileSync } from "node:child_process";
import { findProgram, startWebServer, type WebServer, type WebServerContext } from "./web_server.ts";

const PROGRAM = findProgram("/usr/bin/caddy", "/usr/local/bin/caddy");

/** Whether Caddy is installed. */
export function caddyAvailable(): boolean {
  return PROGRAM !== undefined;
}

/** Starts Caddy with these sites and resolves once it accepts connections. */
export function startCaddy(sites: (context: WebServerContext) => string): Promise<WebServer> {
  return startWebServer({
    title: "Caddy",
    program: PROGRAM,
    args: ({ dir }) => ["run", "--config", `${dir}/Caddyfile`, "--adapter", "caddyfile"],
    files: (context) => ({
      Caddyfile: `{\n  admin off\n  auto_https off\n  default_bind 127.0.0.1\n}\n\n${sites(context)}`,
    }),
  });
}

/** What a Caddyfile has in place of a password. */
export function caddyHash(password: string): string {
  return execFileSync(PROGRAM!, ["hash-password", "--plaintext", password], { encoding: "utf8" }).trim();
}
