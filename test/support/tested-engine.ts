// Which engine the tests of behaviour run on, as the projects of vitest.config.ts say, and how many times as much of what
// is random they try as usual. Nothing else reads these variables.

export type TestedEngine = "sqlite" | "redis";

export const ENGINE: TestedEngine = engineIn(process.env["TEST_STORE"]);

function engineIn(value: string | undefined): TestedEngine {
  if (value === undefined || value === "sqlite") return "sqlite";
  if (value === "redis") return value;
  throw new Error(
    `expected sqlite or redis in TEST_STORE, found ${value}: leave it to the projects of vitest.config.ts`,
  );
}

/** In CI all of what takes minutes; elsewhere a part of it, so that the tests are run often. */
export const IS_WHOLE = process.env["CI"] === "true" || process.env["TEST_RUNS"] !== undefined;

/** 1 unless somebody wants a longer search. */
export const RUNS = timesIn(process.env["TEST_RUNS"] ?? "1");

function timesIn(value: string): number {
  if (/^[1-9][0-9]{0,3}$/.test(value)) return Number(value);
  throw new Error(`expected a whole number from 1 to 9999 in TEST_RUNS, found ${value}`);
}
