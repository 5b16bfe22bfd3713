// How the tests run: every file in a process of its own, so that no test sees another's globals or open files. All of them
// run once, on the embedded engine where they need one; those that say what a store means to a broker run on Redis as
// well. Benches are no tests; they run by `npm run bench`.

import { availableParallelism } from "node:os";
import { join } from "node:path";
import { defineConfig, type TestProjectConfiguration } from "vitest/config";
import { hasRedis } from "./test/support/redis-program.ts";

/** Those that say what becomes of what is stored. Parsing, egress and texts are the same on any engine. */
const ATTACKS = [
  "attestation-*",
  "crash",
  "gateway-{after-the-end,decoy,revocation,secret-marker}",
  "greedy-principal",
  "hold-*",
  "proof-encoding",
  "store-writer",
];
const ON_REDIS_TOO = [
  "test/http/**/*.test.ts",
  "test/gateway/**/*.test.ts",
  "test/property/{store-histories,holds-model}.test.ts",
  `test/attack/{${ATTACKS.join(",")}}.test.ts`,
];
/** Have Redis in any project, or ask no broker. */
const NOT_TWICE = [
  "test/http/{replicas,policy-replicas,store-went-back}.test.ts",
  "test/gateway/replicas.test.ts",
  "test/attack/attestation-forgery.test.ts",
];

// Each file is a process, and each broker in it has threads of its own: without this, most of the time goes into making
// JavaScript of the same TypeScript again. Kept where nobody else writes.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/compiled");

const all: TestProjectConfiguration = {
  extends: true,
  test: { name: "sqlite", include: ["test/**/*.test.ts"], exclude: ["test/bench/**", "test/aws/**"] },
};
const onRedis: TestProjectConfiguration = {
  extends: true,
  test: { name: "redis", include: ON_REDIS_TOO, exclude: NOT_TWICE, env: { TEST_STORE: "redis" } },
};

/** By `npm run test:aws` alone: they need a real STS. */
const onCeph: TestProjectConfiguration = { extends: true, test: { name: "aws", include: ["test/aws/**/*.test.ts"] } };

const isCi = process.env["CI"] === "true";

export default defineConfig({
  test: {
    pool: "forks",
    // Some wait for half a minute and compute nothing. CI tries more of what computes, and has no hurry.
    maxWorkers: availableParallelism() + (isCi ? 0 : 1),
    // There a machine may be slow, and a test that hangs costs nobody's time.
    testTimeout: isCi ? 120_000 : 30_000,
    hookTimeout: isCi ? 120_000 : 30_000,
    // node:sqlite warns of itself in every process. With protection keys V8 ends a process with threads once in some
    // thousand ("Check failed: jit_page.has_value()"), and with it the whole run.
    execArgv: ["--disable-warning=ExperimentalWarning", "--no-memory-protection-keys"],
    // Where there is no Redis server, that it is missing has been said.
    projects: [all, onCeph, ...(hasRedis ? [onRedis] : [])],
  },
});
