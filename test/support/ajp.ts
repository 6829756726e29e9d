import {
  type ContainerPacket,
  decodeContainerPacket,
  encodeForwardRequest,
  type ForwardRequest,
} from "../../src/ajp/codec.ts";
import { written } from "./hex.ts";

/** A Forward Request with everything in it that must be, and what `more` says. */
export function forwardRequest(more: Partial<ForwardRequest> = {}): ForwardRequest {
  return {
    method: "GET",
    protocol: "HTTP/1.1",
    uri: "/",
    remoteAddr: "10.0.0.7",
    remoteHost: null,
    serverName: "www.example.com",
    serverPort: 80,
    isSsl: false,
    headers: [],
    attributes: {},
    requestAttributes: [],
    secrets: [],
    ...more,
  };
}

/** The packet of such a request. */
export function forwardPacket(more: Partial<ForwardRequest> = {}, packetSize?: number): Uint8Array<ArrayBuffer> {
  return written((writer) => encodeForwardRequest(writer, forwardRequest(more), packetSize));
}

/** A packet of the web server's around any payload. */
export function ajpPacket(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(0x12, 0x34, payload.length >> 8, payload.length & 255, ...payload);
}

/** The container's packets in `bytes`, which must hold nothing else. */
export function containerPackets(bytes: Uint8Array): ContainerPacket[] {
  const packets: ContainerPacket[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== 0x41 || bytes[at + 1] !== 0x42) throw new Error(`No packet begins at ${at}`);
    const end = at + 4 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    if (end > bytes.length) throw new Error("The last packet is cut off");
    packets.push(decodeContainerPacket(bytes.subarray(at + 4, end)));
    at = end;
  }
  return packets;
}
