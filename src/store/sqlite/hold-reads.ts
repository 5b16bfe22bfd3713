// Questions about holds, attestations and webhook cursors. Every one looks at a bounded number of rows. Never writes.

import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import { type CutOff, findCutOff } from "../../core/cutoff.ts";
import type { HoldId } from "../../core/ids.ts";
import { judgeHold } from "../judge-hold.ts";
import type { ReadContext } from "./grant-reads.ts";
import type { FoundHold, HoldFilter, StoredAttestation } from "../../holds/hold-port.ts";
import type { WebhookCursor } from "../../webhooks/webhook-port.ts";
import { attestationOf, holdOf, isLive, subjectOfHold, subjectOfRow } from "./hold-rows.ts";
import { HOLD_COLUMNS as COLUMNS } from "./hold-statements.ts";

type Row = Record<string, SQLOutputValue>;
type Context = Pick<ReadContext, "cutOffs" | "recoveredAt">;

/** Sorts after every id. */
const LAST_ID = "hld_~";
/** Looked at for one part of a list: some tens of milliseconds. */
const LISTED_ROWS = 10_000;
/** Read whole for one part of a walk over what lives. */
const WALKED_ROWS = 1000;

export interface ListPart {
  readonly found: readonly FoundHold[];
  /** Go on after this id; null when there is nothing more. */
  readonly next: HoldId | null;
}

