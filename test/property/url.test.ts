import fc from "fast-check";
import { expect, test } from "vitest";
import { toRequestHead as cgiHead } from "../../src/cgi/meta_variables.ts";
import { toRequestHead as ajpHead } from "../../src/ajp/request_head.ts";
import { ProtocolError } from "../../src/errors.ts";
import { checkAuthority, encodeDecodedPath, encodePath, encodeQuery, removeMount } from "../../src/http/url.ts";
import { resolveSettings } from "../../src/server/settings.ts";
import { forwardRequest } from "../support/ajp.ts";
import { latin1Text } from "./arbitraries.ts";

/** Texts with much in them that means something in a URL. */
const nasty = fc.array(
  fc.oneof(
    fc.constantFrom(
      "/",
      "//",
      "\\",
      "?",
      "#",
      "@",
      ":",
      "%",
      "%2e",
      "%2F",
      "%5C",
      ".",
      "..",
      "%00",
      "[",
      "]",
      "\t",
      "\n",
    ),
    fc.constantFrom("a", "Z", "0", " ", "\xe9", "\xff", "^", "|", "'", '"', "<", ">", "`", "{", "}", ";", "&", "http:"),
    latin1Text({ maxLength: 3 }),
  ),
  { maxLength: 12 },
).map((parts) => parts.join(""));
const withoutNul = nasty.map((text) => text.replaceAll("\0", "0"));

/** What URL parsers escape by themselves and we leave to them. */
const like = (text: string) => text.replaceAll("^", "%5E").replaceAll("|", "%7C").replaceAll("'", "%27");
/** Where no part of the path is "." or ".." in any spelling. */
const isPlain = (path: string) => !/(?:^|\/)(?:\.|%2e){1,2}(?=\/|$)/i.test(path);

test("encodePath and encodeQuery make a URL that says what was sent, on the same host", () => {
  fc.assert(
    fc.property(withoutNul, fc.option(withoutNul), (path, query) => {
      const target = encodePath(`/${path}`) + (query === null ? "" : `?${encodeQuery(query)}`);
      expect(target).toMatch(/^[\x21-\x7e]*$/);
      const url = new URL(`http://h.example:81${target}`);
      expect([url.host, url.username, url.password, url.hash]).toEqual(["h.example:81", "", "", ""]);
      if (isPlain(url.pathname) && isPlain(encodePath(`/${path}`))) {
        expect(like(url.pathname)).toBe(like(encodePath(`/${path}`)));
      }
      expect(like(url.search)).toBe(query ? like(`?${encodeQuery(query)}`) : "");
    }),
    { numRuns: 500 },
  );
});

test("encodeDecodedPath makes a path that decodes to what it was", () => {
  fc.assert(fc.property(withoutNul, (path) => {
    const { pathname } = new URL(`http://h${encodeDecodedPath(`/${path}`)}`);
    const decoded = pathname.replace(/%([0-9A-F]{2})/gi, (_, pair) => String.fromCharCode(parseInt(pair, 16)));
    if (isPlain(`/${path}`)) expect(decoded).toBe(`/${path}`);
  }));
});

test("encodePath is done once: doing it again changes nothing", () => {
  fc.assert(fc.property(withoutNul, (path) => {
    expect(encodePath(encodePath(path))).toBe(encodePath(path));
    expect(encodeQuery(encodeQuery(path))).toBe(encodeQuery(path));
  }));
});

test("checkAuthority lets nothing through that a URL parser reads as more than host and port", () => {
  const part = fc.oneof(
    fc.constantFrom(
      "a",
      "example.com",
      "1.2.3.4",
      "[::1]",
      "[",
      "]",
      ":",
      ":80",
      ":0",
      "@",
      "/",
      "\\",
      "?",
      "#",
      "%41",
    ),
    fc.constantFrom("user@", "\t", "\n", " ", "\xe9", "Ω", "0x7f", "::1", ".", "-", "_", "$", "&", "xn--", ","),
    fc.string({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("")), (authority) => {
      let checked: string;
      try {
        checked = checkAuthority(authority);
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_BAD_REQUEST", statusHint: 400 });
        return;
      }
      expect(authority.startsWith(checked)).toBe(true);
      let url: URL;
      try {
        url = new URL(`http://${checked}/p?q`);
      } catch {
        return; // becomes a 400 when the Request is made
      }
      expect([url.username, url.password, url.pathname, url.search, url.hash]).toEqual(["", "", "/p", "?q", ""]);
      const port = /:(\d+)$/.exec(checked.replace(/^\[.*\]/, ""))?.[1];
      expect(url.port).toBe(port === undefined || Number(port) === 80 ? "" : String(Number(port)));
    }),
    { numRuns: 1000 },
  );
});

test("removeMount takes off exactly the mount that the URL of the handler would have shown", () => {
  const piece = fc.constantFrom(
    ..."/ // /test /TEST /%74est /testing /. /.. /%2e /%2E%2e /a /.a /%2%65 ? ?/test/ # x %zz ; %2F /te%73t/b".split(
      " ",
    ),
  );
  const target = fc.array(piece, { maxLength: 6 }).map((pieces) => `/${pieces.join("")}`.replaceAll("#", "%23"));
  const normal = (path: string) =>
    path.replace(/(?<!%[\da-f]?)%[\da-f]{2}/gi, (escape) => {
      const character = String.fromCharCode(parseInt(escape.slice(1), 16));
      return /[\w.~-]/.test(character) ? character : escape.toUpperCase();
    });
  fc.assert(
    fc.property(target, (target) => {
      const before = new URL(`http://h${target}`);
      const path = normal(before.pathname);
      const isUnder = path === "/test" || path.startsWith("/test/");
      const rest = removeMount(target, "/test");
      expect(rest !== undefined).toBe(isUnder);
      if (rest === undefined) return;
      expect(rest.startsWith("/")).toBe(true);
      const after = new URL(`http://h${rest}`);
      expect(after.host).toBe("h");
      expect(normal(after.pathname)).toBe(path.slice("/test".length) || "/");
      expect(after.search).toBe(before.search);
    }),
    { numRuns: 2000 },
  );
});

test("toRequestHead of both protocols gives a head that makes the same host, or refuses", () => {
  const settings = resolveSettings({}, () => {});
  const heads = [
    (uri: string, host: string) =>
      ajpHead(forwardRequest({ uri, headers: [["host", host]], serverName: "server.example" }), settings),
    (uri: string, host: string) =>
      cgiHead(
        [["REQUEST_METHOD", "GET"], ["REQUEST_URI", uri], ["HTTP_HOST", host], ["SERVER_NAME", "server.example"]],
        settings,
      ),
  ];
  const hosts = fc.constantFrom("h.example", "h.example:81", "", "[::1]:8080", "u@h", "h/", "h\\evil");
  const uris = fc.oneof(nasty.map((text) => `/${text}`), nasty, nasty.map((text) => `http://abs.example/${text}`));
  fc.assert(
    fc.property(uris, hosts, fc.nat(1), (uri, host, which) => {
      try {
        const head = heads[which]!(uri, host);
        const url = new URL(`${head.scheme}://${head.authority}${head.target}`);
        const allowed = ["server.example", host];
        if (/^http:/i.test(uri)) allowed.push(/^https?:\/\/([^/?]*)/i.exec(uri)![1]!.toLowerCase());
        expect(allowed).toContain(url.host);
        expect([url.username, url.hash]).toEqual(["", ""]);
        expect(new Request(url).url).toBe(url.href);
      } catch (error) {
        if (error instanceof ProtocolError) expect(error.statusHint).toBe(400);
        else if (!(error instanceof TypeError)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});
