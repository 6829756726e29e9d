/**
 * What a descriptor is that somebody else opened. No runtime has getpeername() or SO_ACCEPTCONN, but Linux shows it.
 *
 * @module
 */

import { fstatSync, readFileSync, readlinkSync } from "node:fs";

/** "socket" where it is one, but nothing says which. */
export type DescriptorKind = "listening" | "connected" | "socket" | "other";

/** Bit of /proc/net/unix for a socket that listens (`__SO_ACCEPTCON`). */
const ACCEPTS_CONNECTIONS = 0x10000;
/** State of /proc/net/tcp for a socket that listens. */
const TCP_LISTEN = "0A";

/** Tells a listening socket from all others. That it is a socket says little: mod_cgid's stdin is a connected one. */
export function kindOfDescriptor(fd: number): DescriptorKind {
  try {
    if (!fstatSync(fd).isSocket()) return "other";
  } catch {
    return "other";
  }
  const inode = inodeOf(fd);
  if (inode === undefined) return "socket";
  const unix = table("unix").find((columns) => columns[6] === inode);
  if (unix !== undefined) return parseInt(unix[3]!, 16) & ACCEPTS_CONNECTIONS ? "listening" : "connected";
  const tcp = [...table("tcp"), ...table("tcp6")].find((columns) => columns[9] === inode);
  if (tcp !== undefined) return tcp[3] === TCP_LISTEN ? "listening" : "connected";
  // Made in another network namespace, as systemd does for a service with PrivateNetwork=.
  return "socket";
}

function inodeOf(fd: number): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  } catch {
    return undefined;
  }
}

function table(name: string): string[][] {
  try {
    return readFileSync(`/proc/net/${name}`, "latin1").split("\n").slice(1).map((line) => line.trim().split(/\s+/));
  } catch {
    return [];
  }
}
