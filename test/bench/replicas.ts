// Rows 8 and 9: several brokers on one Redis. How many mints a second 1, 2 and 4 of them make together, beside one on the
// default store; and how long after a revocation's answer the last of 50 verifiers, each in a process of its own and
// spread over three brokers, still accepts what it ended.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startRedisServer } from "../support/redis-server.ts";
import { AGENT, type BenchBroker, makeBenchFolder, type SharedStore, startBroker } from "./broker.ts";
import { runLoad } from "./load.ts";
import type { Bench, Line, Section } from "./report.ts";
import { endWatcher, nextReport, revoke, startWatcher } from "./revocation.ts";
import { median, percentile } from "./stats.ts";
import { mintCredentials } from "./verify.ts";

const ISSUER = "http://127.0.0.1:1";
const BROKERS = [1, 2, 4];
const MINTS = 4000;
const IN_FLIGHT = 64;
const VERIFIERS = 50;
const WATCHED_BY = 3;
const REVOCATIONS = 20;
const MAX_MS = 250;
/** 50 processes look each this often: busier, they would measure one another. */
const PAUSE_MS = 2;

type CleanUps = (() => Promise<void> | void)[];

export async function benchReplicas(bench: Bench): Promise<readonly Section[]> {
  const cleanUps: CleanUps = [];
  try {
    return [await measureMints(bench, cleanUps), await measureRevocations(bench, cleanUps)];
  } finally {
    for (const cleanUp of cleanUps.toReversed()) await cleanUp();
  }
}

async function openShared(cleanUps: CleanUps) {
  const folder = await makeBenchFolder();
  cleanUps.push(() => folder.remove());
  writeFileSync(join(folder.path, ".valetkey/master.key"), randomBytes(32), { mode: 0o600 });
  const server = await startRedisServer();
  cleanUps.push(() => server.close());
  const shared: SharedStore = { store: server.url, issuer: ISSUER };
  return async (main: string): Promise<BenchBroker> => {
    const broker = await startBroker(main, folder, { shared });
    cleanUps.push(() => broker.end());
    return broker;
  };
}

async function measureMints({ main, effort, say }: Bench, cleanUps: CleanUps): Promise<Section> {
  const alone = await startBroker(main, await folderOf(cleanUps));
  cleanUps.push(() => alone.end());
  const start = await openShared(cleanUps);
  const brokers: BenchBroker[] = [];
  while (brokers.length < Math.max(...BROKERS)) brokers.push(await start(main));
  const contenders: readonly (readonly [name: string, brokers: readonly BenchBroker[]])[] = [
    ["SQLite, one broker", [alone]],
    ...BROKERS.map((count) => [`Redis, ${count} of the brokers`, brokers.slice(0, count)] as const),
  ];
  const rates = new Map<string, number[]>(contenders.map(([name]) => [name, []]));
  for (let round = 0; round <= Math.min(effort.rounds, 3); round++) {
    say(round === 0 ? "mints: warming up" : `mints: round ${round}`);
    for (const [name, asked] of contenders) {
      const rate = await measureTogether(asked, Math.max(256, Math.round(MINTS * effort.scale)));
      if (round > 0) rates.get(name)?.push(rate);
    }
  }
  for (const broker of [alone, ...brokers]) await broker.end();
  const base = median(rates.get(contenders[0]?.[0] ?? "") ?? []);
  return {
    title: `Minting on a shared store: ${IN_FLIGHT} in flight at each broker, appendfsync always, all on this machine`,
    lines: contenders.map(([name], i): Line => {
      const rate = median(rates.get(name) ?? []);
      const ratio = i === 0 ? {} : { ratio: `${(rate / base).toFixed(2)} × one broker on SQLite` };
      return { what: name, measured: `${Math.round(rate).toLocaleString("en-US")}/s`, ...ratio };
    }),
  };
}

async function folderOf(cleanUps: CleanUps) {
  const folder = await makeBenchFolder();
  cleanUps.push(() => folder.remove());
  return folder;
}

/** All at once, each its share: mints a second, until the last one is answered. */
async function measureTogether(brokers: readonly BenchBroker[], count: number): Promise<number> {
  const each = Math.round(count / brokers.length);
  const loads = await Promise.all(brokers.map(async (broker) => [broker, await broker.requests(each)] as const));
  const started = performance.now();
  await Promise.all(loads.map(([{ port }, requests]) => runLoad({ port, requests, inFlight: IN_FLIGHT, status: 201 })));
  return (each * brokers.length) / ((performance.now() - started) / 1000);
}

async function measureRevocations({ main, effort, say }: Bench, cleanUps: CleanUps): Promise<Section> {
  const start = await openShared(cleanUps);
  const brokers = await Promise.all(Array.from({ length: WATCHED_BY }, () => start(main)));
  const [first] = brokers;
  if (first === undefined) throw new Error("there is at least one broker");
  const count = effort.quick ? 3 : REVOCATIONS;
  const verifiers = effort.quick ? 6 : VERIFIERS;
  const key = { ...first.folder.keyOf("shop-verifier"), sub: "shop-verifier" };
  const watchers: ReturnType<typeof startWatcher>[] = [];
  cleanUps.push(async () => void (await Promise.all(watchers.map(endWatcher))));
  for (let i = 0; i < verifiers; i++) {
    const url = brokers[i % brokers.length]?.url ?? first.url;
    const watcher = startWatcher({ issuer: ISSUER, url, key, pauseMs: PAUSE_MS });
    watchers.push(watcher);
    await nextReport(watcher, "ready");
  }
  const minted = await mintCredentials(first, count, (index) => `task ${index}`);
  const sign = await first.signer("security-1");
  const lateMs: number[] = [];
  say(`${count} revocations, ${verifiers} verifiers`);
  for (const [index, { jwt, grant, task }] of minted.entries()) {
    const accepted = watchers.map((watcher) => nextReport(watcher, "accepted"));
    for (const watcher of watchers) watcher.send(jwt);
    await Promise.all(accepted);
    const refused = watchers.map((watcher) => nextReport(watcher, "refused"));
    const asked = brokers[index % brokers.length] ?? first;
    const answeredAt = await revoke(asked, sign, index % 2 === 0 ? { grant } : { task });
    for (const report of await Promise.all(refused)) {
      if (report.kind !== "refused" || report.code !== "cut_off")
        throw new Error(`expected each verifier to refuse as cut off, found ${JSON.stringify(report)}`);
      lateMs.push(Number(BigInt(report.atNanos) - answeredAt) / 1e6);
    }
  }
  const slowest = Math.max(...lateMs);
  return {
    title: `Revoking on a shared store: ${count} revocations by ${AGENT}'s grant and task, ${verifiers} verifiers in processes of their own at ${WATCHED_BY} brokers`,
    lines: [
      {
        what: "from the answer until a verifier refuses (negative: it refused before)",
        measured: `median ${median(lateMs).toFixed(1)} ms, p99 ${percentile(lateMs, 99).toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms`,
        target: `≤ ${MAX_MS} ms`,
        met: slowest <= MAX_MS,
      },
    ],
  };
}
