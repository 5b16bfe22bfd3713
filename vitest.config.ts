// How the tests run: every file in a process of its own, so that no test sees another's globals or open files.
// Benches are no tests; they run by `npm run bench`.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/bench/**"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // node:sqlite warns of itself in every process. With protection keys V8 ends a process with threads once in some
    // thousand ("Check failed: jit_page.has_value()"), and with it the whole run.
    execArgv: ["--disable-warning=ExperimentalWarning", "--no-memory-protection-keys"],
  },
});
