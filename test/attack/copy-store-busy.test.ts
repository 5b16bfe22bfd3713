// A store that is read as a whole while it is written, or whose copying is killed: what was answered is in the copy, no
// effect is without its entry, and never do two stores serve.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTally } from "../../src/backup/tally.ts";
import { drawRandomPart } from "../../src/core/ids.ts";
import { keepCheck, readSealer } from "../../src/secrets/master-key.ts";
import type { DumpRow } from "../../src/store/dump.ts";
import { openToFill, openToRead } from "../../src/store/open-whole.ts";
import { openStore } from "../../src/store/open-store.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createRedisPorts } from "../../src/store/redis/redis-ports.ts";
import { createScripts } from "../../src/store/redis/scripts.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { StorePorts } from "../../src/store/store.ts";
import { activate, begin, cut, end, eventOf, issue, T0 } from "../contract/drafts.ts";
import * as held from "../contract/held-drafts.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

let server: RedisServer;
let folder: string;
beforeAll(async () => {
  server = await startRedisServer();
  folder = await mkdtemp(join(tmpdir(), "valetkey-copies-"));
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

interface Answered {
  readonly grants: string[];
  readonly cutOffs: string[];
}

/** Everything that grows, in many lanes, with whatever is answered. */
async function write(store: StorePorts, lane: number, answered: Answered, goesOn: () => boolean): Promise<void> {
  for (let i = 0; goesOn(); i++) {
    const at = T0 + i;
    const task = `task ${lane} ${i}`;
    const answer = await issue(store, at, { task, agent: `agent-${lane}` });
    if (answer.outcome !== "issued") continue;
    const { grant } = answer;
    answered.grants.push(grant.id);
    const call = `req_${grant.id.slice(4)}` as const;
    if (i % 3 === 0 && (await begin(store, at, grant, { call })).outcome === "begun" && i % 2 === 0)
      await end(store, at, call);
    if (i % 4 === 0) await held.holdCall(store, (await store.head()).instant, grant);
    if (i % 4 === 1) await held.holdGrant(store, (await store.head()).instant, { agent: `agent-${lane}`, task });
    if (i % 10 === 9) answered.cutOffs.push((await cut(store, at, { task })).id);
    if (i % 50 === 49) {
      const command = { random: drawRandomPart(), target: { agent: `gone-${lane}` }, reason: "r", by: "b" };
      await store.freeze({ ...command, at, proof: null, event: eventOf("agent.frozen"), agent: `gone-${lane}` });
    }
  }
}

function of<Kind extends DumpRow["kind"]>(rows: readonly DumpRow[], kind: Kind) {
  return rows.filter((row): row is Extract<DumpRow, { readonly kind: Kind }> => row.kind === kind);
}

const PLACES = {
  sqlite: () => ({ engine: "sqlite", file: join(folder, `${drawRandomPart()}.db`) }) as const,
  redis: () => ({ engine: "redis", address: server.url, base: `{${drawRandomPart()}}:` }) as const,
};

async function openPorts(place: ReturnType<(typeof PLACES)[keyof typeof PLACES]>) {
  if (place.engine === "sqlite") return openSqliteStore(place);
  const client = await connect(place.address);
  return { ...createRedisPorts(client, createScripts(client, place.base), place.base), close: () => client.quit() };
}

describe("a store that is read as a whole", { timeout: 180_000 }, () => {
  it.each(["sqlite", "redis"] as const)(
    "in %s while it is written has all that was answered before",
    async (engine) => {
      const place = PLACES[engine]();
      const store = await openPorts(place);
      const answered: Answered = { grants: [], cutOffs: [] };
      let isOver = false;
      await activate(store);
      await store.writeMasterKeyCheck(new Uint8Array([1]));
      const writers = Array.from({ length: 12 }, (_, lane) => write(store, lane, answered, () => !isOver));
      try {
        while (answered.grants.length < 1500) await wait(20);
        const reader = await openToRead(place);
        for (let round = 0; round < (IS_WHOLE ? 3 : 1); round++) {
          const before = { grants: [...answered.grants], cutOffs: [...answered.cutOffs] };
          const tally = createTally();
          const rows: DumpRow[] = [];
          for await (const row of reader.rows({ isHandover: false })) {
            tally.see(row);
            rows.push(row);
          }
          const entries = of(rows, "entry")
            .map(({ text }) => text)
            .join("\n");
          const grants = of(rows, "grant").map(({ grant }) => grant);
          const holds = of(rows, "hold").map(({ hold }) => hold);
          const cutOffs = of(rows, "cut_off").map(({ cutOff }) => cutOff);
          const ids = new Set<string>([...grants, ...cutOffs].map(({ id }) => id));
          // What was answered before it began is in it.
          expect([...before.grants, ...before.cutOffs].filter((id) => !ids.has(id))).toEqual([]);
          // Whatever is in it has its entry in it.
          const known = [...grants.filter(({ hold }) => hold === null), ...cutOffs, ...holds].map(({ id }) => id);
          const mentioned = new Set(entries.match(/(?:grt|rev|hld)_[0-9A-Z]{26}/g));
          expect(known.filter((id) => !mentioned.has(id))).toEqual([]);
          // Every cut-off of which there is an entry is in it, and none is there twice.
          const made = (entries.match(/"revocation":"rev_[0-9A-Z]{26}"/g) ?? []).map((text) => text.slice(14, -1));
          expect(made.filter((id) => !ids.has(id))).toEqual([]);
          expect(new Set(cutOffs.map(({ number }) => number)).size).toBe(cutOffs.length);
          const held = new Set<string | null>(holds.map(({ id }) => id));
          expect(
            grants.filter(
              ({ hold, endsAt, endedAt }) => hold !== null && endsAt === 0 && endedAt === null && !held.has(hold),
            ),
          ).toEqual([]);
          for (const to of [PLACES.sqlite(), PLACES.redis()]) {
            const target = await openToFill(to, { force: false });
            await target.load(rows);
            await target.publish();
            await target.close();
            const copy = await openPorts(to);
            expect(await copy.head()).toMatchObject(tally.head);
            await copy.close();
          }
        }
        await reader.close();
      } finally {
        isOver = true;
        await Promise.all(writers);
        await store.close();
      }
    },
  );
});

describe("a migration that is killed", { timeout: 180_000 }, () => {
  async function seed(file: string): Promise<void> {
    const store = await openSqliteStore({ file });
    await activate(store);
    // Where a broker that is started in this folder has it.
    const masterKey = join(folder, ".valetkey/master.key");
    if (!existsSync(masterKey)) {
      mkdirSync(dirname(masterKey));
      writeFileSync(masterKey, randomBytes(32), { mode: 0o600 });
    }
    await keepCheck((await readSealer(masterKey)).sealer, store);
    const lanes = Array.from({ length: 50 }, async (_, lane) => {
      for (let i = 0; i < 60; i++) await issue(store, T0 + i, { task: `task ${lane} ${i}` });
    });
    await Promise.all(lanes);
    await store.close();
  }

  /** Null: it was killed. */
  async function migrate(from: string, to: string, killAfterMs: number | null, ...more: readonly string[]) {
    const argv = [MAIN, "migrate", "--from", `sqlite:${from}`, "--to", to, ...more];
    const child = spawn(process.execPath, argv, { cwd: folder, env: {}, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
    const timer = killAfterMs === null ? null : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    await once(child, "close");
    if (timer !== null) clearTimeout(timer);
    return { code: child.exitCode, said };
  }

  async function serves(location: Parameters<typeof openStore>[0]): Promise<boolean> {
    // It would be made.
    if (location.engine === "sqlite" && !existsSync(location.file)) return false;
    try {
      const store = await openStore(location, { clock: null, warn: () => undefined });
      const { seq } = await store.head();
      await store.close();
      return seq > 0;
    } catch {
      return false;
    }
  }

  /** How often it was killed, each time later than before, until it was faster. */
  async function killUntilItEnds(engine: "sqlite" | "redis", firstAfterMs: number): Promise<number> {
    const origin = join(folder, `${drawRandomPart()}.db`);
    await seed(origin);
    const own = engine === "redis" ? await startRedisServer() : null;
    const file = join(folder, `${drawRandomPart()}.db`);
    const [to, target] =
      own === null
        ? ([`sqlite:${file}`, { engine: "sqlite", file }] as const)
        : ([own.url, { engine: "redis", address: own.url }] as const);
    try {
      let killed = 0;
      for (let after = firstAfterMs, isDone = false; !isDone; after = Math.round(after * 1.15) + 20) {
        const { code, said } = await migrate(origin, to, after, "--force");
        if (code === null) killed++;
        const [old, fresh] = [await serves({ engine: "sqlite", file: origin }), await serves(target)];
        expect([old, fresh], said).not.toEqual([true, true]);
        isDone = fresh;
        if (code !== null) expect([code, isDone], said).toEqual([0, true]);
      }
      expect(await serves({ engine: "sqlite", file: origin })).toBe(false);
      expect(await serves(target)).toBe(true);
      return killed;
    } finally {
      await own?.close();
    }
  }

  it.each(["sqlite", "redis"] as const)(
    "to %s leaves one store that serves at most, and ends when it is run again",
    async (engine) => {
      // A fast machine is done before it was killed often: then once more, killed sooner.
      let killed = 0;
      for (let after = 300; killed < 3; after = Math.round(after / 3)) killed = await killUntilItEnds(engine, after);
    },
  );
});
