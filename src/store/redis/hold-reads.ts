// Questions about holds and statements. Every one goes over the ids in pages, so that none keeps the server busy, and
// judges cut-offs by what is known after the rows were read. Never writes.

import type { Instant } from "../../core/clock.ts";
import { type CutOff, findCutOff, MAX_COUNTED_HOLDS } from "../../core/cutoff.ts";
import { BrokerError } from "../../core/errors.ts";
import type { HoldId } from "../../core/ids.ts";
import type { FoundHold, HoldFilter, HoldPort, StoredHold } from "../../holds/hold-port.ts";
import type { CutOffView } from "./cutoff-view.ts";
import { attestationOf, HOLD_FIELDS, holdOf, isLive, subjectOfHold, subjectOfText } from "./hold-rows.ts";
import { toBytes } from "./replies.ts";
import type { Client } from "./scripts.ts";

type Reads = Pick<
  HoldPort,
  | "findHold"
  | "sealedRequest"
  | "listHolds"
  | "dueHolds"
  | "voidedHolds"
  | "firingHolds"
  | "attestations"
  | "findAttestation"
> & {
  /** What the cut-off cancels, and what was written down of it already; at most `MAX_COUNTED_HOLDS`. */
  readonly countCancelledHolds: (cutOff: CutOff) => Promise<number>;
};

/** Looked at in one round trip: about a millisecond of the server. */
const LOOKED_AT = 1000;
/** Read whole in one round trip. */
const READ_WHOLE = 100;

export function createHoldReads(client: Client, base: string, view: CutOffView): Reads {
  const keyOf = (id: string): string => `${base}hold:${id}`;

  /** These fields of each of the holds, at one moment. */
  async function look(ids: readonly string[], fields: readonly string[]): Promise<(string | null)[][]> {
    if (ids.length === 0) return [];
    const batch = client.pipeline();
    for (const id of ids) batch.hmget(keyOf(id), ...fields);
    // Each answer is that of an HMGET.
    return (await answersOf(batch)) as (string | null)[][];
  }

  /** Those that are there, whole, in their order. A hold and its approvals are read at one moment. */
  async function read(ids: readonly string[]): Promise<StoredHold[]> {
    const found: StoredHold[] = [];
    for (let from = 0; from < ids.length; from += READ_WHOLE) {
      const batch = client.multi();
      for (const id of ids.slice(from, from + READ_WHOLE)) {
        batch.hmget(keyOf(id), ...HOLD_FIELDS);
        batch.hgetall(`${keyOf(id)}:approvals`);
      }
      const answers = await answersOf(batch);
      for (let i = 0; i < answers.length; i += 2) {
        // Answers of an HMGET and of an HGETALL, in turn.
        const texts = answers[i] as (string | null)[];
        const approvals = answers[i + 1] as Record<string, string>;
        if (texts[0] !== null) found.push(holdOf(texts, Object.entries(approvals).flat()));
      }
    }
    return found;
  }

  async function judge(holds: readonly StoredHold[]): Promise<FoundHold[]> {
    if (holds.length === 0) return [];
    const cutOffs = await view.current();
    return holds.map((hold) => ({
      hold,
      cutOff: isLive(hold.state) ? (cutOffs.findVoiding(subjectOfHold(hold))?.id ?? null) : null,
    }));
  }

  /** The ids of one index in pages, newest first, older than `before`. */
  async function* newestOf(name: string, before: string | undefined): AsyncGenerator<readonly string[]> {
    for (let max = before === undefined ? "+" : `(${before}`; ;) {
      const ids = await client.zrevrangebylex(base + name, max, "-", "LIMIT", 0, LOOKED_AT);
      if (ids.length > 0) yield ids;
      if (ids.length < LOOKED_AT) return;
      max = `(${ids.at(-1)}`;
    }
  }

  /** The ids of what lives in pages, after this one. */
  async function* liveAfter(after: string | null): AsyncGenerator<readonly string[]> {
    for (let min = after === null ? "-" : `(${after}`; ;) {
      const ids = await client.zrangebylex(`${base}holds:live`, min, "+", "LIMIT", 0, LOOKED_AT);
      if (ids.length > 0) yield ids;
      if (ids.length < LOOKED_AT) return;
      min = `(${ids.at(-1)}`;
    }
  }

  async function passing(ids: readonly string[], { states, task, upstream }: HoldFilter): Promise<readonly string[]> {
    if (states === undefined && task === undefined && upstream === undefined) return ids;
    const rows = await look(ids, ["state", "task", "upstream"]);
    return ids.filter((_, i) => {
      const [state, ofTask, ofUpstream] = rows[i] ?? [];
      const isOfState = states === undefined || states.some((each) => each === state);
      return isOfState && (task ?? ofTask) === ofTask && (upstream ?? ofUpstream) === ofUpstream;
    });
  }

  return {
    findHold: async (id) => (await judge(await read([id])))[0] ?? null,
    sealedRequest: async (id) => {
      const sealed = await client.hget(`${keyOf(id)}:sealed`, "sealed_request");
      return sealed === null ? null : toBytes(sealed);
    },
    listHolds: async (filter, limit) => {
      const found: StoredHold[] = [];
      for await (const ids of newestOf(viaOf(filter), filter.after)) {
        const wanted = await passing(ids, filter);
        for (let from = 0; from < wanted.length && found.length < limit; from += READ_WHOLE) {
          const holds = await read(wanted.slice(from, from + READ_WHOLE));
          // Moved since it was looked at: not what was asked for.
          const still = holds.filter(({ state }) => filter.states?.includes(state) ?? true);
          found.push(...still.slice(0, limit - found.length));
        }
        if (found.length >= limit) break;
      }
      return judge(found);
    },
    dueHolds: async (at, limit) => {
      const [firing, waiting] = await Promise.all(
        ["holds:firing", "holds:due"].map((name) => oldestOf(client, base + name, at, limit)),
      );
      // What fires wakes at the end of its lease.
      const oldest = [...(firing ?? []), ...(waiting ?? [])].toSorted((a, b) => a.wakeAt - b.wakeAt).slice(0, limit);
      const isFiring = new Set(firing?.map(({ id }) => id));
      const holds = await read(oldest.map(({ id }) => id));
      // Moved since: another has it, under a lease of its own.
      const isStill = ({ id, state, lease }: StoredHold): boolean =>
        isFiring.has(id) ? lease !== null && lease.until <= at : state === "waiting";
      return judge(holds.filter(isStill));
    },
    voidedHolds: async (after, limit) => {
      const voided: FoundHold[] = [];
      if ((await view.current()).all.length === 0) return voided;
      for await (const ids of liveAfter(after)) {
        const rows = await look(ids, ["subject"]);
        const cutOffs = await view.current();
        const covered = ids.filter((_, i) => {
          const text = rows[i]?.[0];
          return typeof text === "string" && cutOffs.findVoiding(subjectOfText(text)) !== null;
        });
        for (let from = 0; from < covered.length && voided.length < limit; from += READ_WHOLE) {
          const found = await judge(await read(covered.slice(from, from + READ_WHOLE)));
          voided.push(...found.filter(({ cutOff }) => cutOff !== null).slice(0, limit - voided.length));
        }
        if (voided.length >= limit) break;
      }
      return voided;
    },
    firingHolds: async (limit) => {
      const firing = await oldestOf(client, `${base}holds:firing`, Number.MAX_SAFE_INTEGER, limit);
      const holds = await read(firing.map(({ id }) => id));
      return judge(holds.filter(({ state }) => state === "firing"));
    },
    countCancelledHolds: async (cutOff) => {
      const { id, before, number } = cutOff;
      // By their ids: what is cancelled while this counts is still one.
      const counted = new Set<string>();
      const isFull = (): boolean => counted.size >= MAX_COUNTED_HOLDS;
      for await (const ids of liveAfter(null)) {
        const rows = await look(ids, ["state", "subject"]);
        const cutOffs = await view.current();
        for (const [i, hold] of ids.entries()) {
          const [state, text] = rows[i] ?? [];
          if (state !== "waiting" || typeof text !== "string") continue;
          const subject = subjectOfText(text);
          const isFirst = cutOffs.findVoiding(subject, { number }) === null;
          if (isFirst && findCutOff([cutOff], subject) !== null) counted.add(hold);
        }
        if (isFull()) break;
      }
      for (let from = 0; !isFull(); from += LOOKED_AT) {
        const ids = await client.zrangebyscore(`${base}holds:ended`, before, "+inf", "LIMIT", from, LOOKED_AT);
        const rows = await look(ids, ["state", "ended_by"]);
        for (const [i, hold] of ids.entries())
          if (rows[i]?.[0] === "cancelled" && rows[i]?.[1] === id) counted.add(hold);
        if (ids.length < LOOKED_AT) break;
      }
      return Math.min(counted.size, MAX_COUNTED_HOLDS);
    },
    attestations: async (resources, limit) => {
      const lists = await Promise.all(
        resources.map((resource) => client.zrevrange(`${base}attestations:${resource}`, 0, limit - 1)),
      );
      const found = await Promise.all(lists.flat().map((id) => findAttestation(client, base, id)));
      return found.filter((each) => each !== null);
    },
    findAttestation: (id) => findAttestation(client, base, id),
  };
}

