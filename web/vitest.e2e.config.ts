import { defineConfig } from "vitest/config";

/** Browser tests against the real relay: one after the other, since they stop and start what they share. */
export default defineConfig({
  test: {
    include: [process.env.SCREENSHOTS ? "e2e/**/*.shots.ts" : "e2e/**/*.e2e.ts"],
    fileParallelism: false,
    testTimeout: 90_000,
    // As long as the browser's own waits: a busy machine is no failure.
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 180_000,
  },
});
