// Questions about grants. Every one goes over the ids in pages, so that none keeps the server busy, and judges cut-offs by
// what is known after the rows were read. Drafts, which never change, are read only of what is answered. Never writes.

import type { Instant } from "../../core/clock.ts";
import { type CutOff, findCutOff } from "../../core/cutoff.ts";
import { instantOf, makeId } from "../../core/ids.ts";
import type { FoundGrant, GrantPort, StoredGrant } from "../../grants/grant-port.ts";
import type { GrantShape } from "../../revocation/revocation-port.ts";
import type { CutOffView } from "./cutoff-view.ts";
import { LOOK, type Looked, lives, lookedOf, passes } from "./grant-look.ts";
import { GRANT_FIELDS, grantOf, isHeldGrant, subjectOfGrant } from "./grant-rows.ts";
import { LOOKED_AT, lookAlong, lookAt } from "./look.ts";
import type { Client, Scripts } from "./scripts.ts";

export type GrantReads = Pick<GrantPort, "find" | "list"> & {
  /** Live grants that this cut-off voids and no earlier one does. */
  countMetGrants(cutOff: CutOff, at: Instant): Promise<number>;
  /** Live grants that were decided under another policy than this, grouped. */
  liveShapes(policyDigest: string, at: Instant): Promise<readonly GrantShape[]>;
};

/** Drafts read in one round trip. */
const READ_WHOLE = 100;

export function createGrantReads(client: Client, scripts: Scripts, base: string, view: CutOffView): GrantReads {
  /** Those that are still there, in their order. */
  async function read(looked: readonly Looked[]): Promise<StoredGrant[]> {
    const grants: StoredGrant[] = [];
    for (const part of pagesOf(looked, READ_WHOLE)) {
      const ids = part.map(({ id }) => id);
      const drafts = await lookAt(scripts, { rows: "grant:", fields: ["draft"] }, ids);
      for (const [i, { id, changing }] of part.entries()) {
        const draft = drafts[i]?.values[0];
        if (typeof draft === "string") grants.push(grantOf(id, [draft, ...changing]));
      }
    }
    return grants;
  }

  /** With the cut-off that ended each one, forgotten ones too; one that came after its end did not. */
  async function judge(grants: readonly StoredGrant[]): Promise<FoundGrant[]> {
    if (grants.length === 0) return [];
    const { cutOffs, instant } = await view.context();
    const asked = grants.map((grant) => ({
      subject: subjectOfGrant(grant),
      end: isHeldGrant(grant) ? Infinity : grant.endsAt,
    }));
    // Before what is forgotten is read: what goes over meanwhile is in the one or the other.
    const inForce = asked.map(({ subject, end }) => cutOffs.findVoiding(subject, { before: end }));
    // What could still void a grant that has not ended is not forgotten (rule 14).
    const isOver = asked.map(({ end }) => end <= instant);
    const past = await view.findPast(asked.filter((_, i) => isOver[i]));
    let next = 0;
    return grants.map((grant, i) => {
      const forgotten = isOver[i] ? (past[next++] ?? null) : null;
      const known = inForce[i] ?? null;
      const first = known === null || (forgotten !== null && forgotten.number < known.number) ? forgotten : known;
      return { grant, cutOff: first?.id ?? null };
    });
  }

  /** Of what became active long after its request and has not expired: ids that lie before what is alive otherwise. */
  async function activatedUpTo(id: string, at: Instant): Promise<readonly string[]> {
    const found = new Set<string>();
    // By the ends, which are not all different: a page begins where the last one ended, not after it.
    for (let [min, skip] = [`(${at}`, 0]; ;) {
      const options = ["WITHSCORES", "LIMIT", skip, LOOKED_AT] as const;
      const answer = await client.zrangebyscore(`${base}activated`, min, "+inf", ...options);
      for (let i = 0; i < answer.length; i += 2) if (String(answer[i]) <= id) found.add(String(answer[i]));
      if (answer.length < 2 * LOOKED_AT) return [...found].toSorted();
      const last = String(answer.at(-1));
      [min, skip] = [last, last === min ? skip + LOOKED_AT : 0];
    }
  }

  async function* lookAtAll(ids: readonly string[]): AsyncGenerator<Looked[]> {
    for (const part of pagesOf(ids, LOOKED_AT)) yield (await lookAt(scripts, LOOK, part)).flatMap(lookedOf);
  }

  /** What lives at this instant but for cut-offs, in pages: what lies in this range, and what lies before it. */
  async function* livingOf(index: string, at: Instant, after: string, last: string): AsyncGenerator<Looked[]> {
    const span = { index, from: `(${after}`, to: `[${last}` };
    for await (const rows of lookAlong(scripts, LOOK, span))
      yield rows.flatMap(lookedOf).filter((row) => lives(row, at));
    const older = await activatedUpTo(after < last ? after : last, at);
    for await (const rows of lookAtAll(older)) yield rows.filter((row) => lives(row, at));
  }

  return {
    find: async (id) => {
      const texts = await client.hmget(`${base}grant:${id}`, ...GRANT_FIELDS);
      return typeof texts[0] === "string" ? ((await judge([grantOf(id, texts)]))[0] ?? null) : null;
    },

    list: async (filter, at, limit) => {
      const { longestTtlMs, instant } = await view.context();
      const now = Math.max(at, instant);
      const chosen: Looked[] = [];
      async function choose(rows: readonly Looked[]): Promise<boolean> {
        const cutOffs = await view.current();
        chosen.push(...rows.filter((row) => passes(row, filter, now, cutOffs)));
        return chosen.length >= limit;
      }

      const { after = LAST_ID } = filter;
      const oldest = filter.status === "active" ? oldestLiveId(now, longestTtlMs) : "";
      const span = { index: indexFor(filter), from: `(${after}`, to: `[${oldest}`, newest: true, size: limit };
      let isFull = limit <= 0;
      for await (const rows of isFull ? [] : lookAlong(scripts, LOOK, span)) {
        isFull = await choose(rows.flatMap(lookedOf));
        if (isFull) break;
      }
      if (!isFull && filter.status === "active") {
        const older = await activatedUpTo(after < oldest ? after : oldest, now);
        for await (const rows of lookAtAll(older.filter((id) => id !== after).toReversed()))
          if (await choose(rows)) break;
      }
      return judge(await read(chosen.slice(0, limit)));
    },

    countMetGrants: async (cutOff, at) => {
      const { longestTtlMs, instant } = await view.context();
      const now = Math.max(at, instant);
      const { target, number } = cutOff;
      const oldest = oldestLiveId(now, longestTtlMs);
      // A child was never asked for before its parent.
      const parent = target.grant === undefined ? "" : idBefore(instantOf(target.grant));
      let count = 0;
      const pages = livingOf(indexFor(target), now, parent < oldest ? oldest : parent, idAfter(cutOff.before));
      for await (const rows of pages) {
        const met = rows.filter(({ subject }) => findCutOff([cutOff], subject) !== null);
        const cutOffs = await view.current();
        count += met.filter(({ subject }) => cutOffs.findVoiding(subject, { number }) === null).length;
      }
      return count;
    },

    liveShapes: async (policyDigest, at) => {
      const { longestTtlMs, instant } = await view.context();
      const now = Math.max(at, instant);
      const shapes = new Map<string, GrantShape>();
      for await (const rows of livingOf("grants", now, oldestLiveId(now, longestTtlMs), LAST_ID)) {
        const others = rows.filter((row) => row.policyDigest !== policyDigest);
        const cutOffs = await view.current();
        const living = others.filter(({ subject }) => cutOffs.findVoiding(subject) === null);
        for (const grant of await read(living)) addTo(shapes, grant);
      }
      return [...shapes.values()];
    },
  };
}

