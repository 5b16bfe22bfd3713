// Opens the Redis engine for the suites of what waits, each time with keys of its own on one server; also with every
// command of holds sent twice.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect } from "vitest";
import { drawRandomPart, type GrantId, instantOf } from "../../src/core/ids.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createWebhookPort } from "../../src/store/redis/cursors.ts";
import { createCutOffView } from "../../src/store/redis/cutoff-view.ts";
import { grantOf, toGrantOnWire } from "../../src/store/redis/grant-rows.ts";
import { createHeldPort } from "../../src/store/redis/held.ts";
import { createHoldReads } from "../../src/store/redis/hold-reads.ts";
import { createHoldPort } from "../../src/store/redis/holds.ts";
import { createProofPort } from "../../src/store/redis/proofs.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { createRecordPort, createSealer, toDraft } from "../../src/store/redis/record.ts";
import { createRevocationPort } from "../../src/store/redis/revocations.ts";
import { createScripts, type Scripts } from "../../src/store/redis/scripts.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { activate } from "./drafts.ts";

const PRELUDE = readFileSync(new URL("../../src/store/redis/lua/prelude.lua", import.meta.url), "utf8");
const ISSUE = `${PRELUDE}
local grant = command.grant
local refused = check_basics(command.proof, grant.policyDigest, grant.agent)
if refused then return refused end
local instant = math.max(take_instant(), meta.last_before + 1)
local closing = find_closing(request_subject(grant))
if closing then return cut_off_by(closing) end
local refused, parents_end = check_parents(cjson.decode(grant.parents), instant)
if refused then return refused end
refused = check_limit(command.limit, instant)
if refused then return refused end
local id = make_id('grt', instant, grant.random)
local ends_at = math.min(instant + grant.ttlSeconds * 1000, parents_end)
write_placed(command.proof, { command.event }, instant, { 'grant', id })
write_grant(id, grant, ends_at, nil)
add_use(command.limit, instant)
raise_limits(ends_at, grant.ttlSeconds * 1000)
return { 'issued', id, int(instant), int(ends_at) }`;
const BEGIN = `${PRELUDE}
local refused, chain = check_call(take_instant())
return refused or { 'begun' }`;
const RELEASE = `${PRELUDE}
write_placed(command.proof, { command.event }, take_instant())
end_grant(command.id, take_instant(), command.agent)
return { 'released' }`;

let server: RedisServer;

/** To be called once in each test file. */
export function useRedisHolds(): void {
  beforeAll(async () => void (server = await startRedisServer()));
  afterAll(() => server.close());
}

/** As after a connection that went while the answer was awaited. */
export function sentTwice(scripts: Scripts): Scripts {
  return {
    run: async (name, command) => {
      const operation = { op: drawRandomPart(), ...command };
      const first = await scripts.run(name, operation);
      const second = await scripts.run(name, operation);
      expect(second, name).toEqual(first);
      return second;
    },
  };
}

async function openParts(base: string, times: (scripts: Scripts) => Scripts = (scripts) => scripts) {
  const client = await connect(server.url);
  const scripts = createScripts(client, base);
  const view = createCutOffView(client, base);
  const { countCancelledHolds } = createHoldReads(client, base, view);
  const none = { countMetGrants: async () => 0, countCancelledHolds, liveShapes: async () => [] };
  const ask = async (script: string, command: object) =>
    (await client.eval(
      script,
      1,
      base,
      JSON.stringify(command, (_, value: unknown) => value ?? undefined),
    )) as string[];
  const standIn = {
    issue: async ({ grant, event, ...rest }: Parameters<GrantPort["issue"]>[0]) => {
      const command = { ...rest, grant: toGrantOnWire(grant), event: toDraft(event) };
      const [outcome, id, , endsAt] = await ask(ISSUE, command);
      await prune(scripts);
      if (outcome !== "issued") return { outcome };
      const { random: _, ...draft } = grant;
      return {
        outcome,
        grant: {
          ...draft,
          id,
          issuedAt: instantOf(id ?? ""),
          endsAt: Number(endsAt),
          endedAt: null,
          endedBy: null,
          hold: null,
          version: 1,
        },
      };
    },
    beginCall: async (command: Parameters<CallPort["beginCall"]>[0]) => ({ outcome: (await ask(BEGIN, command))[0] }),
    release: async (command: Parameters<GrantPort["release"]>[0]) => ({
      outcome: (await ask(RELEASE, { ...command, event: toDraft(command.event) }))[0],
    }),
    find: async (id: GrantId) => {
      const texts = await client.hmget(
        `${base}grant:${id}`,
        "draft",
        "ends_at",
        "ended_at",
        "ended_by",
        "hold",
        "version",
      );
      return typeof texts[0] !== "string" ? null : { grant: grantOf(id, texts), cutOff: null };
    },
  };
  return {
    client,
    base,
    scripts,
    ...createRecordPort(client, scripts, base, createSealer(client, scripts, base)),
    ...createRevocationPort(client, scripts, base, view, none),
    ...createProofPort(scripts),
    ...createWebhookPort(client, scripts, base),
    ...createHoldPort(client, times(scripts), base, view),
    ...createHeldPort(times(scripts)),
    ...(standIn as object as Pick<GrantPort, "issue" | "find" | "release" | "renew" | "list" | "simulate"> &
      Omit<CallPort, "holdCall">),
    close: async () => void (await client.quit()),
  };
}

export type Parts = Awaited<ReturnType<typeof openParts>>;

const newBase = (): string => `{${drawRandomPart()}}:`;

export const openWith = (times?: (scripts: Scripts) => Scripts) => async () => {
  const base = newBase();
  const port = await openParts(base, times);
  let latest = port;
  return {
    port,
    async reopen() {
      await latest.close();
      return (latest = await openParts(base, times));
    },
    close: () => latest.close(),
  };
};

/** Runs with two brokers of one store. */
export async function withTwoBrokers(act: (one: Parts, other: Parts) => Promise<void>): Promise<void> {
  const base = newBase();
  const [one, other] = [await openParts(base), await openParts(base)];
  try {
    await activate(one);
    await act(one, other);
  } finally {
    await Promise.all([one.close(), other.close()]);
  }
}
