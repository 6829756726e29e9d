/** Joins the byte slices into one new slice. */
export declare function concat(buffers: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
/** Whether the two slices hold the same bytes. */
export declare function equals(a: Uint8Array, b: Uint8Array): boolean;
/** Whether `source` begins with `prefix`. */
export declare function startsWith(source: Uint8Array, prefix: Uint8Array): boolean;
/** Where `needle` first occurs in `source` from `start` on, or -1. */
export declare function indexOfNeedle(source: Uint8Array, needle: Uint8Array, start?: number): number;
