// `run.ts --profile`: which functions a broker under mints spends its time in, by thread. For whoever wants to make it
// faster; nothing of it goes into the documentation by itself.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBenchFolder, startBroker } from "./broker.ts";
import { runLoad } from "./load.ts";
import type { Bench, Section } from "./report.ts";

const IN_FLIGHT = 64;
const REQUESTS = 8000;
const TOP = 25;

/** The part of V8's `.cpuprofile` that is read. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export async function profileMint({ main, effort, say }: Bench): Promise<readonly Section[]> {
  const profiles = mkdtempSync(join(tmpdir(), "valetkey-profile-"));
  const folder = await makeBenchFolder();
  try {
    const broker = await startBroker(main, folder, { nodeArgs: ["--cpu-prof", `--cpu-prof-dir=${profiles}`] });
    try {
      say("mints under the profiler");
      const requests = await broker.requests(Math.round(REQUESTS * effort.scale));
      await runLoad({ port: broker.port, requests, inFlight: IN_FLIGHT, status: 201 });
    } finally {
      await broker.end();
    }
    return readdirSync(profiles)
      .toSorted()
      .map((file) => summarise(file, join(profiles, file)));
  } finally {
    folder.remove();
    rmSync(profiles, { recursive: true, force: true });
  }
}

function summarise(name: string, file: string): Section {
  // Written by V8.
  const profile = JSON.parse(readFileSync(file, "utf8")) as CpuProfile;
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)] as const));
  const self = new Map<string, number>();
  let total = 0;
  for (const [index, id] of profile.samples.entries()) {
    const place = frames.get(id) ?? "unknown";
    const micros = profile.timeDeltas[index] ?? 0;
    self.set(place, (self.get(place) ?? 0) + micros);
    if (place !== "(idle)") total += micros;
  }
  const top = [...self].toSorted(([, a], [, b]) => b - a).slice(0, TOP);
  const lines = top.map(([place, micros]) => ({
    what: place,
    measured: `${(micros / 1000).toFixed(0)} ms`,
    ...(place === "(idle)" ? {} : { ratio: `${((micros / total) * 100).toFixed(1)} %` }),
  }));
  return { title: `Self time: ${name}`, lines };
}

function placeOf({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = functionName === "" ? "(anonymous)" : functionName;
  if (url === "") return name;
  const place = url.replace(/^.*\/node_modules\//, "").replace(/^file:\/\/.*\/(?=[^/]*\/[^/]*$)/, "");
  return `${name} ${place}:${lineNumber + 1}`;
}
