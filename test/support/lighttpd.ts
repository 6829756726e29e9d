// A real, private lighttpd for tests.
import process from "node:process";
import { findProgram, startWebServer, type WebServer, type WebServerContext } from "./web_server.ts";

const PROGRAM = findProgram("/usr/sbin/lighttpd", "/usr/local/sbin/lighttpd");

/** Whether lighttpd is installed. */
export function lighttpdAvailable(): boolean {
  return PROGRAM !== undefined;
}

/** Starts lighttpd with this configuration, which says where it listens, and resolves once it accepts connections. */
export function startLighttpd(config: (context: WebServerContext) => string): Promise<WebServer> {
  return startWebServer({
    title: "lighttpd",
    program: PROGRAM,
    args: ({ dir }) => ["-D", "-f", `${dir}/lighttpd.conf`],
    files: (context) => ({
      "lighttpd.conf": `
        server.bind = "127.0.0.1"
        server.upload-dirs = ("${context.dir}/tmp")
        ${process.getuid?.() === 0 ? 'server.username = "www-data"' : ""}
        ${config(context)}
      `,
    }),
  });
}
