import { describe, expect, test } from "vitest";
import { resolveAjpOptions } from "../../../src/ajp/options.ts";
import { DEFAULT_LIMITS, resolveSettings } from "../../../src/server/settings.ts";
import type { AjpOptions, Limits } from "../../../src/types.ts";

function resolve(options: AjpOptions = {}) {
  return resolveSettings(options, () => {});
}

describe("resolveSettings", () => {
  test("gives every default that the documentation names", () => {
    expect(resolve()).toMatchObject({
      maxHeaderBytes: 65536,
      maxHeaderCount: 100,
      maxParamsBytes: 262144,
      maxParamsCount: 1024,
      maxBodyBytes: 1073741824,
      maxBufferedBytes: 1048576,
      maxConnections: 16384,
      maxConcurrentRequests: 32,
      maxRequestsPerConnection: Infinity,
      headTimeout: 30000,
      bodyTimeout: 60000,
      writeTimeout: 300000,
      idleTimeout: 0,
      shutdownTimeout: 10000,
      packetSize: 8192,
      secret: "",
      rejectsUnknownAttributes: false,
      onError: undefined,
      logger: { error: expect.any(Function), warn: expect.any(Function) },
      mount: "",
    });
  });

  test("keeps what it is told, and leaves the defaults and the options alone", () => {
    const onError = () => new Response();
    const logger = { error() {}, warn() {} };
    const options: AjpOptions = Object.freeze({ maxHeaderCount: 5, maxRequestsPerConnection: 7, onError, logger });
    expect(resolve(options)).toMatchObject({ maxHeaderCount: 5, maxRequestsPerConnection: 7, onError });
    expect(DEFAULT_LIMITS.maxHeaderCount).toBe(100);
  });

  test.each(Object.keys(DEFAULT_LIMITS) as (keyof Limits)[])("takes %s of undefined, 1 and Infinity", (name) => {
    const limits: Record<string, number | undefined> = { [name]: undefined };
    expect(resolve(limits)[name]).toBe(resolve()[name]);
    expect(resolve({ [name]: 1 })[name]).toBe(1);
    expect(resolve({ [name]: Infinity })[name]).toBe(Infinity);
  });

  test.each(Object.keys(DEFAULT_LIMITS))("refuses %s of -1, 1.5, NaN and a string", (name) => {
    for (const value of [-1, 1.5, NaN, -Infinity, "5", null, true, {}]) {
      expect(() => resolve({ [name]: value } as AjpOptions)).toThrow(RangeError);
      expect(() => resolve({ [name]: value } as AjpOptions)).toThrow(name);
    }
  });

  test("takes 0 for no limit of requests, and refuses it for connections and requests at once", () => {
    expect(resolve({ maxRequestsPerConnection: 0 }).maxRequestsPerConnection).toBe(Infinity);
    expect(resolve({ maxBodyBytes: 0, headTimeout: 0 })).toMatchObject({ maxBodyBytes: 0, headTimeout: 0 });
    expect(() => resolve({ maxConnections: 0 })).toThrow(RangeError);
    expect(() => resolve({ maxConcurrentRequests: 0 })).toThrow(RangeError);
  });

  test.each([
    [undefined, ""],
    ["", ""],
    ["/", ""],
    ["///", ""],
    ["/test", "/test"],
    ["/test/", "/test"],
    ["/a/b//", "/a/b"],
    ["/a b", "/a%20b"],
    ["/caf\xe9", "/caf%C3%A9"],
    ["/caf%C3%A9", "/caf%C3%A9"],
  ])("makes mount %j %j", (mount, expected) => {
    expect(resolve(mount === undefined ? {} : { mount }).mount).toBe(expected);
  });

  test.each(["test", "test/", "./test", "http://h/test"])("refuses mount %j", (mount) => {
    expect(() => resolve({ mount })).toThrow(TypeError);
  });

  test("makes a mount of other characters what their UTF-8 is in a URL", () => {
    expect(resolve({ mount: "/café/Ω" }).mount).toBe("/caf%C3%A9/%CE%A9");
  });
});

describe("resolveAjpOptions", () => {
  function filter(allowedAttributes: AjpOptions["allowedAttributes"]): (name: string) => boolean {
    return resolveAjpOptions(allowedAttributes === undefined ? {} : { allowedAttributes }, () => {}).allowsAttribute;
  }

  test.each([8192, 8193, 65536])("takes packetSize %i", (packetSize) => {
    expect(resolve({ packetSize }).packetSize).toBe(packetSize);
  });

  test.each([0, 8191, 65537, 8192.5, NaN, Infinity, -8192])("refuses packetSize %d", (packetSize) => {
    expect(() => resolve({ packetSize })).toThrow(/packetSize.*8192 to 65536/);
  });

  test("makes the secret its UTF-8 bytes", () => {
    expect(resolve({ secret: "abc" }).secret).toBe("abc");
    expect(resolve({ secret: "Ωé" }).secret).toBe("\xce\xa9\xc3\xa9");
    expect(resolve({ secret: undefined }).secret).toBe("");
  });

  test("lets no attribute in by default", () => {
    expect(filter(undefined)("anything")).toBe(false);
  });

  test("lets a RegExp match the whole name only", () => {
    const allows = filter(/MY_|SHIB/);
    expect(["MY_", "SHIB"].map(allows)).toEqual([true, true]);
    expect(["NOT_MY_", "MY_SECRET", "MY_\nSHIB", "", "SHIB\n"].map(allows)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  test("keeps the flags of a RegExp, and forgets where it matched last", () => {
    const allows = filter(/shib-.*/gi);
    for (let i = 0; i < 3; i++) expect(allows("SHIB-uid")).toBe(true);
    const sticky = filter(/a+/y);
    for (let i = 0; i < 3; i++) expect(sticky("aaa")).toBe(true);
    expect(filter(/a/m)("b\na")).toBe(false);
  });

  test("asks a predicate", () => {
    expect(filter((name) => name.endsWith("x"))("abcx")).toBe(true);
  });

  test("rejects unknown attributes when told to", () => {
    expect(resolve({ unknownAttributes: "reject" }).rejectsUnknownAttributes).toBe(true);
    expect(resolve({ unknownAttributes: "ignore" }).rejectsUnknownAttributes).toBe(false);
  });
});

test("resolveSettings passes on what is logged, and lets no logger that throws cost a response", () => {
  const written: unknown[] = [];
  const logger = {
    written,
    error(...data: unknown[]) {
      this.written.push(data);
    },
    warn() {
      throw new Error("The disk is full");
    },
  };
  const { logger: guarded } = resolve({ logger });
  guarded.error("a", 1);
  expect(written).toEqual([["a", 1]]);
  expect(() => guarded.warn("b")).not.toThrow();
});