export function prepareHoldReads(db: DatabaseSync) {
  const one = db.prepare(`SELECT ${COLUMNS} FROM holds WHERE id = ?`);
  const request = db.prepare("SELECT sealed_request FROM holds WHERE id = ?");
  const approvals = db.prepare("SELECT instant, approval FROM hold_approvals WHERE hold = ? ORDER BY instant, person");
  const passes =
    "id < $before AND id >= $end AND ($task IS NULL OR task = $task) AND ($upstream IS NULL OR upstream = $upstream)" +
    " AND ($agent IS NULL OR agent = $agent) AND ($states IS NULL OR instr($states, state) > 0)" +
    " ORDER BY id DESC LIMIT $limit";
  const live = "state IN ('waiting', 'firing')";
  /** Through which index, and where the part that is looked at ends. */
  const via = (from: string) => ({
    rows: db.prepare(`SELECT ${COLUMNS} ${from} ${passes}`),
    end: db.prepare(`SELECT id ${from} id < $before ORDER BY id DESC LIMIT 1 OFFSET ${LISTED_ROWS - 1}`),
  });
  const lists = {
    agent: via("FROM holds INDEXED BY holds_by_agent WHERE agent = $agent AND"),
    liveOfAgent: via(`FROM holds INDEXED BY holds_live WHERE ${live} AND agent = $agent AND`),
    live: via(`FROM holds INDEXED BY holds_live_by_id WHERE ${live} AND`),
    all: via("FROM holds WHERE"),
  };
  const due = db.prepare(
    `SELECT ${COLUMNS} FROM holds INDEXED BY holds_due WHERE state = 'waiting' AND wake_at <= ? ORDER BY wake_at LIMIT ?`,
  );
  const firing = db.prepare(
    `SELECT ${COLUMNS} FROM holds INDEXED BY holds_firing WHERE state = 'firing' AND lease_until <= ? ORDER BY lease_until LIMIT ?`,
  );
  const page = db.prepare(
    `SELECT ${COLUMNS} FROM holds INDEXED BY holds_live_by_id WHERE ${live} AND id > ? ORDER BY id LIMIT ${WALKED_ROWS}`,
  );
  const waiting = db.prepare(
    "SELECT id, draft -> '$.document.agents' AS agents, task, upstream, grant_id, draft ->> '$.document.role' AS role, draft -> '$.environments' AS environments," +
      ` draft -> '$.parents' AS parents FROM holds INDEXED BY holds_live_by_id WHERE ${live} AND state = 'waiting' AND id > $after` +
      ` AND ($task IS NULL OR task = $task) AND ($upstream IS NULL OR upstream = $upstream) ORDER BY id LIMIT ${WALKED_ROWS}`,
  );
  const cancelled = db.prepare(
    "SELECT id FROM holds INDEXED BY holds_ended WHERE state NOT IN ('waiting', 'firing')" +
      " AND state_at >= ? AND state = 'cancelled' AND ended_by = ? LIMIT 20000",
  );
  const newest = db.prepare("SELECT * FROM attestations WHERE resource = ? ORDER BY taken_at DESC, id DESC LIMIT ?");
  const attestation = db.prepare("SELECT * FROM attestations WHERE id = ?");
  const cursors = db.prepare("SELECT name, seq, attempts, next_at FROM webhook_cursors ORDER BY name");

  const found = (context: Context, row: Row): FoundHold => {
    const hold = holdOf(row, approvals.all(row["id"] ?? null));
    return judgeHold(hold, subjectOfHold(hold), context);
  };

  return {
    findHold(context: Context, id: HoldId): FoundHold | null {
      const row = one.get(id);
      return row === undefined ? null : found(context, row);
    },
    sealedRequest(id: HoldId): string | null {
      const sealed = request.get(id)?.["sealed_request"];
      return sealed instanceof Uint8Array ? Buffer.from(sealed).toString("base64") : null;
    },
    listHolds(context: Context, { filter, limit }: { readonly filter: HoldFilter; readonly limit: number }): ListPart {
      const { agent, task, upstream, after } = filter;
      const states = filter.states === undefined ? null : filter.states.join(" ");
      const before = after ?? LAST_ID;
      const list = lists[viaOf(filter)];
      const last = list.end.get(agent === undefined ? { before } : { before, agent });
      const end = last === undefined ? null : String(last["id"]);
      const named = { agent: agent ?? null, task: task ?? null, upstream: upstream ?? null };
      // None of the states is a part of another one's name.
      const rows = list.rows.all({ ...named, states, before, end: end ?? "", limit });
      // An id of the holds table.
      const next = rows.length === limit ? null : (end as HoldId | null);
      return { found: rows.map((row) => found(context, row)), next };
    },
    dueHolds(context: Context, { at, limit }: { readonly at: Instant; readonly limit: number }): FoundHold[] {
      // What fires wakes at the end of its lease.
      const rows = [...firing.all(at, limit), ...due.all(at, limit)];
      const oldest = rows.toSorted((a, b) => Number(a["wake_at"]) - Number(b["wake_at"]));
      return oldest.slice(0, limit).map((row) => found(context, row));
    },
    /** One part of a walk over what lives; a part without any says where the next one begins. */
    voidedHolds(
      context: Context,
      { after, limit }: { readonly after: HoldId | null; readonly limit: number },
    ): ListPart {
      if (context.cutOffs.all.length === 0) return { found: [], next: null };
      const voided: FoundHold[] = [];
      let walked = 0;
      let last: HoldId | null = null;
      for (const row of page.iterate(after ?? "")) {
        const one = found(context, row);
        if (one.cutOff !== null) voided.push(one);
        [walked, last] = [walked + 1, one.hold.id];
        if (voided.length === limit) return { found: voided, next: last };
      }
      return { found: voided, next: walked < WALKED_ROWS ? null : last };
    },
    /** One part of what waits and a cut-off has cancelled. */
    findCancelled(
      context: Context,
      { cutOff, after }: { readonly cutOff: CutOff; readonly after: HoldId | null },
    ): { readonly ids: readonly HoldId[]; readonly next: HoldId | null } {
      const { number, target } = cutOff;
      const named = { after: after ?? "", task: target.task ?? null, upstream: target.upstream ?? null };
      const ids: HoldId[] = [];
      let [walked, last]: [number, HoldId | null] = [0, null];
      for (const row of waiting.iterate(named)) {
        const subject = subjectOfRow(row);
        // Ids of the holds table.
        [walked, last] = [walked + 1, String(row["id"]) as HoldId];
        if (findCutOff([cutOff], subject) !== null && context.cutOffs.findVoiding(subject, { number }) === null) {
          ids.push(last);
        }
      }
      return { ids, next: walked < WALKED_ROWS ? null : last };
    },
    /** What is written down of it already. */
    cancelledBy: ({ id, before }: Pick<CutOff, "id" | "before">): readonly string[] =>
      cancelled.all(before, id).map((row) => String(row["id"])),
    firingHolds(context: Context, limit: number): FoundHold[] {
      return firing.all(Number.MAX_SAFE_INTEGER, limit).map((row) => found(context, row));
    },
    attestations: ({
      resources,
      limit,
    }: {
      readonly resources: readonly string[];
      readonly limit: number;
    }): StoredAttestation[] => resources.flatMap((resource) => newest.all(resource, limit).map(attestationOf)),
    findAttestation(id: string): StoredAttestation | null {
      const row = attestation.get(id);
      return row === undefined ? null : attestationOf(row);
    },
    webhookCursors: (): WebhookCursor[] =>
      cursors.all().map((row) => {
        const { name, seq, attempts, next_at } = row;
        return { name: String(name), seq: Number(seq), attempts: Number(attempts), nextAt: Number(next_at) };
      }),
  };
}

/** An agent has fewer holds than a store, and fewer live ones than ended. */
function viaOf({ agent, states }: HoldFilter): "agent" | "liveOfAgent" | "live" | "all" {
  const isOfLive = states !== undefined && states.every((state) => isLive(state));
  if (isOfLive) return agent === undefined ? "live" : "liveOfAgent";
  return agent === undefined ? "all" : "agent";
}
