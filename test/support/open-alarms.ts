// Alarms on a real store, with a clock that only the test moves. What the feed is told is kept.

import { createRefusalCounter } from "../../src/audit/refusal-counter.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { type GrantId, newId, type RequestId } from "../../src/core/ids.ts";
import { createAlarms } from "../../src/revocation/alarms.ts";
import type { FeedEntry } from "../../src/revocation/revocation-port.ts";
import { createRevocations } from "../../src/revocation/revocations.ts";
import { createStrikes } from "../../src/revocation/strikes.ts";
import type { Person } from "../../src/scopes/scope-set.ts";
import type { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, POLICY, proofAt, T0 } from "../contract/drafts.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";

const SECURITY: Person = {
  kind: "Person",
  name: "security-1",
  keys: [],
  teams: [],
  powers: new Set(["revoke"]),
};

export async function openAlarms(change: (port: SqliteStore) => SqliteStore = (port) => port) {
  const opened = await openSqlite();
  await activate(opened.port);
  const port = change(opened.port);
  const time = { wall: T0, steady: 0 };
  const wall = { now: () => time.wall, monotonic: () => time.steady };
  const clock = createGuardedClock(wall);
  const settings = { refusals: 3, windowSeconds: 60 };
  const policy = () => ({ ...makeScopeSet({}), digest: POLICY });
  const published: FeedEntry[] = [];
  const log: string[] = [];
  const counter = createRefusalCounter(port, clock.at, () => POLICY);
  const counts: string[] = [];
  const refusals = { ...counter, count: (code: string) => void counts.push(code) };
  const feed = {
    subscribe: () => Promise.reject(new Error("nobody follows here")),
    last: () => 0,
    startAnew: async () => undefined,
    publish: (entry: FeedEntry) => void published.push(entry),
    dropAllBut: () => undefined,
    close: () => undefined,
  };
  const revocations = createRevocations({ port, feed, clock, policy, frozen: [], onChange: () => undefined });
  const strikes = createStrikes({ clock: wall, settings: () => settings });
  const alarms = createAlarms({
    revocations,
    record: port,
    clock,
    strikes,
    refusals,
    policy,
    log: (level, message) => void log.push(`${level} ${message}`),
  });
  return {
    ...opened,
    time,
    settings,
    published,
    log,
    counts,
    clock,
    revocations,
    alarms,
    advance: (ms: number) => {
      time.wall += ms;
      time.steady += ms;
    },
    refuse: async (
      code: ErrorCode,
      { agent = "coder", grant = null }: { agent?: string; grant?: GrantId | null } = {},
    ): Promise<RequestId> => {
      const request = newId("req", time.wall);
      await alarms.refused({ agent, grant, code, request });
      return request;
    },
    unfreeze: (agent: string) =>
      revocations.unfreeze(
        { person: SECURITY, proof: proofAt(time.wall), request: newId("req", time.wall) },
        agent,
        "looked into",
      ),
    /** Of these types, oldest first. */
    events: async (...types: readonly string[]): Promise<readonly Record<string, unknown>[]> =>
      (await opened.port.read(0, 1000))
        // A record's entry is an object of named fields.
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ type }) => types.includes(String(type))),
    frozen: async () => (await opened.port.snapshot(clock.at())).frozen,
  };
}
