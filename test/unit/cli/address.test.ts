import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../../adapters/cli/address.ts";

test.each([
  ["8009", { hostname: "127.0.0.1", port: 8009 }],
  ["0", { hostname: "127.0.0.1", port: 0 }],
  ["127.0.0.1:8009", { hostname: "127.0.0.1", port: 8009 }],
  ["0.0.0.0:65535", { hostname: "0.0.0.0", port: 65535 }],
  ["localhost:8009", { hostname: "localhost", port: 8009 }],
  ["app-1.example.com:80", { hostname: "app-1.example.com", port: 80 }],
  ["[::1]:8009", { hostname: "::1", port: 8009 }],
  ["[::]:8009", { hostname: "::", port: 8009 }],
  ["[::ffff:127.0.0.1]:8009", { hostname: "::ffff:127.0.0.1", port: 8009 }],
  ["[fe80::1%eth0]:8009", { hostname: "fe80::1%eth0", port: 8009 }],
  ["unix:/run/app.sock", { path: "/run/app.sock" }],
  ["unix:app:1.sock", { path: "app:1.sock" }],
  ["fd:3", { fd: 3 }],
  ["fd:0", { fd: 0 }],
])("parseAddress reads %s", (text, expected) => {
  expect(parseAddress(text, "--ajp")).toEqual(expected);
});

test.each([
  ["", "no address"],
  ["127.0.0.1", "no port"],
  ["localhost", "no port"],
  ["[::1]", "no port"],
  ["127.0.0.1:", "a port is a number from 0 to 65535"],
  ["127.0.0.1:http", "a port is a number"],
  ["127.0.0.1:8009x", "a port is a number"],
  ["65536", "a port is a number"],
  ["-1", "no port"],
  ["8009.5", "no port"],
  ["::1:8009", "an IPv6 address needs brackets"],
  ["::1", "an IPv6 address needs brackets"],
  [":8009", "no address"],
  ["*:8009", "no address"],
  ["a b:8009", "no address"],
  ["[localhost]:8009", "no address"],
  ["/run/app.sock", "a path needs unix: before it"],
  ["./app.sock", "a path needs unix: before it"],
  ["http://127.0.0.1:80", "a path needs unix: before it"],
  ["unix:", "no path"],
  ["fd:", "no descriptor number"],
  ["fd:-1", "no descriptor number"],
  ["fd:x", "no descriptor number"],
])("parseAddress refuses %j and shows the accepted forms", (text, reason) => {
  let message = "";
  try {
    parseAddress(text, "--fastcgi");
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toContain(`Cannot use "${text}" for --fastcgi: `);
  expect(message).toContain(reason);
  expect(message).toContain("8009, 127.0.0.1:8009, [::1]:8009, unix:/run/app.sock, fd:3");
});

test.each(["127.0.0.1:8009", "[::1]:8009"])("formatAddress gives back %s", (text) => {
  const { hostname, port } = parseAddress(text, "--ajp");
  expect(formatAddress({ transport: "tcp", hostname: hostname!, port: port! })).toBe(text);
});

test("formatAddress gives back a unix socket", () => {
  expect(formatAddress({ transport: "unix", path: "/run/app.sock" })).toBe("unix:/run/app.sock");
});
