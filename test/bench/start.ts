// Row 7: from the start of the process until it is ready, and what it weighs, with an empty store and with a million live
// grants. The same folder and policy; each start is of the built command, as a user runs it.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { TestFolder } from "../support/test-folder.ts";
import { type BenchBroker, makeBenchFolder, startBroker } from "./broker.ts";
import { runLoad } from "./load.ts";
import type { Bench, Line, Section } from "./report.ts";
import { seedGrants } from "./seed-grants.ts";
import { median } from "./stats.ts";

const LIVE_GRANTS = 1_000_000;
const QUICK_LIVE_GRANTS = 20_000;
const STARTS = 5;
const POLL_MS = 2;
const MAX_MS = 1000;
const MINTS = 2000;
const IN_FLIGHT = 64;

interface Measured {
  readonly readyMs: number;
  /** Right after the start, before any work. */
  readonly residentMib: number;
  readonly perSecond: number;
  readonly residentAfterMib: number;
}

export async function benchStart({ main, effort, say }: Bench): Promise<readonly Section[]> {
  const folder = await makeBenchFolder();
  try {
    const starts = effort.quick ? 2 : STARTS;
    const mints = Math.round(MINTS * effort.scale);
    // The first start makes keys and tables; those after it find them.
    await measure(main, folder, mints);
    const empty: Measured[] = [];
    const full: Measured[] = [];
    for (let n = 0; n < starts; n++) empty.push(await measure(main, folder, mints));
    const grants = effort.quick ? QUICK_LIVE_GRANTS : LIVE_GRANTS;
    say(`writing ${grants.toLocaleString("en-US")} live grants and their events`);
    const live = seedGrants(storeFile(folder), grants);
    const bytes = statSync(storeFile(folder)).size;
    for (let n = 0; n < starts; n++) full.push(await measure(main, folder, mints));
    return [describe(empty, full, live, bytes)];
  } finally {
    folder.remove();
  }
}

function storeFile(folder: TestFolder): string {
  return join(folder.path, ".valetkey/broker.db");
}

async function measure(main: string, folder: TestFolder, mints: number): Promise<Measured> {
  const started = performance.now();
  const broker = await startBroker(main, folder, { pollMs: POLL_MS });
  const readyMs = performance.now() - started;
  try {
    const residentMib = readResidentMib(broker);
    const { perSecond } = await runLoad({
      port: broker.port,
      requests: await broker.requests(mints),
      inFlight: IN_FLIGHT,
      status: 201,
    });
    return { readyMs, residentMib, perSecond, residentAfterMib: readResidentMib(broker) };
  } finally {
    await broker.end();
  }
}

/** Of the whole process, threads included. Only Linux says it here; elsewhere it is not a number. */
function readResidentMib({ process: { pid } }: BenchBroker): number {
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib) / 1024;
  } catch {
    return Number.NaN;
  }
}

function describe(empty: readonly Measured[], full: readonly Measured[], live: number, bytes: number): Section {
  const of = (all: readonly Measured[], field: keyof Measured): number => median(all.map((one) => one[field]));
  const compare = (field: keyof Measured, unit: string): Pick<Line, "measured" | "ratio"> => {
    const [before, after] = [of(empty, field), of(full, field)];
    return {
      measured: `${Math.round(before).toLocaleString("en-US")}${unit}, then ${Math.round(after).toLocaleString("en-US")}${unit}`,
      ratio: `${(after / before).toFixed(2)} ×`,
    };
  };
  const slowest = Math.max(...full.map(({ readyMs }) => readyMs));
  return {
    title: `Starting (medians of ${full.length} starts): a store without live grants, then one of ${Math.round(bytes / 1_048_576)} MiB with ${live.toLocaleString("en-US")} live grants and their events`,
    lines: [
      {
        what: "from the start of the process until /readyz answers 200",
        ...compare("readyMs", " ms"),
        target: `< ${MAX_MS} ms`,
        met: of(full, "readyMs") < MAX_MS,
      },
      { what: "the slowest of those starts with live grants", measured: `${Math.round(slowest)} ms` },
      { what: "resident memory when ready", ...compare("residentMib", " MiB") },
      { what: "the first mints after the start", ...compare("perSecond", "/s") },
      { what: "resident memory after them", ...compare("residentAfterMib", " MiB") },
    ],
  };
}
