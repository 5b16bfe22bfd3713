// Rows 8 and 9: several brokers on one Redis. How many mints a second 1, 2 and 4 of them make together, beside one on the
// default store; and how long after a revocation's answer the last of 50 verifiers, each in a process of its own and
// spread over three brokers, still accepts what it ended.

import { setTimeout } from "node:timers/promises";
import { connect } from "../../src/store/redis/connection.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { AGENT, type BenchBroker, makeBenchFolder, type SharedStore, startBroker, writeMasterKey } from "./broker.ts";
import { openGateway } from "./gateway.ts";
import { runLoad } from "./load.ts";
import type { Bench, Line, Section } from "./report.ts";
import { endWatcher, nextReport, revoke, startWatcher } from "./revocation.ts";
import { median, percentile } from "./stats.ts";
import { mintCredentials } from "./verify.ts";
import { jwtOf } from "../support/jwt-of.ts";

const ISSUER = "http://127.0.0.1:1";
const BROKERS = [1, 2, 4];
const MINTS = 4000;
const IN_FLIGHT = 64;
const VERIFIERS = 50;
const WATCHED_BY = 3;
const REVOCATIONS = 20;
/** Below the 600 renewals that one agent has in a minute. */
const SPENDING = 500;
const MAX_MS = 250;
/** 50 processes look each this often: busier, they would measure one another. */
const PAUSE_MS = 2;

type CleanUps = (() => Promise<void> | void)[];

export async function benchReplicas(bench: Bench): Promise<readonly Section[]> {
  const cleanUps: CleanUps = [];
  try {
    return [
      await measureMints(bench, cleanUps),
      await measureSpending(bench, cleanUps),
      await measureRevocations(bench, cleanUps),
    ];
  } finally {
    for (const cleanUp of cleanUps.toReversed()) await cleanUp();
  }
}

async function openShared(cleanUps: CleanUps) {
  const folder = await makeBenchFolder();
  cleanUps.push(() => folder.remove());
  writeMasterKey(folder);
  const { shared, spent } = await openServer(cleanUps);
  const start = async (main: string): Promise<BenchBroker> => {
    const broker = await startBroker(main, folder, { shared });
    cleanUps.push(() => broker.end());
    return broker;
  };
  return { start, spent };
}

async function openServer(cleanUps: CleanUps) {
  const server = await startRedisServer({ isMeasured: true });
  cleanUps.push(() => server.close());
  const client = await connect(server.url);
  cleanUps.push(() => client.disconnect());
  const shared: SharedStore = { store: server.url, issuer: ISSUER };
  return { shared, spent: () => readSpent(client) };
}

/** What the server has used since it was started. */
interface Spent {
  readonly cpuMs: number;
  readonly logBytes: number;
  readonly memoryBytes: number;
  /** Of that, the record: the only part that nothing ever takes away. */
  readonly recordBytes: number;
}

const RECORD = "{valetkey}:record";
const DRAFTS = "{valetkey}:drafts";
/** At most so long until all entries are linked. */
const LINK_MS = 10_000;

/** When every entry is linked, which is part of the work. */
async function readSpent(client: Awaited<ReturnType<typeof connect>>): Promise<Spent> {
  for (const end = performance.now() + LINK_MS; (await client.xlen(DRAFTS)) > 0; await setTimeout(20)) {
    if (performance.now() > end) throw new Error(`there are entries that nobody has linked for ${LINK_MS / 1000} s`);
  }
  const recordBytes = await client.memory("USAGE", RECORD, "SAMPLES", "0");
  const text = await client.info();
  const number = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(text)?.[1]);
  return {
    cpuMs: (number("used_cpu_user") + number("used_cpu_sys")) * 1000,
    logBytes: number("aof_current_size"),
    memoryBytes: number("used_memory"),
    recordBytes: recordBytes ?? 0,
  };
}

