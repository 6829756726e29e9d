import { existsSync } from "node:fs";
import process from "node:process";
import { run } from "./run.ts";

const APACHE = "/usr/sbin/apache2";

/**
 * Whether Apache httpd is there for the peers tests, installing it where that needs no question: as root on Debian or
 * Ubuntu. The package `apache2-bin` is the program and its modules alone; it starts no service and writes no site.
 */
export async function ensureApache(): Promise<"present" | "installed" | "missing" | "failed"> {
  if (existsSync(APACHE)) return "present";
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version")) return "missing";
  console.log("Installing Apache httpd (apt-get install apache2-bin) for the peers tests");
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", "apache2-bin"]]) {
    const { ok, output } = await run(["apt-get", "-q", ...args], { env });
    if (!ok) {
      console.error(output);
      return "failed";
    }
  }
  return "installed";
}
