import type { AjpOptions } from "../types.ts";
import { DEFAULT_PACKET_SIZE, MAX_PACKET_SIZE } from "./constants.ts";
import type { AjpServerOptions } from "./server.ts";

/** What of the machine's options only AJP has. */
export type ResolvedAjpOptions = Pick<
  AjpServerOptions,
  "packetSize" | "secret" | "allowsAttribute" | "rejectsUnknownAttributes" | "onIgnoredAttribute"
>;

/**
 * Checks AJP's own options and adds their defaults.
 *
 * @throws {RangeError} for a packetSize that no web server has
 */
export function resolveAjpOptions(
  options: AjpOptions,
  onIgnoredAttribute: (name: string) => void,
): ResolvedAjpOptions {
  const packetSize = options.packetSize ?? DEFAULT_PACKET_SIZE;
  if (!Number.isInteger(packetSize) || packetSize < DEFAULT_PACKET_SIZE || packetSize > MAX_PACKET_SIZE) {
    throw new RangeError(
      `Cannot use packetSize ${String(packetSize)}: it must be ${DEFAULT_PACKET_SIZE} to ${MAX_PACKET_SIZE}`,
    );
  }
  return {
    packetSize,
    secret: secretText(options.secret ?? ""),
    allowsAttribute: attributeFilter(options.allowedAttributes),
    rejectsUnknownAttributes: options.unknownAttributes === "reject",
    onIgnoredAttribute,
  };
}

/** A secret as it stands on the wire: its UTF-8 bytes, one character each. */
function secretText(secret: string): string {
  return Array.from(new TextEncoder().encode(secret), (byte) => String.fromCharCode(byte)).join("");
}

function attributeFilter(allowed: AjpOptions["allowedAttributes"]): (name: string) => boolean {
  if (allowed === undefined) return () => false;
  if (typeof allowed === "function") return allowed;
  if (!(allowed instanceof RegExp)) {
    throw new TypeError("Cannot use allowedAttributes: it must be a RegExp or a function");
  }
  // The whole name must match: with a part of it, "MY_" would let "NOT_MY_SECRET" in.
  const whole = new RegExp(`^(?:${allowed.source})$`, allowed.flags.replace(/[gmy]/g, ""));
  return (name) => whole.test(name);
}
