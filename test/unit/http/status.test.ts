import { expect, test } from "vitest";
import { isNullBodyStatus, reasonPhrase } from "../../../src/http/status.ts";

test.each([[200, "OK"], [204, "No Content"], [404, "Not Found"], [418, "I'm a Teapot"], [503, "Service Unavailable"]])(
  "reasonPhrase(%i) is %s",
  (status, phrase) => expect(reasonPhrase(status)).toBe(phrase),
);

test("reasonPhrase is never empty, and never breaks a line", () => {
  for (let status = 0; status < 1000; status++) expect(reasonPhrase(status)).toMatch(/^[\x20-\x7e]+$/);
  expect(reasonPhrase(299)).toBe("299");
});

test("isNullBodyStatus is true of 204, 205 and 304 alone", () => {
  const found = Array.from({ length: 600 }, (_, status) => status).filter(isNullBodyStatus);
  expect(found).toEqual([204, 205, 304]);
});
