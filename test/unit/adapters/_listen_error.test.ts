import { expect, test } from "vitest";
import { cannotListen, codeOf, describeAddress, listenError } from "../../../adapters/_listen_error.ts";
import type { ListenOptions } from "../../../src/types.ts";

const TCP: ListenOptions = { hostname: "127.0.0.1", port: 8009 };
const UNIX: ListenOptions = { ...TCP, path: "/tmp/app.sock" };
const FD: ListenOptions = { ...TCP, fd: 3 };

function coded(code: string): Error {
  return Object.assign(new Error(`listen ${code}`), { code });
}

test("describeAddress", () => {
  expect(describeAddress(TCP)).toBe("127.0.0.1:8009");
  expect(describeAddress({ hostname: "::1", port: 9000 })).toBe("[::1]:9000");
  expect(describeAddress(UNIX)).toBe("/tmp/app.sock");
  expect(describeAddress({ path: "\0app" })).toBe("@app");
  expect(describeAddress(FD)).toBe("file descriptor 3");
});

test.each<[ListenOptions, string, string]>([
  [TCP, "EADDRINUSE", "127.0.0.1:8009: the address is in use"],
  [TCP, "EADDRNOTAVAIL", "127.0.0.1:8009: this machine does not have that address"],
  [TCP, "EACCES", "127.0.0.1:8009: permission denied; a port below 1024 usually needs privileges"],
  [TCP, "ENOTFOUND", "127.0.0.1:8009: the host name is not known"],
  [TCP, "EWHATEVER", "127.0.0.1:8009: listen EWHATEVER"],
  [UNIX, "EADDRINUSE", "/tmp/app.sock: the address is in use"],
  [UNIX, "EACCES", "/tmp/app.sock: permission denied; the directory must be writable"],
  [UNIX, "ENOTDIR", "/tmp/app.sock: a part of its directory is not a directory"],
  [{ path: "/does/not/exist/app.sock" }, "EACCES", "/does/not/exist/app.sock: its directory does not exist"],
  [FD, "EADDRINUSE", "file descriptor 3: the descriptor is in use in this process already"],
  [FD, "EWHATEVER", "file descriptor 3: listen EWHATEVER"],
])("listenError for %o, %s", (options, code, expected) => {
  const cause = coded(code);
  const error = listenError(options, cause);
  expect(error.message).toBe(`Cannot listen on ${expected}`);
  expect(error.cause).toBe(cause);
  expect(codeOf(error)).toBe(code);
});

test.each(["EINVAL", "EBADF", "ENOTSOCK"])("listenError for a descriptor, %s", (code) => {
  expect(listenError(FD, coded(code)).message).toMatch(
    /^Cannot listen on file descriptor 3: it is not a listening socket; /,
  );
});

test("listenError for a host name, where the runtime has no code", () => {
  const error = listenError({ hostname: "no.such.host", port: 1 }, new Error("lookup"));
  expect(error.message).toBe("Cannot listen on no.such.host:1: the host name is not known");
  expect(codeOf(error)).toBe(undefined);
  expect(listenError(TCP, new Error("odd")).message).toBe("Cannot listen on 127.0.0.1:8009: odd");
});

test("cannotListen without a cause", () => {
  const error = cannotListen(UNIX, "no");
  expect(error.message).toBe("Cannot listen on /tmp/app.sock: no");
  expect("cause" in error).toBe(false);
  expect("code" in error).toBe(false);
});
