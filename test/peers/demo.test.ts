// `npm run demo` as it is typed: it runs on Node, whichever runtime runs the tests.
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { describePeers } from "../support/describe_peers.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ADDRESSES = /^Open (http:\S+) \(over AJP\) or (http:\S+) \(over FastCGI\)$/m;

/** What the demo's temporary folders are in, so that one that is left behind shows. */
let temporary: string;
let group: number | undefined;

describePeers("npm run demo", () => {
  beforeEach(() => {
    temporary = mkdtempSync(join(tmpdir(), "isthmus-demo-"));
    chmodSync(temporary, 0o755);
  });

  afterEach(() => {
    if (group !== undefined && processesOf(group).length > 0) process.kill(-group, "SIGKILL");
    rmSync(temporary, { recursive: true, force: true });
  });

  test.each([
    // A terminal sends it to everything that it has started, and npm sends it once more.
    { name: "Ctrl-C", signal: "SIGINT", to: "group" },
    { name: "SIGTERM to npm alone", signal: "SIGTERM", to: "npm" },
  ])(
    "serves the example over both protocols until $name ends it, and leaves nothing behind",
    async ({ signal, to }) => {
      const child = spawn("npm", ["run", "demo"], {
        cwd: ROOT,
        env: { ...process.env, TMPDIR: temporary },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      group = child.pid!;
      let output = "";
      const exit = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
      const ready = new Promise<RegExpExecArray>((resolve, reject) => {
        function look(text: string): void {
          output += text;
          const found = ADDRESSES.exec(output);
          if (found !== null) resolve(found);
        }
        child.stdout.setEncoding("utf8").on("data", look);
        child.stderr.setEncoding("utf8").on("data", look);
        exit.then(() => reject(new Error(`It ended:\n${output}`)));
      });

      const [, ajp, fastCgi] = await ready;
      for (const [url, protocol] of [[ajp, "ajp"], [fastCgi, "fastcgi"]]) {
        const page = await fetch(url!);
        expect(page.status).toBe(200);
        expect(await page.text()).toContain("It works");
        const json = await fetch(`${url}json`);
        expect(await json.json()).toEqual({ hello: "world", protocol, runtime: expect.stringContaining("Node") });
        const redirected = await fetch(`${url}redirect`);
        expect(await redirected.text()).toBe("Hello redirected\n");
      }

      process.kill(to === "npm" ? group : -group, signal);
      expect({ code: await exit, output }).toMatchObject({ code: 0 });
      // What a program compiles TypeScript with ends a moment after it.
      await expect.poll(() => processesOf(group!), { timeout: 5000 }).toEqual([]);
      expect(readdirSync(temporary).filter((name) => name.startsWith("isthmus-"))).toEqual([]);
      await expect(fetch(ajp!)).rejects.toThrow();
    },
  );
});

/** The processes of a group that still run. A dead one that nobody has waited for does not count. */
function processesOf(group: number): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(statOf)
    .filter((stat) => new RegExp(`^\\d+ \\(.*\\) [^ZX] \\d+ ${group} `, "s").test(stat));
}

function statOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return "";
  }
}