async function measureMints({ main, effort, say }: Bench, cleanUps: CleanUps): Promise<Section> {
  const alone = await startBroker(main, await folderOf(cleanUps));
  cleanUps.push(() => alone.end());
  const { start, spent } = await openShared(cleanUps);
  const brokers: BenchBroker[] = [];
  while (brokers.length < Math.max(...BROKERS)) brokers.push(await start(main));
  const contenders: readonly (readonly [name: string, brokers: readonly BenchBroker[]])[] = [
    ["SQLite, one broker", [alone]],
    ...BROKERS.map((count) => [`Redis, ${count} of the brokers`, brokers.slice(0, count)] as const),
  ];
  const count = Math.max(256, Math.round(MINTS * effort.scale));
  const rates = new Map<string, number[]>(contenders.map(([name]) => [name, []]));
  const before = await spent();
  let mints = 0;
  for (let round = 0; round <= Math.min(effort.rounds, 3); round++) {
    say(round === 0 ? "mints: warming up" : `mints: round ${round}`);
    for (const [name, asked] of contenders) {
      const rate = await measureTogether(asked, count);
      if (asked[0] !== alone) mints += count;
      if (round > 0) rates.get(name)?.push(rate);
    }
  }
  const after = await spent();
  for (const broker of [alone, ...brokers]) await broker.end();
  const base = median(rates.get(contenders[0]?.[0] ?? "") ?? []);
  return {
    title: `Minting on a shared store: ${IN_FLIGHT} in flight at each broker, appendfsync always, all on this machine`,
    lines: [
      ...contenders.map(([name], i): Line => {
        const rate = median(rates.get(name) ?? []);
        const ratio = i === 0 ? {} : { ratio: `${(rate / base).toFixed(2)} × one broker on SQLite` };
        return { what: name, measured: `${Math.round(rate).toLocaleString("en-US")}/s`, ...ratio };
      }),
      {
        what: "of the Redis server, a mint",
        measured: describeSpent(before, after, mints),
      },
    ],
  };
}

function describeSpent(before: Spent, after: Spent, count: number): string {
  const each = (name: keyof Spent): number => (after[name] - before[name]) / count;
  const bytes = (name: keyof Spent): string => Math.round(each(name)).toLocaleString("en-US");
  return `${Math.round(each("cpuMs") * 1000)} µs of its processor, ${bytes("logBytes")} bytes of log, ${bytes("memoryBytes")} bytes of memory, ${bytes("recordBytes")} of them for ever`;
}

/** What the others cost the server: through one broker, one kind after the other. */
async function measureSpending({ main, effort, say }: Bench, cleanUps: CleanUps): Promise<Section> {
  const { shared, spent } = await openServer(cleanUps);
  const { broker, as, grant, read } = await openGateway(main, cleanUps, shared);
  const { grant: given, credential } = await grant("rest", ["volume:read"]);
  const { id } = given;
  const count = Math.max(64, Math.round(SPENDING * effort.scale));
  const agent = as(AGENT);
  const security = as("security-1");
  const kinds: readonly (readonly [what: string, act: () => Promise<unknown>])[] = [
    ["a renewal", () => inTurn(count, () => agent.call("renewCredential", { params: { id } }))],
    [
      "a revocation",
      () =>
        inTurn(count, (index) =>
          security.call("revoke", { body: { target: { task: `nobody's ${index}` }, reason: "measure it" } }),
        ),
    ],
    [
      "a call at the gateway",
      () =>
        runLoad({
          port: broker.port,
          requests: Array<Buffer>(count).fill(read(jwtOf(credential).value)),
          inFlight: 16,
          status: 200,
        }),
    ],
  ];
  const lines: Line[] = [];
  for (const [what, act] of kinds) {
    say(`spending: ${what}`);
    const before = await spent();
    await act();
    lines.push({ what, measured: describeSpent(before, await spent(), count) });
  }
  return { title: "What the Redis server spends on each, through one broker", lines };
}

/** Sixteen at a time. */
async function inTurn(count: number, act: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: 16 }, lane));
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
  const { start } = await openShared(cleanUps);
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
