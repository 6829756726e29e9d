import { describe, expect, test } from "vitest";
import { latin1ToUtf8 } from "../../../src/bytes/latin1.ts";
import { allow } from "../../../src/http/authorize.ts";

describe("allow", () => {
  test("without variables is a 200 of nothing", () => {
    const response = allow();
    expect([response.status, response.body, [...response.headers]]).toEqual([200, null, []]);
  });

  test("makes a header of each variable", () => {
    expect([...allow({ ROLE: "editor", remote_user: "ann", _1: "" }).headers]).toEqual([
      ["variable-_1", ""],
      ["variable-remote_user", "ann"],
      ["variable-role", "editor"],
    ]);
  });

  test.each(["Zoë", "日本語", "🦆", "a\tb", 'a: b, c; d="e"', "\x80\x9f\xff", "\u2028"])(
    "takes the value %j",
    (value) => {
      const header = allow({ NAME: value }).headers.get("variable-name")!;
      expect(latin1ToUtf8(header)).toBe(value);
      expect(/^[\0-\xff]*$/.test(header)).toBe(true);
    },
  );

  test.each(["\r", "\n", "\0", "a\r\nVariable-ROLE: root", "a\nb", "\x01", "\x7f", "\x1b"])(
    "refuses the value %j",
    (value) => {
      expect(() => allow({ NAME: value })).toThrow(TypeError);
      expect(() => allow({ NAME: value })).toThrow("Cannot set variable NAME: its value has a control character");
    },
  );

  test.each(["", "1A", "A-B", "A B", "A:", "É", "A\n", "A=B", "A.B"])("refuses the name %j", (name) => {
    expect(() => allow({ [name]: "x" })).toThrow(TypeError);
    expect(() => allow({ [name]: "x" })).toThrow(JSON.stringify(name));
  });

  test("refuses a name twice, as the web server knows no case", () => {
    expect(() => allow({ role: "guest", ROLE: "root" })).toThrow("Cannot set variable ROLE twice");
  });

  test.each([undefined, null, 1, true, {}])("refuses %j, which is no string", (value) => {
    expect(() => allow({ NAME: value } as never)).toThrow("Cannot set variable NAME: its value must be a string");
  });
});
