import { decodeLatin1 } from "../bytes/latin1.ts";
import { hasControlCharacter } from "./header_rules.ts";

/** What an environment variable can be called everywhere. */
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * The answer of an authorizer that lets a request in: a 200 that has the web server set variables for what comes after,
 * such as the application behind it. Any other response refuses the request, and is sent instead.
 *
 * @param variables what to set. The web server sees the names in upper case, and the values as UTF-8, without blanks at
 * their ends.
 * @throws {TypeError} for a name that is not letters, digits and "_", or that is there twice, and for a value with a
 * control character, with which one could forge another variable
 *
 * @example
 * ```ts
 * import { allow, type Handler } from "isthmus";
 *
 * const authorize: Handler = (request) =>
 *   request.headers.get("cookie") === "ticket=17"
 *     ? allow({ ROLE: "editor", FULL_NAME: "Zoë" })
 *     : new Response("Log in first\n", { status: 403 });
 *
 * console.log((await authorize(new Request("http://localhost/"), {} as never)).status); // 403
 * ```
 */
export function allow(variables: Readonly<Record<string, string>> = {}): Response {
  const headers = new Headers();
  const utf8 = new TextEncoder();
  for (const [name, value] of Object.entries(variables)) {
    if (!VARIABLE_NAME.test(name)) {
      throw new TypeError(`Cannot set variable ${JSON.stringify(name)}: its name must be letters, digits and "_"`);
    }
    if (typeof value !== "string") throw new TypeError(`Cannot set variable ${name}: its value must be a string`);
    if (hasControlCharacter(value)) {
      throw new TypeError(`Cannot set variable ${name}: its value has a control character`);
    }
    const header = `variable-${name}`;
    // Headers would join them to one.
    if (headers.has(header)) throw new TypeError(`Cannot set variable ${name} twice`);
    headers.set(header, decodeLatin1(utf8.encode(value)));
  }
  return new Response(null, { headers });
}
