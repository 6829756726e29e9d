// What every web server that starts the example app itself is asked.
import { Agent } from "node:http";
import { expect, test } from "vitest";
import { basic, getText, postChunked } from "./peer_suite.ts";
import { sha } from "./sockets.ts";

export const USER = "zoë";
export const PASSWORD = "pässword";
const BYTES = 20 * 1024 * 1024;

/** USER and PASSWORD let in to /members/, where the app is mounted a second time. */
export interface SpawnedShape {
  protocol: "fastcgi" | "cgi";
  url: () => string;
  errorLog: () => Promise<string>;
  concurrent: number;
}

export function askSpawned(shape: SpawnedShape): void {
  const fetchPath = (path: string, init?: RequestInit) => fetch(shape.url() + path, init);

  test("serves a page and JSON", async () => {
    const page = await fetchPath("/");
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    expect(await page.text()).toContain("It works");
    expect(await (await fetchPath("/json")).json()).toMatchObject({ hello: "world", protocol: shape.protocol });
    expect(await (await fetchPath("/hello/a%20b%C3%A9")).text()).toBe("Hello a bé\n");
  });

  test("takes a 20 MB upload", async () => {
    const body = pattern(BYTES);
    const response = await fetchPath("/upload", { method: "POST", body });
    expect(await response.json()).toEqual({ bytes: BYTES, sha256: sha(body) });
  });

  test("takes uploads of many sizes", async () => {
    for (const size of [0, 1, 8192, 65535, 65536, 65537]) {
      const body = pattern(size);
      const response = await fetchPath("/upload", { method: "POST", body });
      expect(await response.json()).toEqual({ bytes: size, sha256: sha(body) });
    }
  });

  test("takes a chunked upload, or says that it cannot", async () => {
    const body = pattern(300_001);
    const response = await postChunked(`${shape.url()}/upload`, body);
    // mod_fcgid finds out the length; in CGI nothing would tell a body that was cut off from a whole one.
    if (shape.protocol === "cgi") expect(response.status).toBe(411);
    else expect(await response.json()).toEqual({ bytes: body.length, sha256: sha(body) });
  });

  test("gives a 20 MB download", async () => {
    const bytes = new Uint8Array(await (await fetchPath(`/download?bytes=${BYTES}`)).arrayBuffer());
    expect(bytes.length).toBe(BYTES);
    expect(sha(bytes)).toBe(sha(pattern(BYTES)));
  });

  test("passes server-sent events on one by one", async () => {
    const response = await fetchPath("/events?count=2&interval=1500");
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes("event 1 of 2")) text += (await reader.read()).value;
    expect(text).not.toContain("event 2 of 2");
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
    expect(text).toContain("event 2 of 2");
  });

  test("answers HEAD without a body", async () => {
    const response = await fetchPath("/json", { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect(response.headers.get("content-type")).toBe("application/json");
  });

  test("passes redirects, several cookies and errors on", async () => {
    const redirect = await fetchPath("/redirect", { redirect: "manual" });
    expect([redirect.status, redirect.headers.get("location")]).toEqual([302, "hello/redirected"]);
    const cookies = await fetchPath("/cookies");
    expect(cookies.headers.getSetCookie()).toEqual(["flavour=chocolate; Path=/", "size=large; Path=/; HttpOnly"]);
    const error = await fetchPath("/error");
    expect([error.status, await error.text()]).toEqual([500, "Internal Server Error\n"]);
    expect((await fetchPath("/nothing-there")).status).toBe(404);
    expect(await shape.errorLog()).toContain("This error belongs to the example");
  });

  test("a Proxy header is nothing of its own", async () => {
    const response = await fetchPath("/json", { headers: { proxy: "http://127.0.0.1:1" } });
    expect(response.status).toBe(200);
  });

  test("gives REMOTE_USER of who logged in to the handler", async () => {
    expect((await fetchPath("/members/whoami")).status).toBe(401);
    const response = await fetchPath("/members/whoami", { headers: { authorization: basic(USER, PASSWORD) } });
    expect(await response.json()).toEqual({ remoteUser: USER, authType: "Basic" });
    const forged = await fetchPath("/whoami", { headers: { "remote-user": "root", "x-remote-user": "root" } });
    expect(await forged.json()).toEqual({ remoteUser: null, authType: null });
  });

  test(`answers ${shape.concurrent} concurrent requests`, async () => {
    const agent = new Agent({ maxSockets: shape.concurrent });
    const answers = await Promise.all(
      Array.from({ length: shape.concurrent }, (_, i) => getText(`${shape.url()}/hello/${i}`, agent)),
    ).catch(async (error) => {
      // What the web server has to say about it is worth more.
      throw new Error(`${error.message}\n${await shape.errorLog()}`);
    });
    agent.destroy();
    expect(answers).toEqual(Array.from({ length: shape.concurrent }, (_, i) => `200 Hello ${i}\n`));
  }, 60_000);
}

/** What the example app's /download gives. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i % 251;
  return bytes;
}
