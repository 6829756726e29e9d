// Short words for tests of the AJP machine.
import type { ContainerPacket } from "../../src/ajp/codec.ts";
import { concat } from "../../src/bytes/std.ts";
import type { AjpOptions } from "../../src/types.ts";
import { containerPackets, forwardPacket } from "./ajp.ts";
import { FakeDriver, type Reactions } from "./fake_driver.ts";

/** A driver that does only what `reactions` say. */
export function driver(options: AjpOptions = {}, reactions: Reactions = {}): FakeDriver {
  return new FakeDriver("ajp", options, reactions);
}

/** The packets sent since the last call. */
export function sent(fake: FakeDriver): ContainerPacket[] {
  return containerPackets(concat(fake.machine.output.take()));
}

/** Their types, with the flag of an End Response and what a Get Body Chunk asks for. */
export function types(fake: FakeDriver): string[] {
  return sent(fake).map((packet) => {
    switch (packet.type) {
      case "EndResponse":
        return `EndResponse(${Number(packet.reuse)})`;
      case "GetBodyChunk":
        return `GetBodyChunk(${packet.length})`;
      case "SendBodyChunk":
        return packet.data.length === 0 ? "Flush" : `SendBodyChunk(${packet.data.length})`;
      case "SendHeaders":
        return `SendHeaders(${packet.status})`;
      default:
        return packet.type;
    }
  });
}

/** The packet of a POST whose body has this length. */
export function post(length: number | "chunked" | "unknown", method = "POST"): Uint8Array {
  switch (length) {
    case "unknown":
      return forwardPacket({ method });
    case "chunked":
      return forwardPacket({ method, headers: [["transfer-encoding", "chunked"]] });
    default:
      return forwardPacket({ method, headers: [["content-length", String(length)]] });
  }
}
