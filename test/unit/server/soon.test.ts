import { expect, test, vi } from "vitest";
import { Soon } from "../../../src/server/soon.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 3));

test("Soon tells what was not done by the next turn, once", async () => {
  const soon = new Soon();
  const waiter = { onWaiting: vi.fn() };
  soon.add(waiter);
  soon.add(waiter);
  await Promise.resolve();
  expect(waiter.onWaiting).not.toHaveBeenCalled();
  await turn();
  soon.add({ onWaiting() {} });
  await turn();
  expect(waiter.onWaiting).toHaveBeenCalledTimes(1);
});

test("Soon does not tell what was done in the same turn", async () => {
  const soon = new Soon();
  const done = { onWaiting: vi.fn() };
  const slow = { onWaiting: vi.fn() };
  soon.add(done);
  soon.add(slow);
  await Promise.resolve();
  soon.delete(done);
  await turn();
  expect(done.onWaiting).not.toHaveBeenCalled();
  expect(slow.onWaiting).toHaveBeenCalledTimes(1);
});

test("Soon can be asked again, also by one that is being told", async () => {
  const soon = new Soon();
  let told = 0;
  const waiter = {
    onWaiting() {
      if (++told < 3) soon.add(waiter);
    },
  };
  soon.add(waiter);
  for (let i = 0; i < 5; i++) await turn();
  expect(told).toBe(3);
});

test("Soon.delete of one that does not wait does nothing", () => {
  new Soon().delete({ onWaiting() {} });
});
