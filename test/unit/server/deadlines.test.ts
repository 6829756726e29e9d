import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Deadlines } from "../../../src/server/deadlines.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test("Deadline expires once, at its time or a quarter of it later", () => {
  const expired = vi.fn();
  const deadline = new Deadlines().create(expired);
  deadline.start(1000);
  vi.advanceTimersByTime(999);
  expect(expired).not.toHaveBeenCalled();
  vi.advanceTimersByTime(251);
  expect(expired).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(10_000);
  expect(expired).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("Deadline of an hour is checked each second", () => {
  const expired = vi.fn();
  new Deadlines().create(expired).start(3_600_000);
  vi.advanceTimersByTime(3_599_999);
  expect(expired).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1001);
  expect(expired).toHaveBeenCalledTimes(1);
});

test("Deadline that is stopped does not expire, and can be started again", () => {
  const expired = vi.fn();
  const deadline = new Deadlines().create(expired);
  deadline.start(100);
  deadline.stop();
  deadline.stop();
  vi.advanceTimersByTime(1000);
  expect(expired).not.toHaveBeenCalled();
  deadline.start(100);
  vi.advanceTimersByTime(130);
  expect(expired).toHaveBeenCalledTimes(1);
});

test("Deadline that is started anew begins anew", () => {
  const expired = vi.fn();
  const deadline = new Deadlines().create(expired);
  for (let i = 0; i < 10; i++) {
    deadline.start(100);
    vi.advanceTimersByTime(90);
  }
  expect(expired).not.toHaveBeenCalled();
  vi.advanceTimersByTime(50);
  expect(expired).toHaveBeenCalledTimes(1);
});

test.each([0, Infinity])("Deadline of %d is none, and stops one that ran", (timeout) => {
  const expired = vi.fn();
  const deadline = new Deadlines().create(expired);
  deadline.start(100);
  deadline.start(timeout);
  vi.advanceTimersByTime(100_000);
  expect(expired).not.toHaveBeenCalled();
  expect(deadline.at).toBe(0);
});

test("Deadlines share one timer, whose step fits the shortest", () => {
  const deadlines = new Deadlines();
  const long = vi.fn();
  const short = vi.fn();
  deadlines.create(long).start(60_000);
  deadlines.create(short).start(40);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(60);
  expect(short).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(61_000);
  expect(long).toHaveBeenCalledTimes(1);
});

test("Deadline started anew with a shorter time expires at the shorter time", () => {
  const expired = vi.fn();
  const deadline = new Deadlines().create(expired);
  deadline.start(60_000);
  deadline.start(100);
  vi.advanceTimersByTime(1200);
  expect(expired).toHaveBeenCalledTimes(1);
});

test("Deadlines with nothing that runs have no timer left after their step", () => {
  const deadlines = new Deadlines();
  const deadline = deadlines.create(() => {});
  deadline.start(100);
  deadline.stop();
  vi.advanceTimersByTime(1000);
  expect(vi.getTimerCount()).toBe(0);
});

test("Deadlines survive that one starts or stops others while it expires", () => {
  const deadlines = new Deadlines();
  const second = vi.fn();
  const other = deadlines.create(second);
  const first = deadlines.create(() => {
    other.stop();
    first.start(100);
  });
  first.start(100);
  other.start(100);
  vi.advanceTimersByTime(130);
  expect(second).not.toHaveBeenCalled();
  expect(first.at).toBeGreaterThan(0);
  first.stop();
});