const LAST_ID = "grt_~";
const RANDOM_CHARACTERS = 16;

/** Sorts before every id of this instant. */
function idBefore(instant: Instant): string {
  return makeId("grt", Math.max(0, instant), "0".repeat(RANDOM_CHARACTERS));
}

/** Sorts after every id of this instant. */
function idAfter(instant: Instant): string {
  return makeId("grt", Math.max(0, instant), "Z".repeat(RANDOM_CHARACTERS));
}

/** Sorts before every grant that can be alive at `at`, but for those that became active long after their request. */
function oldestLiveId(at: Instant, longestTtlMs: number): string {
  return idBefore(at - longestTtlMs);
}

function addTo(shapes: Map<string, GrantShape>, grant: StoredGrant): void {
  const { agent, role, upstream, permissions, demands, ttlSeconds } = grant;
  const key = JSON.stringify([agent, role, upstream, permissions, demands]);
  const { longestTtlSeconds = 0, grants = 0 } = shapes.get(key) ?? {};
  const counted = { longestTtlSeconds: Math.max(longestTtlSeconds, ttlSeconds), grants: grants + 1 };
  shapes.set(key, { agent, role, upstream, permissions, demands, ...counted });
}

/** An agent has fewer grants than a store, a task fewer than an agent. */
function indexFor({
  agent,
  task,
}: {
  readonly agent?: string | undefined;
  readonly task?: string | undefined;
}): string {
  if (task !== undefined) return `grants:task:${task}`;
  return agent === undefined ? "grants" : `grants:agent:${agent}`;
}

function* pagesOf<Value>(values: readonly Value[], size: number): Generator<readonly Value[]> {
  for (let from = 0; from < values.length; from += size) yield values.slice(from, from + size);
}
