import { describe, expect, test } from "vitest";
import { PROTOCOLS } from "../../../src/protocols.ts";
import { checkAccess } from "../../../src/server/access.ts";

type Options = Parameters<typeof checkAccess>[1];

const ajp = (options: Options) => () => checkAccess(PROTOCOLS.ajp, options);

describe("checkAccess", () => {
  test.each(["127.0.0.1", "127.255.0.9", "localhost", "::1", "[::1]", "::ffff:127.0.0.1", "::FFFF:127.0.0.1"])(
    "lets AJP listen on %s without a secret",
    (hostname) => {
      expect(ajp({ hostname })).not.toThrow();
      expect(ajp({ addr: { transport: "tcp", hostname, port: 8009 } })).not.toThrow();
    },
  );

  test.each([
    "0.0.0.0",
    "::",
    "[::]",
    "",
    "10.0.0.1",
    "128.0.0.1",
    "1127.0.0.1",
    "127.example.com",
    "localhost.example.com",
    "www.example.com",
    "::ffff:10.0.0.1",
    "::2",
  ])("refuses AJP on %j without a secret", (hostname) => {
    expect(ajp({ hostname })).toThrow(/secret.*allowInsecure/);
    expect(ajp({ addr: { transport: "tcp", hostname, port: 8009 } })).toThrow(/AJP/);
  });

  test("lets AJP listen anywhere with a secret, or when told so", () => {
    expect(ajp({ hostname: "0.0.0.0", secret: "s" })).not.toThrow();
    expect(ajp({ hostname: "0.0.0.0", allowInsecure: true })).not.toThrow();
    expect(ajp({ hostname: "0.0.0.0", secret: "" })).toThrow();
  });

  test("lets AJP listen on the default address, a socket file and a descriptor", () => {
    expect(ajp({})).not.toThrow();
    expect(ajp({ path: "/run/x.sock" })).not.toThrow();
    expect(ajp({ fd: 0 })).not.toThrow();
    expect(ajp({ fd: 0, addr: { transport: "unix", path: "" } })).not.toThrow();
  });

  test("refuses AJP on a descriptor that turns out to be open to all", () => {
    expect(ajp({ fd: 0, addr: { transport: "tcp", hostname: "0.0.0.0", port: 1 } })).toThrow();
  });

  test("lets FastCGI listen anywhere", () => {
    expect(() => checkAccess(PROTOCOLS.fastcgi, { hostname: "0.0.0.0" })).not.toThrow();
  });
});
