import { existsSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { run } from "./run.ts";

/** A program that tests need besides the runtimes. */
export interface Requirement {
  title: string;
  /** Where its package puts it. */
  path: string;
  /** Debian's and Ubuntu's name for it. */
  package: string;
}

/** For the peers tests. `apache2-bin` is the program and its modules alone; it writes no site. */
export const REQUIREMENTS: Requirement[] = [
  { title: "Apache httpd", path: "/usr/sbin/apache2", package: "apache2-bin" },
  { title: "nginx", path: "/usr/sbin/nginx", package: "nginx-light" },
  { title: "lighttpd", path: "/usr/sbin/lighttpd", package: "lighttpd" },
  { title: "HAProxy", path: "/usr/sbin/haproxy", package: "haproxy" },
  { title: "Caddy", path: "/usr/bin/caddy", package: "caddy" },
  { title: "mod_fcgid", path: "/usr/lib/apache2/modules/mod_fcgid.so", package: "libapache2-mod-fcgid" },
  { title: "spawn-fcgi", path: "/usr/bin/spawn-fcgi", package: "spawn-fcgi" },
  { title: "cgi-fcgi", path: "/usr/bin/cgi-fcgi", package: "libfcgi-bin" },
  { title: "systemd-notify", path: "/usr/bin/systemd-notify", package: "systemd" },
];

/** Asked before a package starts its service; 101 is no. */
const POLICY = "/usr/sbin/policy-rc.d";

/** Whether each requirement is there, after installing what is not where that needs no question: as root on Debian. */
export async function ensureRequirements(): Promise<Map<Requirement, "present" | "installed" | "missing" | "failed">> {
  const missing = REQUIREMENTS.filter(({ path }) => !existsSync(path));
  const mayInstall = process.getuid?.() === 0 && existsSync("/etc/debian_version");
  const installed = missing.length > 0 && mayInstall &&
    await install(missing.map((requirement) => requirement.package));
  return new Map(REQUIREMENTS.map((requirement) => {
    if (!missing.includes(requirement)) return [requirement, "present"];
    if (!mayInstall) return [requirement, "missing"];
    return [requirement, installed && existsSync(requirement.path) ? "installed" : "failed"];
  }));
}

async function install(packages: string[]): Promise<boolean> {
  console.log(`Installing ${packages.join(", ")} (apt-get install) for the peers tests`);
  // The tests start their own web servers; those of the system would take port 80.
  const ownPolicy = !existsSync(POLICY);
  if (ownPolicy) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
      const { ok, output } = await run(["apt-get", "-q", ...args], { env: { DEBIAN_FRONTEND: "noninteractive" } });
      if (!ok) {
        console.error(output);
        return false;
      }
    }
    return true;
  } finally {
    if (ownPolicy) rmSync(POLICY, { force: true });
  }
}
