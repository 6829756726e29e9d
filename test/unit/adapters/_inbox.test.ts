import { expect, test } from "vitest";
import { Inbox } from "../../../adapters/_inbox.ts";

function recorded(): { inbox: Inbox; calls: string[] } {
  const calls: string[] = [];
  const inbox = new Inbox({ pause: () => calls.push("pause"), resume: () => calls.push("resume") });
  return { inbox, calls };
}

const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2);

test("Inbox gives bytes to the read that waits, and pauses nobody", async () => {
  const { inbox, calls } = recorded();
  const reading = inbox.read();
  inbox.push(ONE);
  expect(await reading).toBe(ONE);
  expect(calls).toEqual([]);
});

test("Inbox pauses once while bytes are unread, and resumes when a read has to wait", async () => {
  const { inbox, calls } = recorded();
  inbox.push(ONE);
  inbox.push(TWO);
  expect(calls).toEqual(["pause"]);
  expect(inbox.unread).toBe(true);
  expect(await inbox.read()).toBe(ONE);
  expect(await inbox.read()).toBe(TWO);
  expect(inbox.unread).toBe(false);
  expect(calls).toEqual(["pause"]);
  const reading = inbox.read();
  expect(calls).toEqual(["pause", "resume"]);
  inbox.push(ONE);
  expect(await reading).toBe(ONE);
  inbox.push(TWO);
  expect(calls).toEqual(["pause", "resume", "pause"]);
});

test("Inbox whose source pushes while it is resumed loses nothing", async () => {
  const inbox: Inbox = new Inbox({ pause: () => {}, resume: () => inbox.push(TWO) });
  inbox.push(ONE);
  expect(await inbox.read()).toBe(ONE);
  expect(await inbox.read()).toBe(TWO);
});

test("Inbox gives what is there before the end", async () => {
  const { inbox } = recorded();
  inbox.push(ONE);
  inbox.end();
  inbox.push(TWO);
  expect(await inbox.read()).toBe(ONE);
  expect(await inbox.read()).toBe(null);
  expect(await inbox.read()).toBe(null);
});

test("Inbox gives what is there before the error", async () => {
  const { inbox } = recorded();
  inbox.push(ONE);
  inbox.end(new Error("broken"));
  expect(await inbox.read()).toBe(ONE);
  await expect(inbox.read()).rejects.toThrow("broken");
  await expect(inbox.read()).rejects.toThrow("broken");
});

test("Inbox settles a read that waits when it ends, fails or is discarded", async () => {
  const ended = recorded().inbox;
  const endedRead = ended.read();
  ended.end();
  expect(await endedRead).toBe(null);

  const failed = recorded().inbox;
  const failedRead = failed.read();
  failed.end(new Error("broken"));
  await expect(failedRead).rejects.toThrow("broken");

  const discarded = recorded().inbox;
  const discardedRead = discarded.read();
  discarded.discard();
  expect(await discardedRead).toBe(null);
});

test("Inbox fails after its end where the connection breaks later", async () => {
  const { inbox } = recorded();
  inbox.end();
  inbox.end(new Error("broken"));
  await expect(inbox.read()).rejects.toThrow("broken");
});

test("Inbox that is discarded has nothing left", async () => {
  const { inbox } = recorded();
  inbox.push(ONE);
  inbox.discard();
  expect(inbox.unread).toBe(false);
  expect(await inbox.read()).toBe(null);
});
