// A real, private nginx for tests.
import { readFileSync } from "node:fs";
import process from "node:process";
import { findProgram, startWebServer, type WebServer, type WebServerContext } from "./web_server.ts";

const PROGRAM = findProgram("/usr/sbin/nginx", "/usr/local/sbin/nginx");
/** What Debian ships for `include`. */
const PARAMS = ["fastcgi_params", "scgi_params"];

/** Whether nginx is installed. */
export function nginxAvailable(): boolean {
  return PROGRAM !== undefined;
}

/** Starts nginx with these lines in its `http` block, and resolves once it accepts connections. */
export function startNginx(config: (context: WebServerContext) => string): Promise<WebServer> {
  return startWebServer({
    title: "nginx",
    program: PROGRAM,
    args: ({ dir }) => ["-p", dir, "-c", `${dir}/nginx.conf`, "-e", "stderr"],
    files: (context) => ({
      "nginx.conf": configuration(config, context),
      ...Object.fromEntries(PARAMS.map((name) => [name, readFileSync(`/etc/nginx/${name}`, "utf8")])),
    }),
  });
}

function configuration(config: (context: WebServerContext) => string, context: WebServerContext): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
    daemon off;
    worker_processes 2;
    pid ${context.dir}/nginx.pid;
    error_log stderr warn;
    ${process.getuid?.() === 0 ? "user www-data;" : ""}
    events {
      worker_connections 4096;
    }
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${context.dir}/${name}_temp;`).join("\n      ")}
      ${config(context)}
    }
  `;
}
