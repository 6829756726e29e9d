// Handlers that throw, answer nonsense, or whose response breaks: what the web server sees, and what it does not.
import { describe, expect, test } from "vitest";
import { fixture } from "../support/fastcgi_server.ts";

const { open, errors } = fixture();

describe("a handler that fails", () => {
  const SECRET = "the secret \x1b[31mplan\r\nX: y";

  test.each([
    ["throws", () => {
      throw new Error(SECRET);
    }],
    ["rejects", () => Promise.reject(new Error(SECRET))],
    ["rejects later", () => new Promise<Response>((_, reject) => setTimeout(reject, 5, new Error(SECRET)))],
  ])("%s: 500 without a word on STDOUT, the error on STDERR", async (_, handler) => {
    const client = await open(handler);
    const response = await client.fetch(1);
    expect(response).toMatchObject({
      status: 500,
      appStatus: 0,
      protocolStatus: 0,
      text: "500 Internal Server Error\n",
    });
    expect(JSON.stringify(response.headers)).not.toContain("secret");
    expect(response.stderr).toContain("the secret ?[31mplan?\nX: y");
    // deno-lint-ignore no-control-regex
    expect(response.stderr).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f]/);
    expect(errors).toHaveLength(1);
    expect(client.socket.destroyed).toBe(false);
    expect((await client.fetch(1)).status).toBe(500);
  });

  test.each<[string, unknown]>([
    ["nothing", undefined],
    ["a string", "text"],
    ["an error response", Response.error()],
  ])("returns %s: 500", async (_, value) => {
    const client = await open(() => value as Response);
    expect(await client.fetch(1)).toMatchObject({ status: 500, appStatus: 0 });
  });

  test("returns a used body: 500", async () => {
    const client = await open(async () => {
      const response = new Response("x");
      await response.text();
      return response;
    });
    expect((await client.fetch(1)).status).toBe(500);
  });

  test("onError answers instead", async () => {
    const client = await open(() => Promise.reject(new Error("no")), {
      onError: (error) => new Response(`sorry: ${(error as Error).message}`, { status: 503 }),
    });
    expect(await client.fetch(1)).toMatchObject({ status: 503, text: "sorry: no" });
    expect(errors).toEqual([]);
  });

  test("body breaks before anything was sent: 500", async () => {
    const client = await open(() =>
      new Response(new ReadableStream({ pull: () => Promise.reject(new Error("broken")) }, { highWaterMark: 0 }))
    );
    const response = await client.fetch(1);
    expect(response.status).toBe(500);
    expect(response.stderr).toContain("broken");
  });

  test("body is longer than its content-length: cut there", async () => {
    const client = await open(() => new Response("1234567890", { headers: { "content-length": "4" } }));
    const response = await client.fetch(1);
    expect(response).toMatchObject({ status: 200, text: "1234", appStatus: 0 });
    expect(errors).toHaveLength(1);
    await client.ended;
  });

  test("body is shorter than its content-length, and nothing was sent: 500", async () => {
    const client = await open(() => new Response("1234", { headers: { "content-length": "10" } }));
    expect((await client.fetch(1)).status).toBe(500);
  });

  test("body is shorter than its content-length, and the head was sent: closed without END", async () => {
    const client = await open(() => new Response(brokenStream("close"), { headers: { "content-length": "100" } }));
    client.request(1);
    const response = await client.rest(1);
    expect(response).toMatchObject({ status: 200, text: "half", appStatus: undefined });
  });

  test("body breaks after the head: closed without END", async () => {
    const client = await open(() => new Response(brokenStream("error")));
    client.request(1);
    const response = await client.rest(1);
    expect(response).toMatchObject({ status: 200, text: "half", appStatus: undefined });
    expect(response.stderr).toContain("broken");
    await client.closed();
    expect(errors).toHaveLength(1);
  });

  test("body breaks after the head while others share the connection: END with appStatus 1", async () => {
    let finish!: (response: Response) => void;
    const client = await open((request) =>
      request.url.endsWith("/slow")
        ? new Promise<Response>((resolve) => finish = resolve)
        : new Response(brokenStream("error"))
    );
    client.request(3, { REQUEST_URI: "/slow" });
    const broken = await client.fetch(1);
    expect(broken).toMatchObject({ status: 200, text: "half", appStatus: 1 });
    finish(new Response("fine"));
    expect(await client.response(3)).toMatchObject({ text: "fine", appStatus: 0 });
    expect(client.socket.destroyed).toBe(false);
  });

  /** Gives half of a body, and goes wrong once that has been sent. */
  function brokenStream(how: "close" | "error"): ReadableStream<Uint8Array> {
    return new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("half"));
        await new Promise((resolve) => setTimeout(resolve, 50));
        if (how === "close") controller.close();
        else controller.error(new Error("broken"));
      },
    });
  }
});
