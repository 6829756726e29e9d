import { describe } from "vitest";
import { apacheAvailable } from "./apache.ts";

/** `describe` where Apache is installed; elsewhere the tests are skipped, and it says so. */
export function describePeers(name: string, body: () => void): void {
  if (!apacheAvailable()) console.warn(`SKIPPED, no Apache httpd here: ${name}`);
  describe.skipIf(!apacheAvailable())(name, body);
}
