/**
 * SCGI requests in hexadecimal and what they mean.
 */

export interface HeadersVector {
  name: string;
  hex: string;
  headers: [string, string][];
}

/** The block between the ":" and the "," as a whole netstring. */
export const requests: HeadersVector[] = [
  {
    // The example of the specification, section 4.
    name: "the answer to life",
    hex: "37303a 434f4e54454e545f4c454e475448 00 3237 00 53434749 00 31 00 524551554553545f4d4554484f44 00 504f5354 00" +
      "524551554553545f555249 00 2f6465657074686f75676874 00 2c",
    headers: [
      ["CONTENT_LENGTH", "27"],
      ["SCGI", "1"],
      ["REQUEST_METHOD", "POST"],
      ["REQUEST_URI", "/deepthought"],
    ],
  },
  {
    name: "the least that there can be",
    hex: "32343a 434f4e54454e545f4c454e475448 00 30 00 53434749 00 31 00 2c",
    headers: [["CONTENT_LENGTH", "0"], ["SCGI", "1"]],
  },
  { name: "an empty value", hex: "333a 41 00 00 2c", headers: [["A", ""]] },
  { name: "bytes above 7F", hex: "363a 41 00 809fff 00 2c", headers: [["A", "\x80\x9f\xff"]] },
  {
    name: "colons, commas and digits in a value",
    hex: "31303a 41 00 31323a2c61 2c0a 00 2c",
    headers: [["A", "12:,a,\n"]],
  },
  { name: "a name twice, which is for the server to judge", hex: "383a 41 00 31 00 41 00 32 00 2c", headers: [["A", "1"], ["A", "2"]] },
  {
    name: "__proto__",
    hex: "31323a 5f5f70726f746f5f5f 00 31 00 2c",
    headers: [["__proto__", "1"]],
  },
];
