// `describe` for what starts programs: skipped, and said, where one of its parts is not installed.
import { accessSync, constants, existsSync } from "node:fs";
import { describe } from "vitest";
import { apacheAvailable } from "./apache.ts";

const PATHS = ["/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"];

function isInstalled(program: string): boolean {
  return PATHS.some((path) => {
    try {
      accessSync(`${path}/${program}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export const describeSystemd = describeWhere(
  "systemd-notify or systemd-socket-activate",
  () => isInstalled("systemd-notify") && isInstalled("systemd-socket-activate") && isInstalled("perl"),
);
export const describeSpawnFcgi = describeWhere(
  "spawn-fcgi or cgi-fcgi",
  () => isInstalled("spawn-fcgi") && isInstalled("cgi-fcgi"),
);
export const describeModFcgid = describeWhere(
  "Apache httpd with mod_fcgid",
  () => apacheAvailable() && existsSync("/usr/lib/apache2/modules/mod_fcgid.so"),
);

function describeWhere(title: string, available: () => boolean): (name: string, body: () => void) => void {
  return (name, body) => {
    if (!available()) console.warn(`SKIPPED, no ${title} here: ${name}`);
    describe.skipIf(!available())(name, body);
  };
}
