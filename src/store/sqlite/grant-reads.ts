// Questions about grants. Every one looks at a bounded number of rows and says where to go on, so that a long list
// never keeps the reader from the next question. Never writes.

import type { DatabaseSync } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import type { GrantId } from "../../core/ids.ts";
import type { FoundGrant, GrantFilter, StoredGrant } from "../../grants/grant-port.ts";
import type { GrantShape } from "../../revocation/revocation-port.ts";
import type { CutOff } from "../../core/cutoff.ts";
import { type Below, createCutOffIndex, type CutOffIndex } from "../cutoff-index.ts";
import { preparePastCutOffs } from "./past-cutoffs.ts";
import { demandsFromJson, grantOf, isHeld, namesFromJson, permissionsFromJson, subjectOf } from "./rows.ts";
import { idAfter, oldestLiveId } from "./scan.ts";

/** Looked at for one answer: some tens of milliseconds. */
const SCANNED_ROWS = 20_000;
const LAST_ID = "grt_~";

export interface ListPart {
  readonly found: readonly FoundGrant[];
  /** Go on after this id; null when there is nothing more. */
  readonly next: GrantId | null;
}

export interface CountPart<Value> {
  readonly value: Value;
  readonly next: string | null;
}

/** What the questions need to know of the store at this moment. */
export interface ReadContext {
  readonly cutOffs: CutOffIndex;
  readonly longestTtlMs: number;
  readonly instant: Instant;
  /** What waits since then or before is stale; 0: the store was never recovered. */
  readonly recoveredAt: Instant;
}

export interface ListQuestion {
  readonly filter: GrantFilter;
  readonly at: Instant;
  readonly limit: number;
}

export interface CountQuestion {
  readonly cutOff: CutOff;
  readonly at: Instant;
  readonly after: string | null;
}

export interface ShapesQuestion {
  readonly policyDigest: string;
  readonly at: Instant;
  readonly after: string | null;
}

const IS_LIVE =
  "ended_at IS NULL AND ends_at > $at AND ($anyVoid = 0 OR NOT is_void(id, agent, task, role, upstream, environments, parents))";

const STATUS = `CASE WHEN ${IS_LIVE} THEN 'active' WHEN hold IS NOT NULL AND ends_at = 0 AND ended_at IS NULL AND ($anyVoid = 0 OR NOT is_void(id, agent, task, role, upstream, environments, parents)) THEN 'held' ELSE 'ended' END`;
/** Those that became active long after their request: their ids lie before what is alive otherwise. */
const ACTIVATED = "FROM grants INDEXED BY grants_activated WHERE hold IS NOT NULL AND ends_at > $at AND";

