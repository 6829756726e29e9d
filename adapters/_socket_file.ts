/**
 * Unix socket files: makes way for a new one, and sets its permissions.
 *
 * @module
 */

import { lstatSync, unlinkSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { connect } from "node:net";
import process from "node:process";
import type { ListenOptions } from "../src/mod.ts";
import { cannotListen, codeOf, listenError } from "./_listen_error.ts";

/** Longest path of a socket in bytes: what `sun_path` holds less its NUL. Node would cut off the rest in silence. */
const MAX_PATH_BYTES = process.platform === "linux" ? 107 : 103;

/**
 * Removes the socket file that a dead process left at `options.path`. Throws if something listens there, or if it is
 * not a socket: what somebody else needs is never removed.
 */
export async function makeWay(options: ListenOptions & { path: string }): Promise<void> {
  const { path } = options;
  if (path === "") throw cannotListen(options, "the path is empty");
  if (new TextEncoder().encode(path).length > MAX_PATH_BYTES) {
    throw cannotListen(options, `the path of a unix socket has at most ${MAX_PATH_BYTES} bytes`);
  }
  if (isAbstract(path)) return;
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw cannotListen(options, "the file is not a socket; remove it or choose another path");

  const answer = await probe(path);
  // EAGAIN: somebody listens, but has more connections waiting than fit.
  if (answer === undefined || codeOf(answer) === "EAGAIN") {
    throw cannotListen(options, "another process listens there", answer);
  }
  switch (codeOf(answer)) {
    case "ENOENT":
      return;
    case "ECONNREFUSED":
      break;
    default:
      throw cannotListen(
        options,
        "there is a socket, and it cannot be told whether another process listens on it",
        answer,
      );
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw listenError(options, error);
  }
}

/** Sets the permissions of the socket file just made, if `options` ask for that. */
export async function setMode(options: ListenOptions & { path: string }): Promise<void> {
  if (options.mode === undefined || isAbstract(options.path)) return;
  try {
    await chmod(options.path, options.mode);
  } catch (error) {
    throw cannotListen(options, `its permissions cannot be set to ${options.mode.toString(8)}`, error);
  }
}

/** Whether a path names an abstract socket of Linux, which has no file. */
function isAbstract(path: string): boolean {
  return path.startsWith("\0");
}

/** Connects to a socket file: undefined if something accepted, else the error. */
function probe(path: string): Promise<unknown> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", resolve);
  });
}
