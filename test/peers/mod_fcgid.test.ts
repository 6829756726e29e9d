// The example app started by Apache's mod_fcgid, in each of the runtimes.
import { Agent } from "node:http";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Apache, type ApacheContext, startApache } from "../support/apache.ts";
import { describeModFcgid } from "../support/describe_spawners.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { getText } from "../support/peer_suite.ts";
import { type SpawnedApp, spawnedApp } from "../support/spawned_app.ts";
import { askSpawned, PASSWORD, USER } from "../support/spawned_suite.ts";
import { until } from "../support/until.ts";

/** The documented configuration for an app, and more lines. */
function configuration({ dir }: ApacheContext, app: SpawnedApp, more: string): string {
  return `
    FcgidIPCDir "${dir}/fcgidsock"
    FcgidProcessTableFile "${dir}/fcgid_shm"
    ${replaceAll(configurationUnder("Apache, mod_fcgid", "spawned.md"), { "/srv/app": app.dir })}
    ${more}`;
}

/** Tells Apache to finish what runs and end. */
async function gracefulStop(apache: Apache): Promise<void> {
  process.kill(Number(await readFile(`${apache.dir}/httpd.pid`, "utf8")), "SIGWINCH");
}

describeModFcgid("Apache, mod_fcgid", () => {
  let app: SpawnedApp;
  let members: SpawnedApp;
  let apache: Apache;

  beforeAll(async () => {
    app = spawnedApp();
    members = spawnedApp("--mount", "/members");
    apache = await startApache({
      modules: ["fcgid"],
      auth: { [USER]: PASSWORD },
      config: (context) =>
        configuration(
          context,
          app,
          `
          ${
            replaceAll(configurationUnder("mod_fcgid with a wrapper", "spawned.md"), {
              "/wrapped": "/members",
              "/srv/app": members.dir,
            })
          }
          <Location "/members">
            AuthType Basic
            AuthName "test"
            AuthUserFile "${context.htpasswd}"
            Require valid-user
          </Location>`,
        ),
    });
  });

  afterAll(async () => {
    await apache?.stop();
    try {
      await Promise.all([app?.ended(), members?.ended()]);
    } finally {
      app?.remove();
      members?.remove();
    }
  });

  askSpawned({
    protocol: "fastcgi",
    url: () => apache.url,
    errorLog: () => apache.errorLog(),
    concurrent: 50,
  });

  test("a process serves more than one request", () => {
    expect(app.pids().length).toBeGreaterThan(0);
    expect(app.pids().length).toBeLessThan(20);
  });
});

describeModFcgid("Apache's mod_fcgid loses no request", () => {
  let app: SpawnedApp;
  let apache: Apache | undefined;

  beforeEach(() => {
    app = spawnedApp();
    apache = undefined;
  });

  afterEach(async () => {
    await apache?.stop();
    try {
      await app.ended();
    } finally {
      app.remove();
    }
  });

  async function start(more: string): Promise<Apache> {
    return apache = await startApache({ modules: ["fcgid"], config: (context) => configuration(context, app, more) });
  }

  test("when it stops processes that have had their number of requests", async () => {
    const { url } = await start(`
      FcgidMaxRequestsPerProcess 5
      FcgidErrorScanInterval 1
      FcgidSpawnScore 0
      FcgidTerminationScore 0`);
    const agent = new Agent({ maxSockets: 4 });
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => getText(`${url}/hello/${i}`, agent)));
    agent.destroy();
    expect(answers).toEqual(Array.from({ length: 40 }, (_, i) => `200 Hello ${i}\n`));
    expect(app.pids().length).toBeGreaterThanOrEqual(8);
  }, 60_000);

  test("when it stops idle processes, and none is left", async () => {
    const { url } = await start(`
      FcgidMinProcessesPerClass 0
      FcgidIdleTimeout 1
      FcgidIdleScanInterval 1
      FcgidErrorScanInterval 1
      FcgidZombieScanInterval 1`);
    expect((await fetch(`${url}/hello/one`)).status).toBe(200);
    // Busy for longer than an idle one may live.
    expect(await (await fetch(`${url}/slow?ms=3000`)).text()).toBe("That took 3000 ms\n");
    await app.ended();
    expect(await (await fetch(`${url}/hello/two`)).text()).toBe("Hello two\n");
    expect(app.pids().length).toBeGreaterThanOrEqual(2);
  }, 60_000);

  test("when it ends in good order", async () => {
    const apache = await start("");
    expect((await fetch(`${apache.url}/json`)).status).toBe(200);
    const slow = await fetch(`${apache.url}/events?count=3&interval=500`);
    const reader = slow.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value!;
    await gracefulStop(apache);
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
    expect(text).toContain("event 3 of 3");
    await app.ended();
  }, 60_000);

  test("and none is left when it is stopped at once", async () => {
    const apache = await start("");
    const slow = fetch(`${apache.url}/slow?ms=60000`).catch(() => undefined);
    await until(() => app.pids().length === 1);
    expect((await fetch(`${apache.url}/json`)).status).toBe(200);
    await apache.stop();
    await app.ended();
    await slow;
  }, 60_000);
});
