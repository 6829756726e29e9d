/**
 * FastCGI records in hexadecimal and what they mean, as the specification has them.
 */

export interface LengthVector {
  length: number;
  hex: string;
}

/** Section 3.4: the two forms of a length. */
export const lengths: LengthVector[] = [
  { length: 0, hex: "00" },
  { length: 1, hex: "01" },
  { length: 127, hex: "7f" },
  { length: 128, hex: "80 00 00 80" },
  { length: 1000, hex: "80 00 03 e8" },
  { length: 65536, hex: "80 01 00 00" },
  { length: 33554431, hex: "81 ff ff ff" },
];

export interface PairsVector {
  name: string;
  hex: string;
  pairs: [string, string][];
  /** Set where another spelling is the one that is sent. */
  readOnly?: true;
}

export const pairs: PairsVector[] = [
  { name: "nothing", hex: "", pairs: [] },
  { name: "one pair", hex: "03 02 414243 6465", pairs: [["ABC", "de"]] },
  { name: "an empty value", hex: "03 00 414243", pairs: [["ABC", ""]] },
  { name: "an empty name", hex: "00 02 6465", pairs: [["", "de"]] },
  { name: "both empty", hex: "00 00", pairs: [["", ""]] },
  { name: "a name twice", hex: "01 01 41 31 01 01 41 32", pairs: [["A", "1"], ["A", "2"]] },
  { name: "bytes above 7F", hex: "01 03 41 80 9f ff", pairs: [["A", "\x80\x9f\xff"]] },
  { name: "__proto__", hex: "09 01 5f5f70726f746f5f5f 31", pairs: [["__proto__", "1"]] },
  { name: "a value of 127", hex: `01 7f 41 ${"62".repeat(127)}`, pairs: [["A", "b".repeat(127)]] },
  { name: "a value of 128", hex: `01 80000080 41 ${"62".repeat(128)}`, pairs: [["A", "b".repeat(128)]] },
  {
    name: "a name and a value of 1000",
    hex: `800003e8 800003e8 ${"41".repeat(1000)} ${"62".repeat(1000)}`,
    pairs: [["A".repeat(1000), "b".repeat(1000)]],
  },
  { name: "long forms of short lengths", hex: "80000001 80000002 41 6465", pairs: [["A", "de"]], readOnly: true },
  {
    name: "HAProxy's question",
    hex: "0D 00 464347495f4d41585f52455153 0F 00 464347495f4d5058535f434f4e4e53",
    pairs: [["FCGI_MAX_REQS", ""], ["FCGI_MPXS_CONNS", ""]],
  },
  {
    name: "the answer to it",
    hex: "0D 02 464347495f4d41585f52455153 3530 0F 01 464347495f4d5058535f434f4e4e53 31",
    pairs: [["FCGI_MAX_REQS", "50"], ["FCGI_MPXS_CONNS", "1"]],
  },
];

/** Runs of pairs of which the last is cut off, or claims to be longer than anything. */
export const cutPairs: readonly [what: string, hex: string][] = [
  ["a name length alone", "01"],
  ["no value length", "80000001"],
  ["half a name length", "8000"],
  ["three quarters of a name length", "800000"],
  ["half a value length", "01 8000"],
  ["a value length without its last byte", "01 800000"],
  ["no name", "03 02"],
  ["half a name", "03 02 41"],
  ["no value", "03 02 414243"],
  ["half a value", "03 02 414243 64"],
  ["both lengths FF FF FF FF", "ffffffff ffffffff 41"],
  ["a name length FF FF FF FF", "ffffffff 00 41"],
  ["a value length FF FF FF FF", "01 ffffffff 41 42"],
  ["lengths whose sum is 0 in 32 bits", "ffffffff 80000001"],
  ["a pair after a whole one", "01 01 41 42 01 01 41"],
];

export interface HeaderVector {
  name: string;
  hex: string;
  header: { type: number; requestId: number; contentLength: number; paddingLength: number };
  readOnly?: true;
}

/** Section 3.3. */
export const headers: HeaderVector[] = [
  { name: "a management record", hex: "01 09 00 00 00 20 00 00", header: header(9, 0, 32, 0) },
  { name: "the largest id and content", hex: "01 05 ff ff ff ff 00 00", header: header(5, 65535, 65535, 0) },
  { name: "the most padding", hex: "01 05 00 01 ff ff ff 00", header: header(5, 1, 65535, 255), readOnly: true },
  { name: "a reserved byte that is set", hex: "01 04 01 02 00 00 08 ff", header: header(4, 258, 0, 8), readOnly: true },
];

/** Records of one fixed length. */
export const begins = [
  { name: "Responder", hex: "01 01 0001 0008 00 00 0001 00 0000000000", id: 1, role: 1, keepConn: false },
  { name: "Responder, KEEP_CONN", hex: "01 01 0001 0008 00 00 0001 01 0000000000", id: 1, role: 1, keepConn: true },
  { name: "Authorizer", hex: "01 01 0102 0008 00 00 0002 00 0000000000", id: 258, role: 2, keepConn: false },
  { name: "Filter, KEEP_CONN", hex: "01 01 ffff 0008 00 00 0003 01 0000000000", id: 65535, role: 3, keepConn: true },
  { name: "role 65535", hex: "01 01 0001 0008 00 00 ffff 00 0000000000", id: 1, role: 65535, keepConn: false },
];

export const ends = [
  { name: "REQUEST_COMPLETE", hex: "01 03 0001 0008 00 00 00000000 00 000000", id: 1, appStatus: 0, protocolStatus: 0 },
  { name: "CANT_MPX_CONN", hex: "01 03 0001 0008 00 00 00000000 01 000000", id: 1, appStatus: 0, protocolStatus: 1 },
  { name: "OVERLOADED", hex: "01 03 0001 0008 00 00 00000001 02 000000", id: 1, appStatus: 1, protocolStatus: 2 },
  {
    name: "UNKNOWN_ROLE and a negative exit",
    hex: "01 03 0009 0008 00 00 ffffffff 03 000000",
    id: 9,
    appStatus: 0xffffffff,
    protocolStatus: 3,
  },
];

function header(type: number, requestId: number, contentLength: number, paddingLength: number): HeaderVector["header"] {
  return { type, requestId, contentLength, paddingLength };
}
