// A real, private HAProxy for tests.
import { findProgram, startWebServer, type WebServer, type WebServerContext } from "./web_server.ts";

const PROGRAM = findProgram("/usr/sbin/haproxy", "/usr/local/sbin/haproxy");

/** Whether HAProxy is installed. */
export function haproxyAvailable(): boolean {
  return PROGRAM !== undefined;
}

/** Starts HAProxy with this configuration and resolves once it accepts connections. */
export function startHaproxy(config: (context: WebServerContext) => string): Promise<WebServer> {
  return startWebServer({
    title: "HAProxy",
    program: PROGRAM,
    args: ({ dir }) => ["-db", "-f", `${dir}/haproxy.cfg`],
    files: (context) => ({ "haproxy.cfg": `global\n  maxconn 2000\n\n${config(context)}` }),
  });
}
