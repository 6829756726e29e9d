import process from "node:process";
import { runtime } from "./runtime.ts";

// A runner that starts the suite under the wrong runtime would otherwise pass and prove nothing.
const expected = process.env["ISTHMUS_TEST_RUNTIME"] ?? "node";
if (runtime !== expected) throw new Error(`Tests for ${expected} are running in ${runtime}`);

const version = process.env["ISTHMUS_TEST_NODE_VERSION"];
if (version !== undefined && process.version !== version) {
  throw new Error(`Tests for Node ${version} are running in ${process.version}`);
}
