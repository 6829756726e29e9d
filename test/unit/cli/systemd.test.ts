import { expect, test } from "vitest";
import { ServiceManager, takePassedSockets } from "../../../adapters/cli/systemd.ts";

test("takePassedSockets tells descriptors and names", () => {
  const environment = { LISTEN_PID: "7", LISTEN_FDS: "3", LISTEN_FDNAMES: "ajp::other", KEPT: "1" };
  expect(takePassedSockets(environment, 7)).toEqual([
    { fd: 3, name: "ajp" },
    { fd: 4, name: "" },
    { fd: 5, name: "other" },
  ]);
  expect(environment).toEqual({ KEPT: "1" });
});

test.each([
  [{ LISTEN_PID: "8", LISTEN_FDS: "1" }],
  [{ LISTEN_FDS: "1" }],
  [{ LISTEN_PID: "7" }],
  [{ LISTEN_PID: "7", LISTEN_FDS: "0" }],
  [{ LISTEN_PID: "7", LISTEN_FDS: "-1" }],
  [{ LISTEN_PID: "7", LISTEN_FDS: "many" }],
])("takePassedSockets takes none of %j, and leaves none to a child", (given) => {
  const environment: Record<string, string | undefined> = { ...given };
  expect(takePassedSockets(environment, 7)).toEqual([]);
  expect(environment).toEqual({});
});

test("takePassedSockets needs no names", () => {
  expect(takePassedSockets({ LISTEN_PID: "7", LISTEN_FDS: "1" }, 7)).toEqual([{ fd: 3, name: "" }]);
});

test("a ServiceManager keeps its variables to itself, and is silent where nobody listens", async () => {
  const environment = { WATCHDOG_USEC: "1000000", WATCHDOG_PID: "7", KEPT: "1" };
  const manager = new ServiceManager(environment, 7);
  expect(environment).toEqual({ KEPT: "1" });
  await manager.ready();
  await manager.stopping();
});
