import { hex } from "./hex.ts";
import { client } from "./sockets.ts";
import type { Addr } from "../../src/types.ts";

/** GET /hi?a=1 */
const GET = hex(`
  12 34 00 6e 02 02 00 08 48 54 54 50 2f 31 2e 31 00 00 03 2f 68 69 00 00 08 31 30 2e 30 2e 30 2e
  37 00 ff ff 00 0f 77 77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 00 50 00 00 01 a0 0b 00 0f 77
  77 77 2e 65 78 61 6d 70 6c 65 2e 63 6f 6d 00 05 00 03 61 3d 31 00 0a 00 0f 41 4a 50 5f 52 45 4d
  4f 54 45 5f 50 4f 52 54 00 00 05 35 33 30 39 37 00 ff`);
/** How an End Response of AJP begins, up to its reuse flag. */
const END_RESPONSE = "AB\x00\x02\x05";

/** Sends one request for /hi over AJP, and returns what comes, a character for each byte. */
export async function ajpFetch(addr: Addr): Promise<string> {
  const socket = await client(addr);
  socket.write(GET);
  let received = "";
  for await (const chunk of socket) {
    received += String.fromCharCode(...chunk as Uint8Array);
    if (received.slice(0, -1).endsWith(END_RESPONSE)) break;
  }
  socket.destroy();
  return received;
}
