import { expect, test } from "vitest";
import { formatResponseHead } from "../../../src/cgi/response_head.ts";

test("formatResponseHead says Status first, Content-Length last and CRLF throughout", () => {
  const text = formatResponseHead({
    status: 404,
    reason: "Not Found",
    headers: [["content-type", "text/plain"], ["x-a", "1"], ["set-cookie", "a=1"], ["set-cookie", "b=2"], [
      "location",
      "/x",
    ]],
    contentLength: 5,
  });
  expect(text.split("\r\n")).toEqual([
    "Status: 404 Not Found",
    "Content-Type: text/plain",
    "x-a: 1",
    "Set-Cookie: a=1",
    "Set-Cookie: b=2",
    "Location: /x",
    "Content-Length: 5",
    "",
    "",
  ]);
  expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
});

test("formatResponseHead leaves Content-Length out where it is not known, and says 0", () => {
  const head = { status: 200, reason: "OK", headers: [], contentLength: -1 };
  expect(formatResponseHead(head)).toBe("Status: 200 OK\r\n\r\n");
  expect(formatResponseHead({ ...head, contentLength: 0 })).toBe("Status: 200 OK\r\nContent-Length: 0\r\n\r\n");
});

test("formatResponseHead keeps one character a byte", () => {
  const head = {
    status: 200,
    reason: "Tr\xe8s",
    headers: [["x-a", "\x80\xff"]] as [string, string][],
    contentLength: -1,
  };
  expect(formatResponseHead(head)).toBe("Status: 200 Tr\xe8s\r\nx-a: \x80\xff\r\n\r\n");
});
