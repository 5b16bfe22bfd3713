// `npm run test:faults -- --minutes 10 --seed 7`: the long run of the fault suite. Ends with 1 where it finds a violation.

import { parseArgs } from "node:util";
import { CALM_MS } from "./check-watch.ts";
import { planFor } from "./plan.ts";
import { runSession } from "./session.ts";
import { summarise } from "./summary.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: process.env["TEST_SEED"] ?? String(Date.now() % 1_000_000) },
    workers: { type: "string", default: "16" },
  },
});
const [minutes, seed, workers] = [values.minutes, values.seed, values.workers].map(Number);
if (
  minutes === undefined ||
  seed === undefined ||
  workers === undefined ||
  !(minutes > 0) ||
  !Number.isSafeInteger(seed) ||
  !(workers >= 1)
) {
  say("expected --minutes, --seed and --workers to be numbers");
  process.exitCode = 2;
} else {
  say(`seed ${seed}`);
  // A broker that was killed counts as gone after half a minute, and what it left is looked for every minute.
  const result = await runSession({
    seed,
    plan: (random) => planFor(random, minutes),
    workers,
    settleMs: 150_000,
    calmMs: CALM_MS,
    say,
  });
  const status = result.violations.length === 0 ? 0 : 1;
  // Left to end by itself, Node now and then waits for ever for the handle of a socket that was reset and is long gone.
  process.stdout.write(`${summarise(result)}\n`, () => process.exit(status));
}
