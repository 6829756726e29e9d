// The example app started by lighttpd, in each of the runtimes.
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll } from "vitest";
import { htpasswd } from "../support/apache.ts";
import { describeLighttpd } from "../support/describe_peers.ts";
import { configurationUnder, replaceAll } from "../support/doc_blocks.ts";
import { startLighttpd } from "../support/lighttpd.ts";
import { type SpawnedApp, spawnedApp } from "../support/spawned_app.ts";
import { askSpawned, PASSWORD, USER } from "../support/spawned_suite.ts";
import type { WebServer } from "../support/web_server.ts";

describeLighttpd("lighttpd, bin-path", () => {
  let app: SpawnedApp;
  let members: SpawnedApp;
  let lighttpd: WebServer;

  beforeAll(async () => {
    app = spawnedApp();
    members = spawnedApp("--mount", "/members");
    writeFileSync(`${app.dir}/htpasswd`, htpasswd(USER, PASSWORD));
    const documented = configurationUnder("lighttpd", "spawned.md");
    lighttpd = await startLighttpd(({ dir, port }) => `
      server.port = ${port}
      server.document-root = "${dir}"
      server.modules = ( "mod_auth", "mod_authn_file" )
      auth.backend = "htpasswd"
      auth.backend.htpasswd.userfile = "${app.dir}/htpasswd"
      auth.require = ("/members/" => ("method" => "basic", "realm" => "test", "require" => "valid-user"))
      ${
      replaceAll(documented, {
        '"bin-path" => "/srv/app/run"': `"bin-path" => "${app.program}"`,
        "/run/lighttpd/app.sock": `${app.dir}/app.sock`,
      })
    }
      $HTTP["url"] =~ "^/members/" {
        fastcgi.server = ("/" => ((
          "bin-path" => "${members.program}", "socket" => "${members.dir}/app.sock", "max-procs" => 1,
          "check-local" => "disable", "fix-root-scriptname" => "enable",
        )))
      }`);
  });

  afterAll(async () => {
    await lighttpd?.stop();
    try {
      await Promise.all([app?.ended(), members?.ended()]);
    } finally {
      app?.remove();
      members?.remove();
    }
  });

  askSpawned({
    protocol: "fastcgi",
    url: () => lighttpd.url,
    errorLog: () => Promise.resolve(lighttpd.log()),
    concurrent: 50,
  });
});
