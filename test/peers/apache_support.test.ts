import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Apache, startApache } from "../support/apache.ts";
import { describePeers } from "../support/describe_peers.ts";

describePeers("startApache", () => {
  let apache: Apache;

  beforeAll(async () => {
    apache = await startApache({
      auth: { ada: "enchantress" },
      config: ({ dir, htpasswd }) =>
        `<Directory "${dir}">\nRequire all granted\n</Directory>
        <Location "/secret">
          AuthType Basic
          AuthName "x"
          AuthUserFile "${htpasswd}"
          Require valid-user
        </Location>`,
    });
    await writeFile(join(apache.dir, "hello.txt"), "hello from httpd");
    await writeFile(join(apache.dir, "secret"), "open sesame");
  });

  afterAll(async () => {
    await apache?.stop();
  });

  test("serves a static file", async () => {
    const response = await fetch(`${apache.url}/hello.txt`);
    expect(response.status).toBe(200);
    expect(response.headers.get("server")).toMatch(/^Apache/);
    expect(await response.text()).toBe("hello from httpd");
  });

  test("asks for the password that auth names", async () => {
    const refused = await fetch(`${apache.url}/secret`);
    await refused.body?.cancel();
    expect(refused.status).toBe(401);
    const authorization = `Basic ${btoa("ada:enchantress")}`;
    const response = await fetch(`${apache.url}/secret`, { headers: { authorization } });
    expect(await response.text()).toBe("open sesame");
  });

  test("shows its log when the configuration is wrong", async () => {
    await expect(startApache({ config: () => "NoSuchDirective on" })).rejects.toThrow("NoSuchDirective");
  });

  test("stop frees the port and removes the folder", async () => {
    const other = await startApache({ config: () => "" });
    await other.stop();
    expect(existsSync(other.dir)).toBe(false);
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(other.port, "127.0.0.1", resolve));
    await new Promise((resolve) => server.close(resolve));
  });
});
