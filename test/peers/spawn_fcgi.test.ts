// The example app started by spawn-fcgi, and asked by cgi-fcgi.
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { describeSpawnFcgi } from "../support/describe_spawners.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { FastCgiClient } from "../support/fastcgi_client.ts";
import { environment, Program } from "../support/program.ts";
import { type SpawnedApp, spawnedApp } from "../support/spawned_app.ts";
import { until } from "../support/until.ts";

let app: SpawnedApp;
const running: Program[] = [];

beforeEach(() => {
  app = spawnedApp();
});

afterEach(async () => {
  for (const program of running.splice(0)) await program.end();
  try {
    await app.ended();
  } finally {
    app.remove();
  }
});

function run(script: string, variables: Record<string, string> = {}): Program {
  const program = new Program(["sh", "-c", `exec ${script}`], {
    env: environment(variables),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(program);
  return program;
}

/** Asks by the documented command, whose address and URL are replaced. */
async function ask(address: string, uri = "/json", variables: Record<string, string> = {}): Promise<string> {
  const command = replaceAll(configurationUnder("Ask by cgi-fcgi", "spawned.md"), {
    "/run/app.sock": address,
    "/json": uri,
  });
  const program = new Program(["sh", "-c", command], {
    env: environment(variables),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(program);
  return (await program.exit).stdout;
}

async function connectable(addr: Parameters<typeof FastCgiClient.open>[0]): Promise<void> {
  (await FastCgiClient.open(addr)).close();
}

describeSpawnFcgi("spawn-fcgi", () => {
  test("on a unix socket, asked by cgi-fcgi", async () => {
    const path = join(app.dir, "app.sock");
    const program = run(
      replaceAll(configurationUnder("spawn-fcgi", "spawned.md"), { "/run/app.sock": path, "/srv/app": app.dir }),
    );
    // The socket is there before the program is: what connects now waits.
    await until(() => statSync(path, { throwIfNoEntry: false })?.isSocket() === true, "the socket");
    const answer = await ask(path);
    expect(answer).toMatch(/^Status: 200 OK\r\nContent-Type: application\/json\r\n/);
    expect(answer).toContain(`"protocol":"fastcgi"`);
    expect(await ask(path, "/nothing-there")).toMatch(/^Status: 404 /);
    expect(await ask(path, "/download?bytes=300000")).toContain("\r\n\r\n");
    expect(
      await Promise.all(Array.from({ length: 50 }, async (_, i) => {
        const client = await FastCgiClient.open({ transport: "unix", path });
        const { text } = await client.fetch(1, { REQUEST_URI: `/hello/${i}` });
        client.close();
        return text;
      })),
    ).toEqual(Array.from({ length: 50 }, (_, i) => `Hello ${i}\n`));
    expect(statSync(path).mode & 0o777).toBe(0o660);
    program.kill("SIGTERM");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
    // It was not ours to make, so it is not ours to remove.
    expect(statSync(path).isSocket()).toBe(true);
  });

  test("on a port, for whom FCGI_WEB_SERVER_ADDRS lets in", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const program = run(`spawn-fcgi -a 127.0.0.1 -p ${port} -n -- ${app.program}`, {
      FCGI_WEB_SERVER_ADDRS: "127.0.0.1,::1",
    });
    await until(() => app.pids().length === 1, "the start");
    await connectable({ transport: "tcp", hostname: "127.0.0.1", port });
    expect(await ask(`127.0.0.1:${port}`)).toMatch(/^Status: 200 OK\r\n/);
    program.kill("SIGUSR1");
    expect(await program.exit).toMatchObject({ code: 0, signal: null });
  });

  test("in the background, several on one socket, with stdout and stderr at /dev/null", async () => {
    const path = join(app.dir, "app.sock");
    const { status } = spawnSync("spawn-fcgi", ["-s", path, "-F", "2", "--", app.program]);
    expect(status).toBe(0);
    await until(() => app.pids().length === 2, "two processes");
    for (let i = 0; i < 10; i++) expect(await ask(path, `/hello/${i}`)).toContain(`Hello ${i}\n`);
    expect(await ask(path, "/error")).toMatch(/^Status: 500 /);
    for (const pid of app.pids()) process.kill(pid, "SIGTERM");
    await app.ended();
  });
});