export function prepareGrantReads(db: DatabaseSync) {
  /** The cut-offs that `is_void` holds grants against; set by the question that runs. */
  let voiding = createCutOffIndex();
  let below: Below = {};
  /** Most grants share a few lists of environments. */
  let lastText = "[]";
  let lastNames: readonly string[] = [];
  db.function("is_void", (id, agent, task, role, upstream, environments, parents) => {
    const grants = parents === "[]" ? [String(id)] : [...namesFromJson(parents), String(id)];
    if (environments !== lastText) [lastText, lastNames] = [String(environments), namesFromJson(environments)];
    const subject = { agents: [String(agent)], task: String(task), role: String(role), upstream: String(upstream) };
    return voiding.findVoiding({ ...subject, grants, environments: lastNames }, below) === null ? 0 : 1;
  });
  /** Answers whether there is anything that voids. */
  function holdAgainst(cutOffs: CutOffIndex, least: Below = {}): 0 | 1 {
    [voiding, below] = [cutOffs, least];
    return cutOffs.all.length > 0 ? 1 : 0;
  }

  const past = preparePastCutOffs(db);
  /** With the cut-off that ended it, forgotten ones too; one that came after its end did not. */
  function found({ cutOffs, instant }: ReadContext, grant: StoredGrant): FoundGrant {
    const subject = subjectOf(grant);
    const end = isHeld(grant) ? Infinity : grant.endsAt;
    const inForce = cutOffs.findVoiding(subject, { before: end });
    // What could still void a grant that has not ended is not forgotten (rule 14).
    const forgotten = end > instant ? null : past.findVoiding(subject, end);
    const first = inForce === null || (forgotten !== null && forgotten.number < inForce.number) ? forgotten : inForce;
    return { grant, cutOff: first?.id ?? null };
  }

  const one = db.prepare("SELECT * FROM grants WHERE id = ?");
  const passes =
    "id < $before AND id >= $end AND ($role IS NULL OR role = $role) AND ($upstream IS NULL OR upstream = $upstream)" +
    " AND ($environment IS NULL OR instr(environments, $environment) > 0)" +
    " AND ($agent IS NULL OR agent = $agent) AND ($task IS NULL OR task = $task)" +
    ` AND ($status IS NULL OR $status = ${STATUS}) ORDER BY id DESC LIMIT $limit`;
  const lists = {
    agent: db.prepare(`SELECT * FROM grants INDEXED BY grants_by_agent WHERE agent = $agent AND ${passes}`),
    task: db.prepare(`SELECT * FROM grants INDEXED BY grants_by_task WHERE task = $task AND ${passes}`),
    all: db.prepare(`SELECT * FROM grants NOT INDEXED WHERE ${passes}`),
  };
  const activated = db.prepare(`SELECT * ${ACTIVATED} ${passes}`);
  const before = `id < ? ORDER BY id DESC LIMIT 1 OFFSET ${SCANNED_ROWS - 1}`;
  const ends = {
    agent: db.prepare(`SELECT id FROM grants WHERE agent = ? AND ${before}`),
    task: db.prepare(`SELECT id FROM grants WHERE task = ? AND ${before}`),
    all: db.prepare(`SELECT id FROM grants WHERE ${before}`),
  };

  const matches =
    `id > $after AND id <= $last AND ${IS_LIVE}` +
    " AND ($role IS NULL OR role = $role) AND ($upstream IS NULL OR upstream = $upstream)" +
    // Names and ids are of closed alphabets without quotes: a quoted one is found in JSON text exactly.
    " AND ($environment IS NULL OR instr(environments, $environment) > 0)" +
    " AND ($grant IS NULL OR id = substr($grant, 2, 30) OR instr(parents, $grant) > 0)" +
    " AND ($agent IS NULL OR agent = $agent) AND ($task IS NULL OR task = $task)";
  const windows = {
    agent: db.prepare(
      `SELECT id FROM grants WHERE agent = ? AND id > ? ORDER BY id LIMIT 1 OFFSET ${SCANNED_ROWS - 1}`,
    ),
    task: db.prepare(`SELECT id FROM grants WHERE task = ? AND id > ? ORDER BY id LIMIT 1 OFFSET ${SCANNED_ROWS - 1}`),
    all: db.prepare(`SELECT id FROM grants WHERE id > ? ORDER BY id LIMIT 1 OFFSET ${SCANNED_ROWS - 1}`),
  };
  const counts = {
    agent: db.prepare(
      `SELECT count(*) AS n FROM grants INDEXED BY grants_by_agent WHERE agent = $agent AND ${matches}`,
    ),
    task: db.prepare(`SELECT count(*) AS n FROM grants INDEXED BY grants_by_task WHERE task = $task AND ${matches}`),
    all: db.prepare(`SELECT count(*) AS n FROM grants NOT INDEXED WHERE ${matches}`),
  };
  const countActivated = db.prepare(`SELECT count(*) AS n ${ACTIVATED} ${matches}`);
  const shape = "SELECT agent, role, upstream, permissions, demands, max(ttl_seconds) AS longest, count(*) AS n";
  const alike =
    `id > $after AND id <= $last AND policy_digest <> $digest AND ${IS_LIVE}` +
    " GROUP BY agent, role, upstream, permissions, demands";
  const shapes = db.prepare(`${shape} FROM grants NOT INDEXED WHERE ${alike}`);
  const shapesActivated = db.prepare(`${shape} ${ACTIVATED} ${alike}`);

  return {
    find(context: ReadContext, id: GrantId): FoundGrant | null {
      const row = one.get(id);
      return row === undefined ? null : found(context, grantOf(row));
    },

    list(context: ReadContext, { filter, limit, ...question }: ListQuestion): ListPart {
      const at = Math.max(question.at, context.instant);
      const before = filter.after ?? LAST_ID;
      const via = viaOf(filter);
      const end = via === "all" ? ends.all.get(before) : ends[via].get(filter[via] ?? "", before);
      const endId = end === undefined ? null : String(end["id"]);
      const oldest = filter.status === "active" ? oldestLiveId(at, context.longestTtlMs) : "";
      const isLast = endId === null || endId < oldest;
      const named = {
        agent: filter.agent ?? null,
        task: filter.task ?? null,
        role: filter.role ?? null,
        upstream: filter.upstream ?? null,
        environment: quoted(filter.environment),
        status: filter.status ?? null,
        anyVoid: holdAgainst(context.cutOffs),
        at,
      };
      const rows = lists[via].all({ ...named, before, end: isLast ? oldest : endId, limit });
      if (isLast && filter.status === "active" && rows.length < limit) {
        const older = before < oldest ? before : oldest;
        rows.push(...activated.all({ ...named, before: older, end: "", limit: limit - rows.length }));
      }
      // An id of the grants table.
      const next = isLast || rows.length === limit ? null : (endId as GrantId);
      return { found: rows.map((row) => found(context, grantOf(row))), next };
    },

    countMet(context: ReadContext, { cutOff, after, ...question }: CountQuestion): CountPart<number> {
      const at = Math.max(question.at, context.instant);
      const { target } = cutOff;
      const from = after ?? oldestLiveId(at, context.longestTtlMs);
      const via = viaOf(target);
      const end = via === "all" ? windows.all.get(from) : windows[via].get(target[via] ?? "", from);
      const next = end === undefined ? null : String(end["id"]);
      const newest = idAfter(cutOff.before);
      const named = {
        at,
        anyVoid: holdAgainst(context.cutOffs, { number: cutOff.number }),
        agent: target.agent ?? null,
        task: target.task ?? null,
        role: target.role ?? null,
        upstream: target.upstream ?? null,
        environment: quoted(target.environment),
        grant: quoted(target.grant),
      };
      const last = next !== null && next < newest ? next : newest;
      const counted = Number(counts[via].get({ ...named, after: from, last })?.["n"] ?? 0);
      const oldest = from < newest ? from : newest;
      const older = after === null ? Number(countActivated.get({ ...named, after: "", last: oldest })?.["n"] ?? 0) : 0;
      const isNamed = Object.values(target).some((value) => value !== undefined);
      return { value: isNamed ? counted + older : 0, next: next !== null && next < newest ? next : null };
    },

    liveShapes(
      context: ReadContext,
      { policyDigest, after, ...question }: ShapesQuestion,
    ): CountPart<readonly GrantShape[]> {
      const at = Math.max(question.at, context.instant);
      const from = after ?? oldestLiveId(at, context.longestTtlMs);
      const end = windows.all.get(from);
      const next = end === undefined ? null : String(end["id"]);
      const anyVoid = holdAgainst(context.cutOffs);
      const named = { digest: policyDigest, at, anyVoid };
      const rows = shapes.all({ ...named, after: from, last: next ?? LAST_ID });
      if (after === null) rows.push(...shapesActivated.all({ ...named, after: "", last: from }));
      const value = rows.map((row) => ({
        agent: String(row["agent"]),
        role: String(row["role"]),
        upstream: String(row["upstream"]),
        permissions: permissionsFromJson(row["permissions"]),
        demands: demandsFromJson(row["demands"]),
        longestTtlSeconds: Number(row["longest"]),
        grants: Number(row["n"]),
      }));
      return { value, next };
    },
  };
}

function quoted(value: string | undefined): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/** Through which index: an agent has fewer grants than a store, a task fewer than an agent. */
function viaOf(named: {
  readonly agent?: string | undefined;
  readonly task?: string | undefined;
}): "agent" | "task" | "all" {
  if (named.task !== undefined) return "task";
  return named.agent === undefined ? "all" : "agent";
}
