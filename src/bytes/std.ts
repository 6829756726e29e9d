/** The only importer of `@std/bytes`, so that what it maps to is decided in one place. */
export { concat } from "@std/bytes";
