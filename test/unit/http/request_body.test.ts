import { expect, test } from "vitest";
import { type BodySource, RequestBody } from "../../../src/http/request_body.ts";
import { latin1 } from "../../support/hex.ts";

class Source implements BodySource {
  pulls = 0;
  discards = 0;
  onPull: (() => void) | undefined;

  pullBody(): void {
    this.pulls++;
    this.onPull?.();
  }

  discardBody(): void {
    this.discards++;
  }
}

function setUp(onPull?: (body: RequestBody, pulls: number) => void): { source: Source; body: RequestBody } {
  const source = new Source();
  const body = new RequestBody(source);
  if (onPull !== undefined) source.onPull = () => onPull(body, source.pulls);
  return { source, body };
}

const later = () => new Promise((resolve) => setTimeout(resolve, 5));

test("RequestBody asks for nothing before somebody reads", async () => {
  const { source, body } = setUp();
  await later();
  const reader = body.stream.getReader();
  await later();
  expect(source.pulls).toBe(0);
  const read = reader.read();
  await later();
  expect(source.pulls).toBe(1);
  body.push(latin1("a"));
  expect(await read).toEqual({ done: false, value: latin1("a") });
  await later();
  expect(source.pulls).toBe(1);
});

test("RequestBody asks for nothing when it only becomes the body of a Request", async () => {
  const { source, body } = setUp();
  const init = { method: "POST", body: body.stream, duplex: "half" } as RequestInit;
  const request = new Request("http://h/", init);
  await later();
  expect(source.pulls).toBe(0);
  expect(request.bodyUsed).toBe(false);
});

test("RequestBody asks once for each piece and ends cleanly", async () => {
  const pieces = ["one ", "two ", "three"];
  const { source, body } = setUp((body, pulls) => {
    const piece = pieces[pulls - 1];
    if (piece === undefined) body.end();
    else body.push(latin1(piece));
  });
  expect(await new Response(body.stream).text()).toBe("one two three");
  expect(source.pulls).toBe(4);
  expect(source.discards).toBe(0);
});

test("RequestBody.end closes a body that nobody asked for", async () => {
  const { source, body } = setUp();
  body.end();
  expect(await new Response(body.stream).text()).toBe("");
  expect(source.pulls).toBe(0);
});

test("RequestBody.fail gives its reader the error, before the first read or in mid-body", async () => {
  const early = setUp();
  early.body.fail(new Error("gone"));
  await expect(early.body.stream.getReader().read()).rejects.toThrow("gone");
  const late = setUp((body, pulls) => pulls === 1 ? body.push(latin1("a")) : body.fail(new Error("cut")));
  await expect(new Response(late.body.stream).text()).rejects.toThrow("cut");
});

test("RequestBody.fail rejects a read that waits", async () => {
  const { body } = setUp();
  const read = body.stream.getReader().read();
  body.fail(new Error("gone"));
  await expect(read).rejects.toThrow("gone");
});

test("RequestBody ignores what comes after its end", async () => {
  const { body } = setUp();
  body.end();
  body.end();
  body.push(latin1("late"));
  body.fail(new Error("late"));
  expect(await body.stream.getReader().read()).toEqual({ done: true, value: undefined });
});

test("RequestBody ignores what comes after its failure", async () => {
  const { body } = setUp();
  body.fail(new Error("first"));
  body.fail(new Error("second"));
  body.end();
  body.push(latin1("late"));
  await expect(body.stream.getReader().read()).rejects.toThrow("first");
});

test("RequestBody gives up its source when it is cancelled, and takes no more", async () => {
  const { source, body } = setUp();
  await body.stream.cancel("enough");
  expect(source.discards).toBe(1);
  body.push(latin1("late"));
  body.end();
  body.fail(new Error("late"));
  expect(await body.stream.getReader().read()).toEqual({ done: true, value: undefined });
  expect(source.pulls).toBe(0);
});

test("RequestBody that is cancelled in mid-body discards the rest", async () => {
  const { source, body } = setUp((body) => body.push(latin1("a")));
  const reader = body.stream.getReader();
  await reader.read();
  await reader.cancel();
  expect(source.discards).toBe(1);
});
