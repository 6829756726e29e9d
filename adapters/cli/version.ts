/** The version of package.json and deno.json; a constant, since a compiled executable has neither file. */
export const VERSION = "0.1.0";
