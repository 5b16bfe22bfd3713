// Questions about holds and statements. Every one goes over the ids in pages, so that none keeps the server busy, and
// judges cut-offs by what is known after the rows were read. Never writes.

import type { Instant } from "../../core/clock.ts";
import { findCutOff } from "../../core/cutoff.ts";
import type { HoldId } from "../../core/ids.ts";
import { judgeHold } from "../judge-hold.ts";
import type { FoundHold, HoldFilter, HoldPort, StoredHold } from "../../holds/hold-port.ts";
import type { RevocationPort } from "../../revocation/revocation-port.ts";
import { answersOf } from "./answers.ts";
import type { CutOffView } from "./cutoff-view.ts";
import { findOrphaned } from "./presence.ts";
import { attestationOf, HOLD_FIELDS, holdOf, isLive, subjectOfHold, subjectOfText } from "./hold-rows.ts";
import { toBytes } from "./replies.ts";
import { lookAlong, lookAt, LOOKED_AT, type Row } from "./look.ts";
import type { Client, Scripts } from "./scripts.ts";

export type HoldReads = Pick<
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
  /** What the cut-off cancels, and what was written down of it already. */
  readonly countCancelledHolds: RevocationPort["countCancelled"];
};

/** What lists are filtered by, beside the agent. */
const FILTERED = ["state", "task", "upstream"] as const;
/** Read whole in one round trip. */
const READ_WHOLE = 100;
/** Whoever revokes waits for the number, and each hold has to be looked at. */
const COUNTED_PAGES = 20;

export function createHoldReads(client: Client, scripts: Scripts, base: string, view: CutOffView): HoldReads {
  const keyOf = (id: string): string => `${base}hold:${id}`;

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
    const context = await view.context();
    return holds.map((hold) => judgeHold(hold, subjectOfHold(hold), context));
  }

  /** Of what lives, in pages by id, after this one. */
  const lookAlongLive = (fields: readonly string[], after: string | null) =>
    lookAlong(
      scripts,
      { rows: "hold:", fields },
      { index: "holds:live", from: after === null ? "-" : `(${after}`, to: "+" },
    );

  return {
    findHold: async (id) => (await judge(await read([id])))[0] ?? null,
    sealedRequest: async (id) => {
      const sealed = await client.hget(`${keyOf(id)}:sealed`, "sealed_request");
      return sealed === null ? null : toBytes(sealed);
    },
    listHolds: async (filter, limit) => {
      const found: StoredHold[] = [];
      const kind = { rows: "hold:", fields: FILTERED };
      const from = filter.after === undefined ? "+" : `(${filter.after}`;
      for await (const rows of lookAlong(scripts, kind, { index: viaOf(filter), from, to: "-", newest: true })) {
        const wanted = rows.filter((row) => passes(row, filter)).map(({ id }) => id);
        for (let i = 0; i < wanted.length && found.length < limit; i += READ_WHOLE) {
          const holds = await read(wanted.slice(i, i + READ_WHOLE));
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
      for await (const rows of lookAlongLive(["subject"], after)) {
        const cutOffs = await view.current();
        const covered = rows.flatMap(({ id, values: [text] }) =>
          typeof text === "string" && cutOffs.findVoiding(subjectOfText(text)) !== null ? [id] : [],
        );
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
      const brokers = await lookAt(
        scripts,
        { rows: "hold:", fields: ["lease_broker"] },
        firing.map(({ id }) => id),
      );
      const orphaned = await findOrphaned(
        scripts,
        firing.map(({ id }, i) => [id, brokers[i]?.values[0] ?? null] as const),
      );
      const holds = await read(orphaned);
      return judge(holds.filter(({ state }) => state === "firing"));
    },
    countCancelledHolds: async (cutOff) => {
      const { id, before, number } = cutOff;
      // By their ids: what is cancelled while this counts is still one.
      const counted = new Set<string>();
      let [pages, isWhole] = [0, true];
      for await (const rows of lookAlongLive(["state", "subject"], null)) {
        const cutOffs = await view.current();
        for (const { id: hold, values } of rows) {
          const [state, text] = values;
          if (state !== "waiting" || typeof text !== "string") continue;
          const subject = subjectOfText(text);
          const isFirst = cutOffs.findVoiding(subject, { number }) === null;
          if (isFirst && findCutOff([cutOff], subject) !== null) counted.add(hold);
        }
        pages += 1;
        if (pages < COUNTED_PAGES) continue;
        isWhole = false;
        break;
      }
      // Last: what the sweep has written down while its page was read is not among those.
      for (let [from, left] = [0, COUNTED_PAGES]; left > 0; [from, left] = [from + LOOKED_AT, left - 1]) {
        const ids = await client.zrangebyscore(`${base}holds:ended`, before, "+inf", "LIMIT", from, LOOKED_AT);
        const rows = await lookAt(scripts, { rows: "hold:", fields: ["state", "ended_by"] }, ids);
        for (const { id: hold, values } of rows) if (values[0] === "cancelled" && values[1] === id) counted.add(hold);
        if (ids.length < LOOKED_AT) break;
        isWhole &&= left > 1;
      }
      return { holds: counted.size, isWhole };
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

/** `row`: of the fields `FILTERED`. */
function passes({ values }: Row, { states, task, upstream }: HoldFilter): boolean {
  const [state, ofTask, ofUpstream] = values;
  const isOfState = states === undefined || states.some((each) => each === state);
  return isOfState && (task ?? ofTask) === ofTask && (upstream ?? ofUpstream) === ofUpstream;
}

/** An agent has fewer holds than a store, and fewer live ones than ended. */
function viaOf({ agent, states }: HoldFilter): string {
  const isOfLive = states !== undefined && states.every((state) => isLive(state));
  if (isOfLive) return agent === undefined ? "holds:live" : `holds:live:${agent}`;
  return agent === undefined ? "holds" : `holds:agent:${agent}`;
}
