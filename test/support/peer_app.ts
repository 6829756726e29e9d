// What is served behind the web servers of the peers tests: the example, and what only a test asks for.
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import example from "../../examples/hono.ts";
import type { HandlerInfo } from "../../src/mod.ts";
import { Gate } from "./until.ts";

/** What a running test shares with the app, which runs in the same process. */
export class PeerEvents {
  /** Lets the second event of /gated go. */
  readonly gate = new Gate();
  /** The request.signal of /endless has fired. */
  readonly aborted = new Gate();
  /** The body of /endless has been cancelled. */
  readonly cancelled = new Gate();
  /** /upload-begun has been given the first bytes of a body. */
  readonly begun = new Gate();
  /** The body of /upload-begun has failed. */
  readonly uploadFailed = new Gate();
  /** How many signals have fired. */
  signals = 0;
}

/** The app; `events` gives those of the test that runs. */
export function peerApp(events: () => PeerEvents): Hono<{ Bindings: HandlerInfo }> {
  const app = new Hono<{ Bindings: HandlerInfo }>();
  app.route("/", example);
  // The errors belong to the tests and would only fill their output.
  example.onError((_error, c) => c.text("Internal Server Error\n", 500));
  app.onError((_error, c) => c.text("Internal Server Error\n", 500));

  app.get("/gated", (c) => {
    const { gate } = events();
    // nginx collects a response unless it is told not to, by this header or by its configuration.
    if (c.req.query("buffering") !== undefined) c.header("x-accel-buffering", c.req.query("buffering"));
    return streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: "first" });
      await gate.promise;
      await stream.writeSSE({ data: "second" });
    });
  });
  app.get("/endless", (c) => {
    const current = events();
    c.req.raw.signal.addEventListener("abort", () => {
      current.signals++;
      current.aborted.open();
    });
    return c.body(
      new ReadableStream({
        async pull(controller) {
          controller.enqueue(new Uint8Array(1000));
          await new Promise((resolve) => setTimeout(resolve, 5));
        },
        cancel: () => current.cancelled.open(),
      }),
    );
  });
  app.get("/signal", async (c) => {
    const current = events();
    c.req.raw.signal.addEventListener("abort", () => current.signals++);
    await new Promise((resolve) => setTimeout(resolve, 1));
    return c.text("fine");
  });
  app.get("/broken", (c) => {
    let pulls = 0;
    const length = c.req.query("length");
    if (length !== undefined) c.header("content-length", length);
    return c.body(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          if (++pulls > 2) controller.error(new Error("The source broke"));
          else controller.enqueue(new TextEncoder().encode("part"));
        },
      }),
    );
  });
  app.post("/upload-begun", async (c) => {
    const current = events();
    try {
      for await (const _ of c.req.raw.body ?? []) current.begun.open();
    } catch {
      current.uploadFailed.open();
    }
    return c.text("over");
  });
  app.get("/large-head", (c) => c.text("fine", 200, { "x-large": "x".repeat(Number(c.req.query("bytes"))) }));
  app.get("/params", (c) => c.json(Object.fromEntries(c.env.params)));
  app.all("/info", (c) => {
    const { protocol, remoteAddr, remoteUser, authType } = c.env;
    return c.json({ protocol, remoteAddr, remoteUser, authType, url: c.req.url });
  });
  app.get("/members/whoami", (c) => c.json({ remoteUser: c.env.remoteUser, authType: c.env.authType }));
  app.all("/method", (c) => c.text(c.req.method));

  // Hono answers errors itself, and so this one is thrown before it.
  const { fetch } = app;
  app.fetch = (request, ...more) => {
    if (new URL(request.url).pathname === "/uncaught") throw new Error("The database is on fire");
    return fetch(request, ...more);
  };
  return app;
}
