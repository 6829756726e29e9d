import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ProtocolError } from "../../../src/errors.ts";
import { Observer } from "../../../src/server/observe.ts";

function setUp() {
  const logger = { error: vi.fn(), warn: vi.fn() };
  return { logger, observer: new Observer(logger) };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("Observer.protocolError", () => {
  test("counts each, and logs each code once a minute with how many came since", () => {
    const { logger, observer } = setUp();
    for (let i = 0; i < 5; i++) observer.protocolError(new ProtocolError("ERR_AJP_MAGIC", `Number ${i}`));
    observer.protocolError(new ProtocolError("ERR_TIMEOUT", "Late"));
    expect(logger.warn.mock.calls).toEqual([
      ["isthmus: Number 0 [ERR_AJP_MAGIC]"],
      ["isthmus: Late [ERR_TIMEOUT]"],
    ]);
    vi.advanceTimersByTime(59_999);
    observer.protocolError(new ProtocolError("ERR_AJP_MAGIC", "Number 5"));
    expect(logger.warn).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(1);
    observer.protocolError(new ProtocolError("ERR_AJP_MAGIC", "Number 6"));
    expect(logger.warn).toHaveBeenLastCalledWith("isthmus: Number 6 [ERR_AJP_MAGIC] (and 5 more since)");
    vi.advanceTimersByTime(60_000);
    observer.protocolError(new ProtocolError("ERR_AJP_MAGIC", "Number 7"));
    expect(logger.warn).toHaveBeenLastCalledWith("isthmus: Number 7 [ERR_AJP_MAGIC]");
    expect(observer.stats.protocolErrors).toBe(9);
  });
});

test("Observer.handlerError counts each, and logs it unless it was logged", () => {
  const { logger, observer } = setUp();
  const error = new Error("boom");
  observer.handlerError(error, false);
  observer.handlerError(error, true);
  expect(observer.stats.handlerErrors).toBe(2);
  expect(logger.error.mock.calls).toEqual([["isthmus: the handler failed:", error]]);
});

describe("Observer.ignoredAttribute", () => {
  test("says each name once, cleaned", () => {
    const { logger, observer } = setUp();
    for (const name of ["uid", "uid", "mail", "uid", "a\nb"]) observer.ignoredAttribute(name);
    expect(logger.warn.mock.calls.map(([line]) => line)).toEqual([
      expect.stringContaining("attribute uid is dropped; allowedAttributes"),
      expect.stringContaining("attribute mail is"),
      expect.stringContaining("attribute a?b is"),
    ]);
  });

  test("stops after a hundred names, which a peer could make up", () => {
    const { logger, observer } = setUp();
    for (let i = 0; i < 1000; i++) observer.ignoredAttribute(`name ${i}`);
    expect(logger.warn).toHaveBeenCalledTimes(100);
  });
});

test("Observer.stats begin at 0", () => {
  expect(new Set(Object.values(setUp().observer.stats))).toEqual(new Set([0]));
});