async function findAttestation(client: Client, base: string, id: string): ReturnType<HoldPort["findAttestation"]> {
  const text = await client.hget(`${base}attestation:${id}`, "text");
  return text === null ? null : attestationOf(id, text);
}

interface Waking {
  readonly id: HoldId;
  readonly wakeAt: Instant;
}

async function oldestOf(client: Client, key: string, at: Instant, limit: number): Promise<readonly Waking[]> {
  const answer = await client.zrangebyscore(key, "-inf", at, "WITHSCORES", "LIMIT", 0, limit);
  const found: Waking[] = [];
  // The ids of holds, each with its score.
  for (let i = 0; i + 1 < answer.length; i += 2) found.push({ id: answer[i] as HoldId, wakeAt: Number(answer[i + 1]) });
  return found;
}

/** Throws where one of the commands has failed. */
async function answersOf(batch: ReturnType<Client["pipeline"]>): Promise<unknown[]> {
  const results = await batch.exec();
  if (results === null) throw new BrokerError("internal", "the store answered none of what it was asked at once");
  return results.map(([failed, answer]) => {
    if (failed !== null) throw failed;
    return answer;
  });
}

/** An agent has fewer holds than a store, and fewer live ones than ended. */
function viaOf({ agent, states }: HoldFilter): string {
  const isOfLive = states !== undefined && states.every((state) => isLive(state));
  if (isOfLive) return agent === undefined ? "holds:live" : `holds:live:${agent}`;
  return agent === undefined ? "holds" : `holds:agent:${agent}`;
}
