import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    dir: "test",
    include: ["**/*.test.ts"],
    setupFiles: ["test/support/assert_runtime.ts"],
    // Threads end in an unhandled error on Deno, whose `parentPort` lacks `removeAllListeners`.
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
