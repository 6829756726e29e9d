// isthmus inspect as a user runs it, asked over each protocol.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAddress } from "../../adapters/cli/address.ts";
import type { Addr } from "../../src/mod.ts";
import { AjpClient } from "../support/ajp_client.ts";
import { FastCgiClient, header } from "../support/fastcgi_client.ts";
import { runtime } from "../support/runtime.ts";
import { ScgiClient } from "../support/scgi_client.ts";

const MAIN = fileURLToPath(new URL("../../adapters/cli/main.ts", import.meta.url));
const COMMAND = {
  node: ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href, MAIN],
  deno: ["run", "-A", MAIN],
  bun: [MAIN],
}[runtime];
const CREDENTIALS = "Basic YWRhOmVuY2hhbnRyZXNz";

function isthmus(...words: string[]): ChildProcess {
  const { ISTHMUS_SECRET: _, ...env } = process.env;
  return spawn(process.execPath, [...COMMAND, ...words], { env, stdio: ["ignore", "pipe", "pipe"] });
}

/** Everything that it writes, once it has ended. */
async function ended(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr!.setEncoding("utf8").on("data", (text) => stderr += text);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

describe("isthmus inspect", () => {
  let child: ChildProcess;
  let exit: Promise<number | null>;
  let dir: string;
  /** In the order in which they are printed. */
  let addresses: Addr[];

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-inspect-"));
    const words = ["--ajp", "0", "--secret", "s3cret", "--fastcgi", "0", "--scgi", `unix:${join(dir, "scgi")}`];
    child = isthmus("inspect", ...words, "--any", "localhost:0");
    exit = new Promise((resolve) => child.once("close", resolve));
    addresses = [];
    for await (const line of createInterface({ input: child.stdout! })) {
      const { hostname = "", port = 0, path } = parseAddress(line.split(" on ")[1]!, "the test");
      addresses.push(path === undefined ? { transport: "tcp", hostname, port } : { transport: "unix", path });
      if (addresses.length === 4) break;
    }
  });

  afterAll(async () => {
    // Deno's ChildProcess.kill would take the signal for the way it ended.
    if (child !== undefined) process.kill(child.pid!, "SIGTERM");
    const code = await exit;
    if (dir) rmSync(dir, { recursive: true, force: true });
    expect(code).toBe(0);
  });

  test("shows a request over AJP, to who knows the secret", async () => {
    const client = await AjpClient.open(addresses[0]!);
    const response = await client.fetch({
      method: "POST",
      uri: "/a%20b",
      attributes: { queryString: "token=abc&c=d", remoteUser: "zoë" },
      headers: [["accept", "application/json"], ["authorization", CREDENTIALS]],
      secrets: ["s3cret"],
      length: 5,
    }, "12345");
    expect(response.status).toBe(200);
    expect(JSON.parse(response.text)).toMatchObject({
      method: "POST",
      url: "http://www.example.com/a%20b?token=(hidden, 3 characters)&c=d",
      body: { bytes: 5 },
      headers: { authorization: "(hidden, 26 characters)" },
      info: { protocol: "ajp", remoteUser: "zoë", remoteAddr: "10.0.0.7:0" },
    });
    expect(response.text).not.toContain("s3cret");
    client.close();
  });

  test("shows no request over AJP to who does not know the secret", async () => {
    const client = await AjpClient.open(addresses[0]!);
    expect((await client.fetch()).status).toBe(403);
    client.close();
  });

  test("shows a page over FastCGI", async () => {
    const client = await FastCgiClient.open(addresses[1]!);
    const response = await client.fetch(1, {
      REQUEST_URI: "/<b>",
      HTTP_COOKIE: "session=topsecret",
      HTTP_AUTHORIZATION: CREDENTIALS,
      REDIRECT_HTTP_AUTHORIZATION: CREDENTIALS,
      REMOTE_PASSWD: "enchantress",
      SSL_SESSION_ID: "topsecret",
      HTTPS: "on",
    });
    expect(response.status).toBe(200);
    expect(header(response, "content-type")).toBe("text/html; charset=utf-8");
    expect(header(response, "x-robots-tag")).toBe("noindex");
    expect(header(response, "cache-control")).toBe("no-store");
    expect(header(response, "content-security-policy")).toMatch(/^default-src 'none'; /);
    expect(response.text).toContain("session=(hidden, 9 characters)");
    expect(response.text).toContain('<th scope="row">SSL_SESSION_ID</th><td>(hidden, 9 characters)</td>');
    expect(response.text).not.toMatch(/topsecret|enchantress|YWRhOm|<b>|<script/);
    client.close();
  });

  test("shows a request over SCGI on a unix socket", async () => {
    const client = await ScgiClient.open(addresses[2]!);
    const response = await client.fetch({ HTTP_ACCEPT: "application/json", REQUEST_METHOD: "PUT" }, "1234567");
    expect(JSON.parse(response.text)).toMatchObject({
      method: "PUT",
      url: "http://www.example.com/",
      body: { bytes: 7 },
      info: { protocol: "scgi" },
      params: { SCGI: "1", SERVER_SOFTWARE: "test" },
    });
  });

  test("shows a request over any protocol", async () => {
    const fastCgi = await FastCgiClient.open(addresses[3]!);
    expect((await fastCgi.fetch(1)).text).toContain('<th scope="row">protocol</th><td>fastcgi</td>');
    fastCgi.close();
    const scgi = await ScgiClient.open(addresses[3]!);
    expect((await scgi.fetch()).text).toContain('<th scope="row">protocol</th><td>scgi</td>');
  });
});

test("isthmus inspect refuses to listen beyond loopback", async () => {
  expect(await ended(isthmus("inspect", "--fastcgi", "0.0.0.0:0"))).toEqual({
    code: 2,
    stdout: "",
    stderr: 'isthmus: Cannot use "0.0.0.0:0" for --fastcgi: inspect listens on loopback or a unix socket only, as it ' +
      "shows requests\n",
  });
});

test("isthmus inspect shows its help", async () => {
  expect(await ended(isthmus("inspect", "--help"))).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^Usage: isthmus inspect \[options\]\n[^]*loopback[^]*--any ADDR/),
    stderr: "",
  });
  expect(await ended(isthmus("--help"))).toMatchObject({
    stdout: expect.stringContaining("isthmus inspect [options]"),
  });
});
