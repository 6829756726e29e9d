// @ts-self-types="./mod.d.ts"
// Stands in for JSR's @std/bytes, with the same code as npm carries it, so that the checkout needs no registry but
// npm's. Where JSR is at hand, `"imports": { "@std/bytes": "jsr:@std/bytes@^1.0.6" }` in deno.json takes its place.
export { concat, equals, indexOfNeedle, startsWith } from "deno-std/bytes/mod.js";
