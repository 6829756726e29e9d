// The very program that mod_fcgid starts, started for each request by Apache's mod_cgid, in each of the runtimes.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Apache, startApache } from "../support/apache.ts";
import { describePeers } from "../support/describe_peers.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { type SpawnedApp, spawnedApp } from "../support/spawned_app.ts";
import { askSpawned, PASSWORD, USER } from "../support/spawned_suite.ts";
import { until } from "../support/until.ts";

const CONFIGURATION = configurationUnder("Apache, plain CGI", "spawned.md");

test("only the handler differs between mod_fcgid's configuration and mod_cgid's", () => {
  const fcgid = configurationUnder("Apache, mod_fcgid", "spawned.md")
    .split("\n")
    .filter((line) => !line.startsWith("Fcgid"));
  expect(CONFIGURATION.split("\n")).toEqual(fcgid.map((line) => line.replace("fcgid-script", "cgi-script")));
});

describePeers("Apache, mod_cgid", () => {
  let app: SpawnedApp;
  let members: SpawnedApp;
  let apache: Apache;

  beforeAll(async () => {
    app = spawnedApp();
    members = spawnedApp("--mount", "/members");
    apache = await startApache({
      modules: ["cgid"],
      auth: { [USER]: PASSWORD },
      config: ({ dir, htpasswd }) => `
        ScriptSock "${dir}/cgisock"
        ${replaceAll(CONFIGURATION, { "/srv/app": members.dir, 'Alias "/"': 'Alias "/members/"' })}
        ${replaceAll(CONFIGURATION, { "/srv/app": app.dir })}
        <Location "/members/">
          AuthType Basic
          AuthName "test"
          AuthUserFile "${htpasswd}"
          Require valid-user
        </Location>`,
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
    protocol: "cgi",
    url: () => apache.url,
    errorLog: () => apache.errorLog(),
    concurrent: 20,
  });

  test("each request has a process of its own, which ends with it", async () => {
    await app.ended();
    const before = app.pids().length;
    for (let i = 0; i < 3; i++) expect((await fetch(`${apache.url}/hello/${i}`)).status).toBe(200);
    await app.ended();
    expect(app.pids().length).toBe(before + 3);
  });

  test("a process ends when the browser goes away", async () => {
    await app.ended();
    const before = app.pids().length;
    const controller = new AbortController();
    const response = await fetch(`${apache.url}/events?count=1000&interval=50`, { signal: controller.signal });
    await response.body!.getReader().read();
    await until(() => app.pids().length === before + 1);
    controller.abort();
    await app.ended();
  });

  test("an upload that is answered before it has been read is answered", async () => {
    const response = await fetch(`${apache.url}/nothing-there`, { method: "POST", body: new Uint8Array(5_000_000) });
    expect(response.status).toBe(404);
  });
});
