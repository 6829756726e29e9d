// What one wants to see behind a web server: isthmus serve examples/hono.ts --ajp 8009 --fastcgi 9000
import { createHash } from "node:crypto";
import process from "node:process";
import { Hono } from "hono";
import { setCookie } from "hono/cookie";
import { html } from "hono/html";
import { streamSSE } from "hono/streaming";
import type { HandlerInfo } from "isthmus";

const PROTOCOLS = { ajp: "AJP13", fastcgi: "FastCGI", scgi: "SCGI", cgi: "CGI" };
const DOWNLOAD_CHUNK = 65536;
const MAX_DOWNLOAD = 1024 ** 3;
const MAX_EVENTS = 1000;
const MAX_WAIT = 60_000;

const app = new Hono<{ Bindings: HandlerInfo }>();

app.get("/", (c) => {
  const { protocol, remoteUser, remoteAddr, ssl } = c.env;
  // Links are relative, so that the page works under any path of the web server.
  return c.html(html`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>isthmus</title>
        <style>
          body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
          dt { color: #767676; }
          dd { margin: 0 0 .6rem; font-weight: 600; }
        </style>
      </head>
      <body>
        <h1>It works</h1>
        <p>A Hono app answered this request. This is the way it came:</p>
        <dl>
          <dt>Protocol</dt>
          <dd>${PROTOCOLS[protocol]}</dd>
          <dt>Runtime</dt>
          <dd>${runtime()}</dd>
          <dt>URL</dt>
          <dd>${c.req.url}</dd>
          <dt>Your address</dt>
          <dd>${remoteAddr.hostname}</dd>
          <dt>You are</dt>
          <dd>${remoteUser ?? "not logged in at the web server"}</dd>
          <dt>TLS</dt>
          <dd>${ssl === undefined ? "no" : ssl.protocol ?? "yes"}</dd>
        </dl>
        <p>
          See also
          <a href="json">json</a>, <a href="hello/world">hello/world</a>, <a href="headers">headers</a>,
          <a href="whoami">whoami</a>, <a href="cookies">cookies</a>, <a href="redirect">redirect</a>,
          <a href="download?bytes=1000000">download</a>, <a href="slow?ms=2000">slow</a>, <a href="error">error</a>
          and, one by one, these <a href="events?count=5&interval=500">events</a>:
        </p>
        <ol id="events"></ol>
        <script>
          const events = new EventSource("events?count=5&interval=500");
          const list = document.getElementById("events");
          events.addEventListener("tick", ({ data }) => list.append(Object.assign(document.createElement("li"), { textContent: data })));
          events.addEventListener("error", () => events.close());
        </script>
      </body>
    </html>
  `);
});

app.get("/json", (c) => c.json({ hello: "world", protocol: c.env.protocol, runtime: runtime() }));

app.get("/hello/:name", (c) => c.text(`Hello ${c.req.param("name")}\n`));

app.get("/headers", (c) => c.json(c.req.header()));

app.get("/whoami", (c) => c.json({ remoteUser: c.env.remoteUser ?? null, authType: c.env.authType ?? null }));

// Takes the body piece by piece, so that a large upload needs no memory.
app.post("/upload", async (c) => {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return c.json({ bytes, sha256: hash.digest("hex") });
});

// The byte at position i is i modulo 251.
app.get("/download", (c) => {
  const bytes = number(c.req.query("bytes"), 1_000_000, MAX_DOWNLOAD);
  let sent = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      const start = sent;
      const chunk = new Uint8Array(Math.min(DOWNLOAD_CHUNK, bytes - sent));
      for (let i = 0; i < chunk.length; i++) chunk[i] = (start + i) % 251;
      if (chunk.length > 0) controller.enqueue(chunk);
      sent += chunk.length;
      if (sent === bytes) controller.close();
    },
  });
  return c.body(body, 200, { "content-type": "application/octet-stream", "content-length": String(bytes) });
});

app.get("/events", (c) => {
  const count = number(c.req.query("count"), 5, MAX_EVENTS);
  const interval = number(c.req.query("interval"), 1000, MAX_WAIT);
  return streamSSE(c, async (stream) => {
    for (let id = 1; id <= count && !stream.aborted; id++) {
      if (id > 1) await stream.sleep(interval);
      await stream.writeSSE({ event: "tick", id: String(id), data: `event ${id} of ${count}` });
    }
  });
});

app.get("/redirect", (c) => c.redirect("hello/redirected"));

app.get("/cookies", (c) => {
  setCookie(c, "flavour", "chocolate");
  setCookie(c, "size", "large", { httpOnly: true });
  return c.text("Two cookies are set\n");
});

app.get("/slow", async (c) => {
  const ms = number(c.req.query("ms"), 1000, MAX_WAIT);
  await new Promise((resolve) => setTimeout(resolve, ms));
  return c.text(`That took ${ms} ms\n`);
});

app.get("/error", () => {
  throw new Error("This error belongs to the example");
});

app.onError((error, c) => {
  console.error(error);
  return c.text("Internal Server Error\n", 500);
});

/** A number of the query: `fallback` where it is missing or none, never more than `most`. */
function number(text: string | undefined, fallback: number, most: number): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Math.min(Number(text), most) : fallback;
}

function runtime(): string {
  const { Bun, Deno } = globalThis as { Bun?: { version: string }; Deno?: { version: { deno: string } } };
  if (Bun !== undefined) return `Bun ${Bun.version}`;
  return Deno === undefined ? `Node ${process.versions.node}` : `Deno ${Deno.version.deno}`;
}

export default app;
